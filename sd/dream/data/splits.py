"""Splits of a recording: episodes, training and validation masks, windows that never cross a reset. No torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dream.common.errors import InputError
from dream.data.trajectories import Trajectories, recording_fingerprint, recording_prefix_fingerprint

if TYPE_CHECKING:
    from torch import Tensor

SPLIT_GAP_S = 3.0  # seconds between training and validation where one episode is split
MIN_VALIDATION_FRAMES = 10


def episode_ids(trajectories: Trajectories) -> np.ndarray:
    """Episode number of every frame, int64 (N, T), counted from 0 through one environment after the other.

    The rows of one environment (i, i + K, ...) are joined: an episode continues in the next row until an episode start.
    The first row of an environment, and a row after a gap in meta["epochs"], begins a new episode.
    """
    N = trajectories.num_rows
    K = trajectories.record_envs or N
    starts = trajectories.episode_starts.copy()  # (N, T)
    starts[:K, 0] = True
    epochs = trajectories.meta.get("epochs")
    if isinstance(epochs, list) and len(epochs) * K == N and all(type(epoch) is int for epoch in epochs):
        starts[np.repeat(np.diff(epochs, prepend=epochs[0] - 1) != 1, K), 0] = True
    order = rows_by_env(trajectories)
    ids = np.empty(starts.shape, np.int64)
    ids[order] = np.cumsum(starts[order].ravel()).reshape(starts.shape) - 1
    return ids


def rows_by_env(trajectories: Trajectories) -> np.ndarray:
    """Row indices int64 (N,): all rows of the first environment in order of time, then those of the second, ..."""
    N = trajectories.num_rows
    return np.arange(N).reshape(-1, trajectories.record_envs or N).T.ravel()


def split_episodes(
    trajectories: Trajectories, validation_fraction: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (train_mask, validation_mask), bool (N, T), never both True, never empty.

    Draws whole episodes for validation until they hold `validation_fraction` of the frames; an episode with which they
    would exceed half of the frames stays in training. With fewer than four episodes, validation is instead the last
    part of each environment's time, after a gap of 3 s that belongs to neither mask. If the recording is short,
    validation is at least 10 frames and the gap at most a tenth of the time.

    Raises InputError unless 0 < `validation_fraction` < 1.
    """
    if not 0 < validation_fraction < 1:
        raise InputError(f"a validation fraction of {validation_fraction}: choose one between 0 and 1")
    ids = episode_ids(trajectories)
    lengths = np.bincount(ids.ravel())
    if len(lengths) < 4:
        return _split_blocks(trajectories, validation_fraction)
    drawn, num_drawn = [], 0
    for episode in np.random.default_rng(seed).permutation(len(lengths)):
        if num_drawn >= validation_fraction * ids.size:
            break
        if num_drawn + lengths[episode] <= ids.size / 2:
            drawn.append(episode)
            num_drawn += lengths[episode]
    validation = np.isin(ids, drawn)
    return ~validation, validation


def _split_blocks(trajectories: Trajectories, validation_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """The masks of `split_episodes` for few episodes: the last part of each environment's time is validation."""
    N, T = trajectories.num_rows, trajectories.num_steps
    K = trajectories.record_envs or N
    num_frames = N // K * T  # per environment
    num_validation = max(
        round(validation_fraction * num_frames), min(MIN_VALIDATION_FRAMES, num_frames // 4), 1
    )
    num_validation = min(num_validation, num_frames - 1)
    gap = min(round(SPLIT_GAP_S * trajectories.fps), num_frames // 10, num_frames - num_validation - 1)
    time = (np.arange(N) // K * T)[:, None] + np.arange(T)  # (N, T), frames since the environment's first
    return time < num_frames - num_validation - gap, time >= num_frames - num_validation


def training_seeds(data: Trajectories, training_runs: Sequence[dict], path: Path) -> set[int]:
    """Seeds of the training runs that used this recording; empty if none did.

    `training_runs`: as stored in the model's checkpoint. `path`: the recording's file, for the error message.

    Raises InputError if the recording only begins like one that was used: the same game with the same seed gives the
    same frames, so a longer or shorter recording of it would contain training data.
    """
    recording, prefix = recording_fingerprint(data), recording_prefix_fingerprint(data)
    seeds = {run["seed"] for run in training_runs if run["recording"] == recording}
    if not seeds and any(run.get("prefix_fingerprint") == prefix for run in training_runs):
        raise InputError(
            f"{path} begins like a recording that the model was trained on: record with another --seed"
        )
    return seeds


def held_out_masks(data: Trajectories, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (train_mask, held_out_mask), bool (N, T): held out are the frames that no training run has used.

    `seeds`: those of the training runs, the latest one last; the train mask is the latest run's. Raises InputError if
    the runs together have used all frames.
    """
    splits = [split_episodes(data, seed=seed) for seed in seeds]
    held_out = np.logical_and.reduce([validation for _, validation in splits])
    if not held_out.any():
        raise InputError(
            f"the training runs with the seeds {list(seeds)} together used every episode: record anew"
        )
    return splits[-1][0], held_out


def window_starts(episode_starts: np.ndarray, mask: np.ndarray, length: int) -> np.ndarray:
    """All windows of `length` frames in the mask, as pairs of row and t of their first frames, int64 (M, 2).

    A window t .. t + length - 1 lies in one row, wholly in the mask (N, T), and has no episode start after its first
    frame.
    """
    assert length >= 1
    N, T = mask.shape
    if length > T:
        return np.empty((0, 2), np.int64)
    zeros = np.zeros((N, 1), np.int64)
    outside = np.concatenate([zeros, np.cumsum(~mask, axis=1)], axis=1)  # (N, T + 1), counts before t
    starts = np.concatenate([zeros, np.cumsum(episode_starts, axis=1)], axis=1)  # (N, T + 1)
    num_outside = outside[:, length:] - outside[:, : T + 1 - length]  # (N, T + 1 - length)
    num_starts = starts[:, length:] - starts[:, 1 : T + 2 - length]  # without the window's first frame
    return np.argwhere((num_outside == 0) & (num_starts == 0)).astype(np.int64)


def end_windows(episode_starts: np.ndarray, mask: np.ndarray, context: int) -> np.ndarray:
    """Windows of `context` frames in the mask (N, T) after which the episode ends: pairs of row and t, int64 (M, 2)."""
    starts = window_starts(episode_starts, mask, context)
    starts = starts[starts[:, 1] + context < mask.shape[1]]  # of a row's last frames it is not known
    return starts[episode_starts[starts[:, 0], starts[:, 1] + context]]


def train_windows(data: Trajectories, mask: np.ndarray, context: int) -> "Tensor":
    """Windows of `context` + 1 frames to train on: pairs of row and t, int64 (M, 2), on the CPU.

    Raises InputError if there are none.
    """
    import torch  # here, because programs that only play or inspect work without it

    starts = window_starts(data.episode_starts, mask, context + 1)
    if len(starts) == 0:
        raise InputError(
            f"no {context + 1} frames in a row between two resets to train on: record longer episodes"
        )
    return torch.from_numpy(starts)
