"""Files of the wrong kind on the command line: told what they are, before anything is loaded or exported."""

import sys
from pathlib import Path

import export_sd
import numpy as np
import play_sd
import pytest
import torch
from dream.common.errors import InputError
from dream.common.runs import save_checkpoint
from dream.inference.input_files import check_kind, file_kind
from dream.inference.select_backend import load_backend
from small import save_moving_square


@pytest.fixture
def files(paths, tmp_path):
    """One file of each kind, by its kind."""
    save_moving_square(tmp_path / "recording.npz")
    (tmp_path / "README.md").write_text("# Dream\n\nÜber und über\n", encoding="utf-8")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (tmp_path / "a_folder").mkdir()
    save_checkpoint({"kind": "agent", "config": {}}, tmp_path / "agent.pt")
    save_checkpoint({"kind": "model_run", "epoch": 1}, tmp_path / "last.pt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.pt")
    np.savez(tmp_path / "weights.npz", w=np.zeros(3))
    names = {
        "dream": "model.pt", "encoder": "encoder.pt", "decoder": "decoder.pt", "recording": "recording.npz",
        "start states": "initial_sequence.npz", "text": "README.md", "empty": "empty.pt", "other": "picture.png",
        "folder": "a_folder", "agent": "agent.pt", "model_run": "last.pt", "checkpoint": "foreign.pt",
        "npz": "weights.npz",
    }  # fmt: skip
    return {kind: tmp_path / name for kind, name in names.items()}


def test_kinds_are_told_apart(files, tmp_path):
    assert {kind: file_kind(path) for kind, path in files.items()} == {kind: kind for kind in files}
    whole = files["dream"].read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])  # the loader says that it is damaged
    assert file_kind(tmp_path / "half.pt") is None and file_kind(tmp_path / "missing.pt") is None


@pytest.fixture
def nothing_loaded(monkeypatch):
    """Fails the test where anything is loaded or exported."""
    for module in ("dream.inference.export", "dream.inference.torch_backend"):
        monkeypatch.setitem(sys.modules, module, None)


def play(*argv) -> str:
    with pytest.raises(InputError) as refused:
        play_sd.main(play_sd.parse_args(["--headless", *map(str, argv)]))
    return str(refused.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "is a text file: it takes best.pt or final.pt of sd/train_sd.py"),
        ("encoder", "is an encoder: it takes best.pt"),
        ("decoder", "is a decoder"),
        ("recording", "is a recording"),
        ("start states", "is a file of start states"),
        ("empty", "is an empty file"),
        ("agent", "is an agent"),
        ("model_run", "is the state of a training run"),
        ("checkpoint", "is a checkpoint of another program"),
        ("other", "is a file of another kind"),
        ("npz", "is an .npz of another kind"),
        ("folder", "is a folder: name the file in it, best.pt or final.pt"),
    ],
)
def test_what_is_given_as_a_model(files, nothing_loaded, kind, words, capsys):
    """`--model-path README.md` complained of decoder.pt; a text file was exported first."""
    decoder = ["--decoder-path", files["decoder"]]
    for options in ([], decoder):
        said = play("--model-path", files[kind], *options)
        assert said.startswith(f"--model-path {files[kind]} {words}"), said
    with pytest.raises(InputError, match="--model-path"):
        export_sd.main(export_sd.parse_args(["--model-path", str(files[kind])]))
    with pytest.raises(InputError, match="--model-path"):
        load_backend(files["decoder"], files[kind])
    assert "exporting" not in capsys.readouterr().out


def test_a_folder_with_a_model_in_it(files, nothing_loaded):
    folder = files["dream"].parent
    assert f"is a folder: try {folder / 'model.pt'}" in play("--model-path", folder)
    assert f"is a folder: try {folder / 'decoder.pt'}" in play(
        "--model-path", files["dream"], "--decoder-path", folder
    )


@pytest.mark.parametrize(
    ("option", "kind", "words"),
    [
        ("--decoder-path", "encoder", "is an encoder: it takes decoder.pt"),
        ("--trajectory-path", "recording", "is a recording: it takes initial_sequence.npz"),
        ("--trajectory-path", "text", "is a text file"),
        ("--trajectory-path", "folder", "is a folder"),
        (
            "--replay",
            "start states",
            "is a file of start states: it takes an .npz of ppo/record_trajectories.py",
        ),
        ("--agent-path", "dream", "is a diffusion model: it takes best.pt of ppo/train_ppo.py"),
        ("--agent-path", "folder", "is a folder"),
        ("--keys", "folder", "a_folder"),
        ("--record", "folder", "the name must end in"),
    ],
)
def test_other_options(files, nothing_loaded, option, kind, words, capsys):
    try:
        said = play("--model-path", files["dream"], option, files[kind])
    except SystemExit:
        said = capsys.readouterr().err
    assert option in said or option == "--keys"
    assert words in said and "exporting" not in capsys.readouterr().out


def test_files_that_are_missing(files, nothing_loaded, tmp_path):
    model = ["--model-path", files["dream"]]
    assert "no such file" in play(*model, "--replay", tmp_path / "missing.npz")
    assert "no such file" in play(*model, "--agent-path", tmp_path / "missing.pt")
    assert "no such file" in play(*model, "--trajectory-path", tmp_path / "missing.npz")
    (tmp_path / "film.mp4").mkdir()
    said = play(*model, "--record", tmp_path / "film.mp4")
    assert f"is a folder: name a file in it, {tmp_path / 'film.mp4' / 'dream.mp4'}" in said


def test_an_npz_does_not_hold_the_real_game(capsys):
    with pytest.raises(SystemExit):
        play_sd.parse_args(["--headless", "--real", "a:B-v0", "--record", "a.npz"])
    assert "world model alone" in capsys.readouterr().err


def test_a_hostile_checkpoint_runs_nothing(tmp_path):
    """A text in the place of a pickle, which is never unpickled."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert file_kind(tmp_path / "a.pt") == "checkpoint" and not Path("pwned").exists()
    with pytest.raises(InputError, match="checkpoint of another program"):
        check_kind("--model-path", tmp_path / "a.pt", "dream")
