"""All steps with small budgets, by the commands that the scripts print: play, autoencoder, model, video."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALL = ["--epochs", "1", "--epoch-samples", "8", "--batch-size", "4", "--device", "cpu"]


def run(command: list, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / command[0]), *map(str, command[1:])],
        capture_output=True, text=True, timeout=3600, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def next_command(said: str, folder: Path) -> list[str]:
    """The command that the script proposes. Its script and all files that it names must be there."""
    (line,) = re.findall(r"^next: (.*)$", said, re.MULTILINE)
    python, script, *options = shlex.split(line)
    assert shutil.which(python) == sys.executable
    assert (ROOT / script).is_file()
    assert options and all((folder / path).exists() for path in options[1::2]), line
    return [script, *options]


def run_all_steps(game: list, folder: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns the first frame of the recording, and the frames of the video that the world model generated."""
    cv2 = pytest.importorskip("cv2")
    said = run(
        ["ppo/train_ppo.py", *game, "--n-envs", 2, "--n-epochs", 2, "--n-steps", 16, "--batch-size", 16,
         "--train-iters", 1, "--record-envs", 2, "--video-every", 0, "--output-dir", folder / "ppo", "--device", "cpu"],
        folder,
    )  # fmt: skip
    command = next_command(said, folder)
    recording = command[command.index("--trajectories") + 1]
    assert "--save" not in command and "frames" in run(["sd/inspect_trajectories.py", "--trajectories", recording,
                                                        "--save", folder / "sheet.png"], folder)  # fmt: skip
    assert cv2.imread(str(folder / "sheet.png")) is not None
    command = next_command(run([*command, "--output-dir", folder / "autoencoder", *SMALL], folder), folder)
    command = next_command(run([*command, "--output-dir", folder / "sd", *SMALL], folder), folder)
    assert command[0].endswith("sd/play_sd.py")
    said = run(
        [*command, "--headless", "--frames", 9, "--record", folder / "dream.mp4", "--device", "cpu"], folder
    )
    assert "9 frames" in said
    with np.load(recording, allow_pickle=False) as file:
        first = file["frames"][0, 0].transpose(1, 2, 0)
        assert (
            file["frames"].shape[:2] == file["actions"].shape == (6, 16)
        )  # 2 epochs of 2 and a wandering game
    film, frames = cv2.VideoCapture(str(folder / "dream.mp4")), []
    while (frame := film.read()[1]) is not None:
        frames.append(frame)
    return first, frames


@pytest.mark.slow
@pytest.mark.emulator
def test_the_road_on_an_emulator_game(tmp_path):
    """Another console, size of frame and set of actions: whatever fits only the built-in game breaks here."""
    pytest.importorskip("stable_retro", reason="stable-retro is not installed")
    first, frames = run_all_steps(["--game", "Airstriker-Genesis-v0"], tmp_path)
    assert first.shape == (144, 208, 3)  # scaled
    assert len(frames) == 9 and frames[0].shape == (288, 416, 3)


@pytest.mark.slow
def test_the_road_on_the_built_in_game(tmp_path):
    """What the README promises to everybody, without a ROM."""
    first, frames = run_all_steps(["--game", "Mode7Kart-v0"], tmp_path)
    assert first.shape == (112, 256, 3)
    assert len(frames) == 9 and frames[0].shape == (224, 512, 3)
