"""Agents in Dream-v0: the scripts of ppo/ record and train in it, and so does another library."""

import csv
import subprocess
import sys
from pathlib import Path

import dream_env
import gymnasium
import numpy as np
import pytest
from dream.common.game_info import GameInfo
from dream.data.trajectories import open_trajectories
from dream_env_helpers import make, save_endless_model
from small import save_small_world_model


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    return save_endless_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("size", [(32, 48), (64, 96)])
def test_the_scripts_of_ppo_run_in_it(size, model_path, tmp_path):
    """Through Gymnasium alone: nothing of sd/ is imported by ppo/. Frames of the model's own size come in one batch;
    else worker processes resize them, and must not be forked, since PyTorch has started threads."""
    root = Path(dream_env.__file__).parents[1]
    game = ["--game", "dream_env:Dream-v0", "--game-path", root / "sd", "--game-settings", f"model_path={model_path}",
            "backend=torch", "horizon=6"]  # fmt: skip
    options = [
        "--frame-size",
        *size,
        "--policy",
        "random",
        "--frames",
        24,
        "--n-envs",
        2,
        "--output",
        tmp_path / "a.npz",
    ]
    script = root / "ppo" / "record_trajectories.py"
    command = [*map(str, (sys.executable, script, *game, *options))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert f"environments: {'in one batch' if size == (32, 48) else 'one by one'}" in result.stdout
    data = open_trajectories(tmp_path / "a.npz")
    assert data.action_names == ("nothing", "left", "right") and data.fps == 15
    assert data.action_keys == ((), ("left",), ("right",))
    assert data.frames.shape[3:] == size and (data.extras["rewards"] != 0).any()
    assert data.episode_starts.sum() >= 4  # truncated after 6 frames


def test_an_agent_does_not_train_where_all_rewards_are_0(tmp_path):
    paths = save_small_world_model(tmp_path)
    root = Path(dream_env.__file__).parents[1]
    script = root / "ppo" / "train_ppo.py"
    command = [sys.executable, script, "--game", "dream_env:Dream-v0", "--game-path", root / "sd", "--game-settings",
               f"model_path={paths['model_path']}", "backend=torch"]  # fmt: skip
    result = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
    )
    assert result.returncode != 0 and "Dream-v0 has no rewards" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_an_agent_trains_in_it_and_is_measured_in_the_game(tmp_path):
    names = ("nothing", "forward", "left", "right", "forward+left", "forward+right")
    game = GameInfo(names, ((), ("up",), ("left",), ("right",), ("up", "left"), ("up", "right")), 15.0)
    model_path = save_endless_model(tmp_path, game=game)
    root = Path(dream_env.__file__).parents[1]
    script = root / "ppo" / "train_ppo.py"
    command = [sys.executable, script, "--game", "dream_env:Dream-v0", "--game-path", root / "sd",
               "--game-settings", f"model_path={model_path}", "backend=torch", "horizon=5", "--n-envs", 2,
               "--n-epochs", 2, "--n-steps", 8, "--batch-size", 8, "--record-envs", 0, "--explore-envs", 0,
               "--video-every", 0, "--test-game", "Mode7Kart-v0", "--test-every", 2, "--test-episodes", 1,
               "--output-dir", tmp_path / "run"]  # fmt: skip
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["episode/length"]) == 5 and not rows[0]["test/return"]
    assert np.isfinite(float(rows[1]["test/return"])) and np.isfinite(float(rows[1]["test/laps"]))
    resumed = [*map(str, command), "--resume", "--n-epochs", "3"]
    result = subprocess.run(resumed, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr


def test_stable_baselines_trains_on_it(model_path):
    sb3 = pytest.importorskip("stable_baselines3")
    env = gymnasium.wrappers.ResizeObservation(make(model_path, horizon=4), (64, 64))  # its network needs 36
    sb3.PPO("CnnPolicy", env, n_steps=8, batch_size=8, n_epochs=1).learn(8)
