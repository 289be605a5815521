"""Which episodes of a recording has no training of a dream learned from?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.data.latents import recording_fingerprint, recording_prefix_fingerprint
from dream.data.trajectories import Trajectories, split_episodes


def training_seeds(data: Trajectories, training_runs: Sequence[dict], path: Path) -> set[int]:
    """Of the trainings on this recording; none where it is another. Raises BadInput where it begins like one of those
    that were learned from: by the same seed a game is the same, however long."""
    recording, beginning = recording_fingerprint(data), recording_prefix_fingerprint(data)
    seeds = {one["seed"] for one in training_runs if one["recording"] == recording}
    if not seeds and any(one.get("prefix_fingerprint") == beginning for one in training_runs):
        raise InputError(
            f"{path} begins like a recording that the dream has learned from: record by another --seed"
        )
    return seeds


def held_out_masks(data: Trajectories, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(train, held_out), bool (N, T) each: what no training by any of these seeds learned from is held out."""
    splits = [split_episodes(data, seed=seed) for seed in seeds]
    held_out = np.logical_and.reduce([held_out for _, held_out in splits])
    if not held_out.any():
        raise InputError(
            f"trainings by the seeds {list(seeds)} have each learned what the others set aside: record anew"
        )
    return splits[-1][0], held_out
