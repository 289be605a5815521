"""What train_ppo.py records while it trains: which environments, and the writer of their rows."""

import argparse
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from player.recording.disk_space import check_disk_space, recording_bytes
from player.recording.trajectory_writer import TrajectoryWriter


def recorded_envs(args: argparse.Namespace) -> list:
    """Indices of the recorded environments: the first of the training environments, and all for exploration."""
    return [*range(args.record_envs), *range(args.n_envs, args.n_envs + args.explore_envs)]


def recorded_policies(args: argparse.Namespace) -> List[str]:
    """The behavior policy of each recorded environment."""
    return ["agent"] * args.record_envs + ["wander"] * args.explore_envs


def make_writer(
    args: argparse.Namespace,
    run_dir: Path,
    action_names: List[str],
    meta: Dict[str, Any],
    frame_size: Tuple[int, int],
    first_epoch: int,
) -> Optional[TrajectoryWriter]:
    """The writer of the recording, or None if nothing is recorded. meta: of the recording. frame_size: height and
    width. Raises InputError if the disk is too full."""
    num_recorded = len(recorded_envs(args))
    if num_recorded == 0:
        return None
    end = min(args.recording_end, args.n_epochs)
    epochs, epochs_left = (max(0, end - max(args.recording_start, begin)) for begin in (0, first_epoch))
    size, size_left = (
        recording_bytes(count * num_recorded, args.n_steps, *frame_size) for count in (epochs, epochs_left)
    )
    print(f"recording {num_recorded} environments for {epochs_left} epochs: {size_left / 1e9:.2f} GB;")
    print(f"packing at the end temporarily takes {size / 1e9:.2f} GB more")
    run_dir.mkdir(parents=True, exist_ok=True)
    check_disk_space(run_dir, size_left + size)
    return TrajectoryWriter(run_dir, action_names, meta, first_epoch)
