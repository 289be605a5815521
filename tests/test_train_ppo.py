"""train_ppo.py: a tiny run, resuming, kills, and refused options and files."""

import csv
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import train_ppo
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError, run_script
from player.common.runs import load_checkpoint, save_checkpoint
from player.games.registry import find_game
from player.rl.agent import Agent, AgentConfig, agent_checkpoint, load_agent
from ppo_helpers import SCRIPT, TINY, train
from training_helpers import assert_same


def run_command(*flags) -> subprocess.CompletedProcess:
    """Runs train_ppo.py in a process of its own with small settings."""
    command = [sys.executable, str(SCRIPT), *TINY, *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)


@pytest.mark.slow
def test_tiny_run_of_the_script(tmp_path):
    cv2 = pytest.importorskip("cv2")
    run = tmp_path / "run"
    result = run_command(
        "--n-epochs", 2, "--track", 1, 3, 2, "--rivals", 1, "--video-every", 2, "--output-dir", run,
        "--test-game", "Mode7Kart-v0", "--test-every", 2, "--test-episodes", 1,
        "--keep-every", 2,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    recording = open_trajectories(run / "trajectories.npz")
    # 2 epochs x (1 training environment + 1 for exploration)
    assert recording.frames.shape == (4, 32, 3, 112, 256) and recording.frames.any()
    assert recording.actions.shape == (4, 32) and set(np.unique(recording.actions)) <= set(range(6))
    assert recording.episode_starts[:2, 0].all() and not recording.episode_starts[2:, 0].any()
    assert recording.meta["game"] == "Mode7Kart-v0" and recording.meta["fps"] == 15
    assert recording.action_names[1] == "forward"
    assert {"truth/x", "truth/lap"} <= set(recording.extras)
    tracks = recording.extras["track"]  # environments 0 and 2 (for exploration) of three
    assert (tracks[::2] == 1).all() and (tracks[1::2] == 2).all()
    assert load_agent(run / "best.pt").config.game == "Mode7Kart-v0"
    assert [path.name for path in run.glob("agent_*")] == ["agent_0002.pt"]
    assert load_agent(run / "agent_0002.pt").config.game == "Mode7Kart-v0"
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert all(np.isfinite(float(row["loss/policy"])) for row in rows)
    assert not rows[0]["test/return"] and np.isfinite(float(rows[1]["test/return"]))
    assert np.isfinite(float(rows[1]["test/laps"]))
    video = cv2.VideoCapture(str(run / "videos" / "epoch_0002.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 32
    video.release()


class Stopped(Exception):
    """Stands in for Ctrl-C."""


@pytest.fixture
def stop_after(monkeypatch):
    """A function that stops the training after a number of epochs."""

    def stop_after_epochs(number: int) -> None:
        def save_and_stop(checkpoint: dict, path: Path) -> None:
            save_checkpoint(checkpoint, path)
            if checkpoint.get("epochs_done") == number:
                monkeypatch.undo()
                raise Stopped

        monkeypatch.setattr(train_ppo, "save_checkpoint", save_and_stop)

    return stop_after_epochs


@pytest.mark.slow
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, stop_after):
    """Weights, optimizer, states of the games, and the recording."""
    flags = ("--n-epochs", 4, "--rivals", 2, "--record-envs", 1, "--explore-envs", 1, "--seed", 5)
    train(*flags, "--output-dir", tmp_path / "uninterrupted")
    stop_after(2)
    with pytest.raises(Stopped):
        train(*flags, "--output-dir", tmp_path / "stopped")
    assert load_checkpoint(tmp_path / "stopped" / "last.pt", "ppo_run", "")["epochs_done"] == 2
    train(*flags, "--output-dir", tmp_path / "stopped", "--resume")
    uninterrupted, resumed = (
        load_checkpoint(tmp_path / name / "last.pt", "ppo_run", "") for name in ("uninterrupted", "stopped")
    )
    assert_same(uninterrupted, resumed)
    one, other = (
        open_trajectories(tmp_path / name / "trajectories.npz") for name in ("uninterrupted", "stopped")
    )
    assert one.frames.shape[0] == 8
    np.testing.assert_array_equal(other.frames, one.frames)
    np.testing.assert_array_equal(other.actions, one.actions)
    for key, array in one.extras.items():
        np.testing.assert_array_equal(other.extras[key], array, err_msg=key)
    assert one.meta == other.meta


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs a POSIX kill")
def test_killed_run_is_packed_and_resumed(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, str(SCRIPT), *TINY, "--n-epochs", "100000", "--output-dir", str(run)]
    # Only the beginning is recorded, because so long a recording would not fit on the disk.
    killed = subprocess.Popen(
        [*command, "--recording-end", "40"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 3600
    while not (run / "trajectories.partial" / "epoch_000002").exists():
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    train("--pack-only", "--output-dir", run)
    packed = open_trajectories(run / "trajectories.npz")
    assert len(packed.frames) >= 6 and packed.meta["epochs"] == list(range(len(packed.frames) // 2))
    before = np.array(packed.frames[:2])
    done = load_checkpoint(run / "last.pt", "ppo_run", "")["epochs_done"]
    assert done >= 2
    train("--n-epochs", done + 2, "--output-dir", run, "--resume")
    whole = open_trajectories(run / "trajectories.npz")
    assert whole.meta["epochs"] == list(range(done + 2))
    np.testing.assert_array_equal(whole.frames[:2], before)
    assert not (run / "trajectories.partial").exists()


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("ppo") / "run"
    train("--n-epochs", 1, "--output-dir", run)
    return run


def test_existing_run_is_not_overwritten(finished_run):
    before = (finished_run / "last.pt").read_bytes()
    with pytest.raises(InputError, match="--resume, or choose another --output-dir"):
        train("--n-epochs", 1, "--output-dir", finished_run)
    assert (finished_run / "last.pt").read_bytes() == before


def test_best_agent_is_saved_before_the_update(finished_run):
    """Otherwise a good epoch that is followed by a bad update would save the bad agent."""
    args = train_ppo.parse_args([*map(str, TINY)])
    train_ppo.seed_everything(args.seed)
    first = train_ppo.make_agent(args, find_game("Mode7Kart-v0"))
    best, last = load_agent(finished_run / "best.pt"), torch.load(finished_run / "last.pt", weights_only=True)
    assert_same(dict(best.state_dict()), dict(first.state_dict()))
    assert not torch.equal(last["agent"]["model"]["policy.weight"], best.policy.weight)


@pytest.mark.parametrize("flag", ["--seed", "--n-steps", "--rivals"])
def test_resume_needs_the_same_options(finished_run, flag):
    with pytest.raises(InputError, match=f"began with {flag} "):
        train("--n-epochs", 2, "--output-dir", finished_run, "--resume", flag, 7)


def test_resume_needs_an_existing_run(tmp_path):
    with pytest.raises(InputError, match="no checkpoint at"):
        train("--output-dir", tmp_path / "nothing", "--resume")
    with pytest.raises(InputError, match="nothing is recorded"):
        train("--output-dir", tmp_path / "nothing", "--pack-only")


def test_training_starts_from_a_given_agent(finished_run, tmp_path):
    args = train_ppo.parse_args([*TINY, "--checkpoint-model", str(finished_run / "best.pt")])
    game = find_game("Mode7Kart-v0")
    given = load_agent(finished_run / "best.pt")
    assert_same(dict(train_ppo.make_agent(args, game).state_dict()), dict(given.state_dict()))
    fewer = agent_checkpoint(Agent(AgentConfig(2, ("a", "b"), "Other-v0", 4)))
    save_checkpoint(fewer, tmp_path / "fewer.pt")
    args.checkpoint_model = tmp_path / "fewer.pt"
    with pytest.raises(InputError, match=r"knows the actions .* has nothing, forward"):
        train_ppo.make_agent(args, game)


class CreatesFile:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["missing", "garbage", "pickle", "torch"])
def test_unreadable_agent_is_refused_and_its_code_is_not_executed(kind, tmp_path):
    path, created = tmp_path / "agent.pt", tmp_path / "created"
    if kind == "garbage":
        path.write_bytes(b"not a checkpoint" * 99)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(CreatesFile(created), protocol=2))
    elif kind == "torch":
        torch.save({"kind": "agent", "config": CreatesFile(created), "model": {}}, path)
    options = ["--n-epochs", 1, "--checkpoint-model", path, "--output-dir", tmp_path / "run"]
    with pytest.raises(SystemExit) as stopped:
        run_script(lambda: train(*options))
    message = str(stopped.value.code)
    assert message.startswith("error: ") and str(path) in message and "\n" not in message
    assert not created.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_cuda_is_reported_in_one_line(tmp_path):
    result = run_command("--device", "cuda", "--output-dir", tmp_path / "run")
    assert result.returncode not in (0, None)
    assert len(result.stderr.strip().splitlines()) == 1 and "--device cpu" in result.stderr


@pytest.mark.parametrize(
    "flags", [("--n-envs", 0), ("--record-envs", 3), ("--gamma", 1.5), ("--rivals", 13), ("--track", -1)]
)
def test_options_out_of_range_are_refused(flags, capsys):
    with pytest.raises(SystemExit) as stopped:
        train_ppo.parse_args([*TINY, *map(str, flags)])
    assert stopped.value.code == 2 and flags[0] in capsys.readouterr().err


def test_a_test_game_with_other_actions_is_refused(tmp_path):
    result = run_command("--test-game", "CartPole-v1", "--output-dir", tmp_path / "run")
    assert result.returncode != 0 and "--test-game CartPole-v1 has the actions 0, 1" in result.stderr
