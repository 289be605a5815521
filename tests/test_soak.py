"""Playing for a long time needs no more memory and gives no broken frames."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dream.data.start_states import load_start_states
from dream.inference.select_backend import load_backend
from dream.inference.world_model_env import WorldModelEnv
from dream.play.session import PlaySession

SD = Path(__file__).resolve().parent.parent / "sd"
PRETRAINED = SD / "pretrained"
STATUS = Path("/proc/self/status")
WARM_UP_FRAMES = 500  # until the history for rewinding is full
MAX_GROWTH_MB = 4.0


def memory_mb() -> float:
    """Resident memory of this process."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def play(num_frames: int) -> tuple[float, float]:
    """Plays with random keys, restarts and rewinds; returns the memory after the warm-up and at the end, MB."""
    backend = load_backend(PRETRAINED / "decoder.pt", PRETRAINED / "model.pt")
    starts = load_start_states(PRETRAINED / "initial_sequence.npz", backend)
    session, rng, held, before = (
        PlaySession(WorldModelEnv(backend, starts, seed=0)),
        random.Random(0),
        set(),
        0.0,
    )
    for t in range(num_frames):
        if rng.random() < 0.05:
            held = set(rng.sample(["up", "left", "right", "x"], rng.randrange(4)))
        history_must_fill = not WARM_UP_FRAMES < t < num_frames - WARM_UP_FRAMES
        if not history_must_fill and rng.random() < 0.002:
            session.change_start(1)
        if not history_must_fill and rng.random() < 0.01:
            for _ in range(20):
                session.rewind()
        frame = session.step(held)
        if t == WARM_UP_FRAMES:
            before = memory_mb()
        if t % 500 == 0:
            assert np.isfinite(session.env.export_state()[0]).all() and frame.std() > 5
    return before, memory_mb()


@pytest.mark.skipif(not STATUS.exists(), reason="reads /proc")
@pytest.mark.parametrize(
    "num_frames",
    [
        pytest.param(3_250, marks=pytest.mark.slow),
        pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.long]),
    ],
)
def test_memory_does_not_grow_while_playing(num_frames):
    """In a process of its own: what other tests have left behind grows and shrinks by more than the bound."""
    command, environment = [sys.executable, __file__, str(num_frames)], {**os.environ, "PYTHONPATH": str(SD)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    before, after = map(float, run.stdout.split()[-2:])
    print(f"{num_frames} frames: {before:.1f} MB after {WARM_UP_FRAMES}, {after:.1f} MB at the end")
    assert after - before < MAX_GROWTH_MB


if __name__ == "__main__":
    print(*play(int(sys.argv[1])))
