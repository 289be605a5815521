"""Python 3.8 with gym-retro, the setup of the original project, gives bit for bit the same frames and rewards."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["gym-retro==0.8.0", "gym==0.17.2", "gymnasium>=1.1"]
PLAY = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from player.games.registry import find_game
from player.games.retro.compat import emulator_package
digest, rewards = hashlib.sha1(), []
for name, state, actions in (("KartCart-Snes", "CoralCove", [1, 1, 5, 4]), ("Airstriker-Genesis-v0", None, [4, 0, 3])):
    env = find_game(name, state=state, frame_size=(0, 0)).make(frame_skip=4)  # not scaled, which needs OpenCV
    frame, _ = env.reset()
    for i in range(120):
        digest.update(frame.tobytes())
        frame, reward, done, _, info = env.step(actions[i // 8 % len(actions)])
        rewards.append(reward)
        digest.update(info["truth"].tobytes())
        if done:
            frame, _ = env.reset()
    env.close()
print(emulator_package().__name__, digest.hexdigest(), sum(rewards))
"""


def python38() -> str | None:
    """Path of a working Python 3.8, or None; a shim of pyenv may exist without an interpreter behind it."""
    for candidate in (
        *sorted((Path.home() / ".pyenv" / "versions").glob("3.8*/bin/python3.8")),
        shutil.which("python3.8"),
    ):
        if (
            candidate
            and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return str(candidate)
    return None


@pytest.mark.slow
@pytest.mark.emulator
def test_same_frames_and_rewards_as_stable_retro(tmp_path):
    pytest.importorskip("stable_retro", reason="stable-retro is not installed")
    if (python := python38()) is None:
        pytest.skip("Python 3.8 is not installed")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    python38_venv = tmp_path / "venv" / "bin" / "python"
    install = [python38_venv, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES]
    if subprocess.run(install, capture_output=True, check=False).returncode:
        pytest.skip("gym-retro cannot be installed here")
    outputs = []
    for interpreter in (sys.executable, python38_venv):
        # Each run builds the cartridge in a data folder of its own.
        env = {**os.environ, "DREAM_MARIO_KART_DATA": str(tmp_path / f"data{len(outputs)}")}
        result = subprocess.run(
            [interpreter, "-c", PLAY, ROOT / "ppo"], capture_output=True, text=True, check=False, env=env
        )
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout.split())
    assert [outputs[0][0], outputs[1][0]] == ["stable_retro", "retro"]
    assert outputs[0][1:] == outputs[1][1:]
    roms = [(tmp_path / f"data{i}" / "KartCart-Snes" / "rom.sfc").read_bytes() for i in range(2)]
    assert roms[0] == roms[1]
