"""Resumed training runs: equal to uninterrupted ones bit for bit, within the time budget, with the best score kept."""

import csv
import itertools
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import train_autoencoder
import train_sd
from dream.common.runs import MetricsLog, load_checkpoint, save_checkpoint
from dream.evaluation import epoch_end
from dream.training import options, schedule
from small import save_moving_square
from training_helpers import (
    assert_same,
    metrics_rows,
    record,
    run_train_autoencoder,
    run_train_sd,
    small_networks,
    train_small_models,
    training_data,
)

BOTH_SCRIPTS = pytest.mark.parametrize("script", [train_autoencoder, train_sd], ids=["autoencoder", "sd"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return train_small_models(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def small_models():
    with small_networks():
        yield


def interrupt_after_epoch(monkeypatch, script) -> None:
    """Raises KeyboardInterrupt right after last.pt was saved."""

    def save_and_interrupt(checkpoint: dict, path: Path) -> None:
        save_checkpoint(checkpoint, path)
        if path.name == "last.pt":
            raise KeyboardInterrupt

    monkeypatch.setattr(script, "save_checkpoint", save_and_interrupt)


@pytest.mark.slow
@BOTH_SCRIPTS
def test_a_resumed_run_equals_an_uninterrupted_one(script, tmp_path, monkeypatch, small_models):
    """Any state that last.pt does not hold would silently make the resumed run a different one."""
    rewards, starts = np.random.default_rng(0).random((6, 24)), np.zeros((6, 24), bool)
    starts[:, [0, 12]] = True
    outcomes = {"rewards": rewards, "episode_starts": starts}
    recording = save_moving_square(tmp_path / "square.npz", outcomes)
    flags = ["--trajectories", recording, "--epochs", 3]
    kind, train = "autoencoder_run", run_train_autoencoder
    if script is train_sd:
        run_train_autoencoder("--trajectories", recording, "--output-dir", tmp_path / "a")
        kind, train = "model_run", run_train_sd
        flags += ["--autoencoder-dir", tmp_path / "a", "--epoch-samples", 24]
        monkeypatch.setattr(train_sd, "ROLLOUTS_FROM", -1)  # rollouts from the first step on
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(*flags, "--output-dir", straight)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after_epoch(patch, epoch_end if script is train_sd else script)
        train(*flags, "--output-dir", resumed)
    assert len(metrics_rows(resumed)) == 1
    if script is train_sd:
        assert load_checkpoint(resumed / "last.pt", kind, "")["pool"]["num_generated"].max() > 0
    torch.manual_seed(12345)  # a new process has global generators in another state
    train(*flags, "--output-dir", resumed, "--resume")
    last = [load_checkpoint(run / "last.pt", kind, "") for run in (straight, resumed)]
    assert last[0]["step"] == 3 * (3 if script is train_sd else 2)
    assert_same(*last)
    assert metrics_rows(straight) == metrics_rows(resumed)
    for name in ("best.pt", "final.pt") if script is train_sd else ("encoder.pt", "decoder.pt"):
        assert_same(*(torch.load(run / name, weights_only=True) for run in (straight, resumed)))


@BOTH_SCRIPTS
def test_resume_continues_a_run_that_the_time_budget_ended(
    script, tmp_path, trained, small_models, monkeypatch, capsys
):
    """Each look at the clock takes one second, so that the speed of the machine does not matter."""
    seconds = itertools.count()
    monkeypatch.setattr(schedule, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    monkeypatch.setattr(options, "script_began", lambda: float(next(seconds)))
    train = run_train_sd if script is train_sd else run_train_autoencoder
    flags = training_data(trained) if script is train_sd else ["--trajectories", trained / "square.npz"]
    flags += ["--epochs", 1000, "--output-dir", tmp_path]
    train(*flags, "--max-minutes", 1)
    first = torch.load(tmp_path / "last.pt", weights_only=True)
    assert 0 < first["step"] < 60 and 30 < first["elapsed_s"] <= 63 and first["spent_s"] == 60
    assert metrics_rows(tmp_path)[-1]["step"] == str(first["step"])  # an unfinished last epoch is saved too
    capsys.readouterr()
    train(*flags, "--max-minutes", 1, "--resume")
    said = capsys.readouterr().out
    assert "nothing left to do" in said and "--resume and --max-minutes " in said
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == first["step"]
    train(*flags, "--max-minutes", 2, "--resume")
    second = torch.load(tmp_path / "last.pt", weights_only=True)
    assert first["step"] < second["step"] < 120 and 60 < second["elapsed_s"] <= 123
    steps = [int(row["step"]) for row in metrics_rows(tmp_path)]
    assert first["step"] in steps and steps[-1] == second["step"] and steps == sorted(set(steps))


@BOTH_SCRIPTS
def test_epochs_by_the_clock_are_saved_and_resumed(script, tmp_path, trained, small_models, monkeypatch):
    """Without --epoch-samples: the steps are those of a run that is never saved, whenever it is interrupted."""
    train, parse = script.main, script.parse_args
    flags = training_data(trained) if script is train_sd else ["--trajectories", trained / "square.npz"]
    flags = [*map(str, flags), "--epochs", "1", "--batch-size", "8", "--device", "cpu"]
    monkeypatch.setattr(options, "EPOCH_SAMPLES", 40)  # five steps
    for name in ("FIRST_SAVE_S", "SAVE_S", "LAST_SAVE_S"):
        monkeypatch.setattr(schedule, name, 0.0)
    straight, resumed = str(tmp_path / "straight"), str(tmp_path / "resumed")
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "FIRST_SAVE_S", 1e9)
        train(parse([*flags, "--output-dir", straight]))
    assert len(metrics_rows(Path(straight))) == 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after_epoch(patch, epoch_end if script is train_sd else script)
        train(parse([*flags, "--output-dir", resumed]))
    assert (Path(resumed) / ("final.pt" if script is train_sd else "decoder.pt")).exists()
    train(parse([*flags, "--output-dir", resumed, "--resume"]))
    assert [row["step"] for row in metrics_rows(Path(resumed))] == ["1", "2", "3", "4", "5"]
    last = [torch.load(Path(run) / "last.pt", weights_only=True) for run in (straight, resumed)]
    for name in ("best_score", "best_psnr"):  # the best of five measurements, and of one
        for each in last:
            each.pop(name, None)
    assert_same(*last)


@BOTH_SCRIPTS
def test_resume_keeps_a_better_earlier_model(script, trained, tmp_path, small_models):
    """Without the best score, the first epoch after a resume would replace the best model by a worse one."""
    run = tmp_path / "run"
    shutil.copytree(trained / ("b" if script is train_sd else "a"), run)
    name, best = ("best_score", "best.pt") if script is train_sd else ("best_psnr", "decoder.pt")
    last = torch.load(run / "last.pt", weights_only=True)
    save_checkpoint({**last, name: 99.0}, run / "last.pt")
    before = (run / best).read_bytes()
    flags = ["--output-dir", run, "--epochs", 2, "--resume"]
    if script is train_sd:
        run_train_sd(*training_data(trained), *flags)
    else:
        run_train_autoencoder("--trajectories", trained / "square.npz", *flags)
    assert (run / best).read_bytes() == before
    resumed = torch.load(run / "last.pt", weights_only=True)
    assert resumed[name] == 99.0 and resumed["step"] == 2 * last["step"]


def test_metrics_of_a_resumed_run(tmp_path):
    """Rows up to the last checkpoint are kept; those of epochs that are trained again are dropped."""
    log = MetricsLog(tmp_path)
    for step in (4, 8, 12):
        log.write(step, {"loss": float(step)})
    resumed = MetricsLog(tmp_path, resume_step=8)
    resumed.write(10, {"loss": 10.0, "new": 1.0})
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["4", "8", "10"]
    assert rows[0]["new"] == "" and rows[2]["new"] == "1"
    assert resumed.writer.purge_step == 9  # TensorBoard hides events at or after this step
    assert MetricsLog(tmp_path / "new").writer.purge_step is None


def test_a_continued_run_may_have_longer_rollouts(tmp_path, small_models):
    """As train_my_game.py gives it: a first try of some minutes has none, the night after it has."""
    recording = record(tmp_path / "square.npz")
    run_train_autoencoder("--trajectories", recording, "--output-dir", tmp_path / "a")
    flags = [
        "--trajectories",
        recording,
        "--autoencoder-dir",
        tmp_path / "a",
        "--output-dir",
        tmp_path / "run",
    ]
    run_train_sd(*flags, "--rollout-length", 0)
    assert load_checkpoint(tmp_path / "run" / "last.pt", "model_run", "")["pool"]["num_generated"].max() == 0
    run_train_sd(*flags, "--rollout-length", 8, "--epochs", 4, "--resume")
    assert load_checkpoint(tmp_path / "run" / "last.pt", "model_run", "")["pool"]["num_generated"].max() > 0
