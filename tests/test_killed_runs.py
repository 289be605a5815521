"""Scripts that are killed at any moment lose nothing: their end is that of a run left alone, bit for bit.

The slow tests kill each script twice, the long ones 50 times in all.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from dream.data.trajectories import open_trajectories
from fuzz_targets import digest
from player.recording.pack import pack_trajectories
from small import save_moving_square, save_small_autoencoder

ROOT = Path(__file__).resolve().parent.parent
SMALL = [sys.executable, str(Path(__file__).with_name("run_with_small_networks.py"))]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("ppo", "sd", "tests")),
    "OMP_NUM_THREADS": "1",  # the results of sums depend on the number of threads
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals"),
]


@dataclass(frozen=True)
class Run:
    """A script that writes into a folder and can be started again after it was killed.

    `command(folder, is_resumed)`: its command line. `progress(folder)`: a number that grows while it runs.
    `result(folder)`: what it has made at the end, to compare.
    """

    command: Callable[[Path, bool], list]
    progress: Callable[[Path], float]
    result: Callable[[Path], object]


def checkpoints(*names: str) -> Callable[[Path], list[dict]]:
    return lambda folder: [torch.load(folder / name, weights_only=True) for name in names]


def modified(name: str) -> Callable[[Path], float]:
    return lambda folder: (folder / name).stat().st_mtime if (folder / name).exists() else 0.0


def ppo(folder: Path, is_resumed: bool) -> list:
    settings = "--n-envs 2 --record-envs 1 --explore-envs 1 --n-steps 16 --batch-size 16 --n-epochs 8 --video-every 0"
    resume = ["--resume"] if is_resumed else []
    return [
        sys.executable,
        ROOT / "ppo/train_ppo.py",
        *settings.split(),
        "--device",
        "cpu",
        "--output-dir",
        folder,
        *resume,
    ]


def training(script: str, *settings: str) -> Callable[[Path, bool], list]:
    def command(folder: Path, is_resumed: bool) -> list:
        data = folder.parent.parent / "data"
        paths = ["--trajectories", data / "square.npz", "--output-dir", folder]
        resume = ["--resume"] if is_resumed else []
        return [*SMALL, script, *settings, "--batch-size", "8", "--device", "cpu", *paths, *resume]

    return command


def diffusion(folder: Path, is_resumed: bool) -> list:
    settings = (
        "--epochs",
        "6",
        "--epoch-samples",
        "24",
        "--autoencoder-dir",
        str(folder.parent.parent / "data"),
    )
    return training("train_sd", *settings)(folder, is_resumed)


def ablation(folder: Path, is_resumed: bool) -> list:
    data = folder.parent.parent / "data"
    settings = ["--only", "baseline,AdamW", "--windows", "16", "--batch-size", "8", "--held-out", "8",
                "--channels", "16", "32", "--device", "cpu"]  # fmt: skip
    paths = ["--trajectories", data / "square.npz", "--autoencoder-dir", data, "--output-dir", folder]
    return [*SMALL, "ablate_sd", *settings, *paths]


RUNS = {
    "ppo": Run(
        ppo,
        modified("last.pt"),
        lambda folder: [*checkpoints("best.pt")(folder), recorded(folder / "trajectories.npz")],
    ),
    "autoencoder": Run(
        training("train_autoencoder", "--epochs", "6", "--epoch-samples", "64"),
        modified("last.pt"),
        checkpoints("encoder.pt", "decoder.pt"),
    ),
    "diffusion": Run(diffusion, modified("last.pt"), checkpoints("best.pt", "final.pt")),
    "ablation": Run(
        ablation,
        lambda folder: max((path.stat().st_mtime for path in folder.glob("*/last.pt")), default=0.0),
        lambda folder: (folder / "ablation.json").read_text(),
    ),
}


def recorded(path: Path) -> list[np.ndarray]:
    data = open_trajectories(path)
    return [
        np.array(array) for array in (data.frames, data.actions, data.episode_starts, *data.extras.values())
    ]


def start(command: list, log: Path) -> subprocess.Popen:
    with open(log, "ab") as output:
        return subprocess.Popen(
            list(map(str, command)), stdout=output, stderr=output, env=ENVIRONMENT, cwd=log.parent
        )


def kill_later(process: subprocess.Popen, progress: Callable[[], float], after_s: float, number: int) -> bool:
    """Sends signal `number` a while after the next progress, and waits; False if the process ended before."""
    before, deadline = progress(), time.monotonic() + 3600
    while progress() == before and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(after_s)
    was_running = process.poll() is None
    process.send_signal(number)
    process.wait()
    return was_running


def assert_survives(run: Run, tmp_path: Path, signals: list[int], seed: int) -> None:
    """Kills the run once by each of the signals, starts it again each time, and compares the end."""
    rng = random.Random(seed)
    data = tmp_path / "data"
    data.mkdir()
    save_moving_square(data / "square.npz", rows=6, steps=100)
    save_small_autoencoder(data)
    alone = tmp_path / "alone" / "run"
    alone.parent.mkdir()
    log = alone.parent / "log"
    assert start(run.command(alone, False), log).wait() == 0, log.read_text()
    expected, attempt = digest(run.result(alone)), 0
    while signals:
        attempt += 1
        folder = tmp_path / f"killed_{attempt}" / "run"
        folder.parent.mkdir()
        log = folder.parent / "log"
        while signals:
            process = start(run.command(folder, (folder / "last.pt").exists()), log)
            if not kill_later(process, lambda f=folder: run.progress(f), rng.uniform(0, 0.6), signals[0]):
                assert process.returncode == 0, log.read_text()
                break  # it has finished: begin another run
            signals = signals[1:]
        else:
            process = start(run.command(folder, (folder / "last.pt").exists()), log)
            assert process.wait() == 0, log.read_text()
        assert digest(run.result(folder)) == expected


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_loses_nothing(name, tmp_path):
    assert_survives(RUNS[name], tmp_path, [signal.SIGKILL, signal.SIGTERM], seed=0)


@pytest.mark.long
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_killed_ten_times_loses_nothing(name, tmp_path):
    assert_survives(RUNS[name], tmp_path, [signal.SIGKILL] * 8 + [signal.SIGTERM] * 2, seed=1)


def record(path: Path) -> list:
    settings = ["--policy", "random", "--n-envs", "1", "--frames", "2048"]
    return [sys.executable, ROOT / "ppo/record_trajectories.py", *settings, "--output", path]


def assert_recorder_survives(tmp_path: Path, signals: list[int], seed: int) -> None:
    """What a killed recorder has written can be packed: the first parts of the recording of a process left alone."""
    rng, log = random.Random(seed), tmp_path / "log"
    assert start(record(tmp_path / "alone.npz"), log).wait() == 0, log.read_text()
    expected = recorded(tmp_path / "alone.npz")
    for i, number in enumerate(signals):
        parts = tmp_path / f"killed_{i}.recording"

        def progress(parts: Path = parts) -> int:
            return len(list(parts.glob("*/epoch_??????")))

        process = start(record(tmp_path / f"killed_{i}.npz"), log)
        if kill_later(process, progress, rng.uniform(0, 0.4), number):
            # Rows may have another length; one environment's rows follow each other in time.
            steps, whole = (
                [np.concatenate([*array]) for array in arrays]
                for arrays in (recorded(pack_trajectories(parts)), expected)
            )
            assert 1 <= len(steps[0]) <= len(whole[0])
            for array, other in zip(steps, whole, strict=True):
                np.testing.assert_array_equal(array, other[: len(array)])


def test_a_killed_recorder_loses_at_most_the_last_part(tmp_path):
    assert_recorder_survives(tmp_path, [signal.SIGKILL, signal.SIGTERM], seed=0)


@pytest.mark.long
def test_a_recorder_that_is_killed_ten_times_loses_at_most_the_last_part(tmp_path):
    assert_recorder_survives(tmp_path, [signal.SIGKILL] * 8 + [signal.SIGTERM] * 2, seed=1)
