"""Helpers of the tests of recordings: small epochs for the writer, and small files."""

import json
from pathlib import Path

import numpy as np
from dream.data.trajectories import open_trajectories
from player.recording.trajectory_writer import TrajectoryWriter

K, T, H, W = 2, 6, 4, 8
NAMES = ["nothing", "forward", "left"]
META = {
    "record_envs": K,
    "game": "Test-v0",
    "fps": 15.0,
    "frame_skip": 4,
    "action_keys": [[], ["up"], ["left"]],
    "seed": 3,
}


def epoch_rows(epoch: int) -> dict:
    """Random arrays of an epoch: K rows (environments) of T steps."""
    generator = np.random.default_rng(epoch)
    starts = np.zeros((K, T), bool)
    starts[:, 0] = epoch == 0
    starts[1, 3] = True
    return {
        "frames": generator.integers(0, 256, (K, T, 3, H, W), np.uint8),
        "actions": generator.integers(0, len(NAMES), (K, T)),
        "episode_starts": starts,
        "rewards": generator.random((K, T), np.float32),
        "truth/x": generator.random((K, T, 2)),
    }


def new_writer(run_dir: Path, first_epoch: int = 0) -> TrajectoryWriter:
    return TrajectoryWriter(run_dir, NAMES, META, first_epoch)


def record(run_dir: Path, epochs: range) -> TrajectoryWriter:
    """Writes `epoch_rows` of these epochs, without packing them."""
    writer = new_writer(run_dir, epochs[0])
    for epoch in epochs:
        writer.write(epoch, epoch_rows(epoch))
    return writer


def assert_holds(path: Path, epochs: range) -> None:
    """The file holds exactly these epochs, every array of them, in order."""
    data = open_trajectories(path)
    arrays = {
        "frames": data.frames,
        "actions": data.actions,
        "episode_starts": data.episode_starts,
        **data.extras,
    }
    assert set(arrays) == set(epoch_rows(0))
    for key, array in arrays.items():
        expected = np.concatenate([epoch_rows(epoch)[key] for epoch in epochs])
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected, err_msg=key)
    assert data.meta["epochs"] == list(epochs)


def save(path: Path, compressed: bool = False, drop: str = "", **changed) -> Path:
    """Saves a recording with NumPy, with the array `drop` left out and others replaced by `changed`."""
    frames = np.arange(3 * T, dtype=np.uint8).reshape(3, T, 1, 1, 1) * np.ones((1, 1, 3, H, W), np.uint8)
    arrays = {"frames": frames, "actions": np.arange(3 * T).reshape(3, T) % 3, **changed}
    arrays.pop(drop, None)
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def trajectories_with(tmp_path, starts: np.ndarray, record_envs: int | None, **meta):
    """A recording of black frames with these episode starts, bool (N, T)."""
    N, num_steps = starts.shape
    text = json.dumps({"fps": 15, "action_keys": [[]], "record_envs": record_envs, **meta})
    frames, actions = np.zeros((N, num_steps, 3, 1, 1), np.uint8), np.zeros(starts.shape, np.int64)
    path = tmp_path / "t.npz"
    np.savez(path, frames=frames, actions=actions, episode_starts=starts, meta=np.array(text))
    return open_trajectories(path)
