"""Atomic writes, locks, metrics, resuming a run, and the choice of bfloat16."""

import argparse
import os
import subprocess
import sys

import pytest
import torch
from dream.common import runs
from dream.common.errors import InputError
from dream.common.files import LOCK_NAME, atomic_write, locked_folder
from dream.common.runs import MetricsLog, exclusive_run, load_resume_state, save_checkpoint


def test_atomic_write_replaces_the_file_only_when_it_is_complete(tmp_path):
    """A crash in the middle of a write must leave the old file, and no temporary file."""
    path = tmp_path / "new folder" / "a.txt"
    with atomic_write(path, "w") as file:
        file.write("old")
        assert not path.exists() and file.name.endswith(".writing")
    assert path.read_text() == "old"
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), atomic_write(path) as file:
            file.write(b"half of the n")
            raise error
        assert path.read_text() == "old"
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_atomic_write_removes_the_temporary_files_of_killed_processes(tmp_path):
    """They would accumulate; those of a running process, which may be writing, and other files are kept."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    kept = [f"a.txt.{os.getppid()}.writing", f"other.txt.{process.pid}.writing", "a.txt.draft.writing"]
    for name in [*kept, f"a.txt.{process.pid}.writing"]:
        (tmp_path / name).touch()
    with atomic_write(tmp_path / "a.txt") as file:
        assert f".{os.getpid()}." in file.name  # two processes never share a temporary file
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["a.txt", *kept])


def test_a_damaged_last_checkpoint_leads_to_a_new_run(tmp_path):
    """The advice to run without --resume would end in the advice to use --resume."""
    (tmp_path / "last.pt").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"damaged .*start a new run in another --output-dir"):
        load_resume_state(tmp_path, "a_run", True, {})


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights there")
def test_atomic_write_does_not_follow_a_link_in_place_of_its_temporary_file(tmp_path):
    """In a folder that others can write, a prepared link would make the script overwrite any file of its user."""
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / f"a.txt.{os.getpid()}.writing").symlink_to(tmp_path / "victim")
    with atomic_write(tmp_path / "a.txt", "w") as file:
        file.write("new")
    assert (tmp_path / "victim").read_text() == "untouched" and (tmp_path / "a.txt").read_text() == "new"
    assert not (tmp_path / "a.txt").is_symlink()


HOLD_LOCK = """
import sys, time
from dream.common.files import locked_folder
with locked_folder(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_only_one_process_writes_to_a_folder(tmp_path):
    """Two trainings in one folder both ended with exit code 0, each over the other's checkpoints."""
    folder = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLD_LOCK, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match="another process"), locked_folder(folder):
            pass
        process.kill()  # the lock ends with the process
    with locked_folder(folder):
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]
    with locked_folder(tmp_path / "empty"):
        pass
    assert not (tmp_path / "empty").exists()


def test_a_training_script_holds_the_lock_of_its_output_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    locked = []
    main = exclusive_run(lambda args: locked.append((args.output_dir / LOCK_NAME).exists()))
    main(argparse.Namespace(output_dir=tmp_path / "run"))
    monkeypatch.setenv("RANK", "1")  # of several processes that torchrun has started, the first one holds it
    main(argparse.Namespace(output_dir=tmp_path / "run"))
    assert locked == [True, False]


def test_a_damaged_table_of_metrics_does_not_stop_a_run(tmp_path, capsys):
    """After a crash of the machine the tail of the file is zeros: the good rows stay, and the old file is kept."""
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.write(step, {"loss": 1 / step})
    path = tmp_path / "metrics.csv"
    damaged = path.read_text().replace("2,0.5", "2,0.5,7") + "\0" * 9
    path.write_text(damaged)
    MetricsLog(tmp_path, resume_step=3).write(4, {"loss": 0.25})
    assert path.read_text().split() == ["step,loss", "1,1", "3,0.333333", "4,0.25"]
    assert (tmp_path / "metrics.damaged.csv").read_text() == damaged
    assert "2 damaged lines" in capsys.readouterr().out


def test_metrics_keep_earlier_rows_when_a_column_is_added(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(1, {"loss": 0.5})
    log.write(2, {"loss": 0.25, "psnr": 30.0})
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,loss,psnr", "1,0.5,", "2,0.25,30"]
    MetricsLog(tmp_path, resume_step=1).write(2, {"loss": 0.125})
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,loss", "1,0.5", "2,0.125"] or (
        (tmp_path / "metrics.csv").read_text().split() == ["step,loss,psnr", "1,0.5,", "2,0.125,"]
    )
    assert not list(tmp_path.glob("*.writing"))


def test_a_run_resumes_only_with_the_settings_it_began_with(tmp_path):
    settings = {"--seed": 1, "--new-option": None}
    assert load_resume_state(tmp_path, "a_run", False, settings) is None
    save_checkpoint({"kind": "a_run", "must_match": {"--seed": 1}, "step": 7}, tmp_path / "last.pt")
    assert load_resume_state(tmp_path, "a_run", True, settings)["step"] == 7
    with pytest.raises(InputError, match="already contains a run"):
        load_resume_state(tmp_path, "a_run", False, settings)
    with pytest.raises(InputError, match="began with --seed 1: resume it with the same"):
        load_resume_state(tmp_path, "a_run", True, {"--seed": 2})
    with pytest.raises(InputError, match="older version, without --new-option"):
        load_resume_state(tmp_path, "a_run", True, {"--seed": 1, "--new-option": 3})
    save_checkpoint({"kind": "a_run", "fixed": {"--seed": 1}}, tmp_path / "last.pt")  # the key's former name
    with pytest.raises(InputError, match="written by an older version"):
        load_resume_state(tmp_path, "a_run", True, {"--seed": 1})


class NoOperators:
    """Stands in for torch.ops.mkldnn of a PyTorch without oneDNN, which raises AttributeError for each operator."""


@pytest.mark.parametrize("case", ["no operator", "not available"])
def test_without_onednn_there_is_no_fast_bfloat16(monkeypatch, case):
    """PyTorch for Apple silicon is built without oneDNN: asking it about bfloat16 raised AttributeError."""
    if case == "no operator":
        monkeypatch.setattr(torch.ops, "mkldnn", NoOperators())
    else:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
        monkeypatch.setattr(runs.platform, "processor", lambda: "amx_bf16")
    assert runs.cpu_bfloat16_is_fast.__wrapped__() is False
