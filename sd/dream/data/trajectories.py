"""Recordings of a game (trajectories.npz): opened, checked and memory-mapped.

This file format is the only link between the two sides of the project; other tools may write it too:
    frames          uint8 (N, T, 3, H, W)   RGB, 0-255
    actions         integer (N, T)          index into action_names
    episode_starts  bool (N, T)             optional; True where frame t is the first after a reset
    action_names, meta                      optional; names (A,); JSON text with fps, action_keys, record_envs ...
    anything else (N, T, ...)               optional; available in `extras`

Action t is chosen after seeing frame t and leads from frame t to frame t + 1.
Memory use does not grow with the recording: frames stay in the file and are read when they are indexed.
"""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dream.common.errors import MAX_MESSAGE, InputError, refuse_damaged, shorten
from dream.common.limits import MAX_FPS, MIN_FPS
from dream.data.action_keys import read_action_keys, read_action_names
from dream.data.array_checks import check_actions, check_frames, check_starts, note_constant
from dream.data.npz_mmap import iter_members, mmap_member

FORMAT_VERSION = 1
DEFAULT_FPS = 15.0
PREFIX_STEPS = 128  # steps from which `recording_prefix_fingerprint` is computed


@dataclass(frozen=True, eq=False)
class Trajectories:
    """A recording of N rows of T steps each."""

    frames: np.ndarray  # uint8 (N, T, 3, H, W), memory-mapped, read only
    actions: np.ndarray  # int64 (N, T)
    episode_starts: np.ndarray  # bool (N, T)
    action_names: tuple[str, ...]  # (A,)
    action_keys: tuple[tuple[str, ...], ...]  # (A,), pygame key names that are held together
    fps: float  # recorded frames per second
    meta: dict  # as in the file
    extras: dict[str, np.ndarray]  # other arrays (N, T, ...), memory-mapped
    # Assumptions about what the file does not state, one line each, for printing.
    assumptions: tuple[str, ...]
    # K: row i belongs to environment i % K; None: every row is a separate environment.
    record_envs: int | None

    @property
    def num_rows(self) -> int:
        return self.frames.shape[0]

    @property
    def num_steps(self) -> int:
        return self.frames.shape[1]

    @property
    def num_frames(self) -> int:
        return self.num_rows * self.num_steps

    @property
    def num_actions(self) -> int:
        return len(self.action_names)

    @property
    def height(self) -> int:
        return self.frames.shape[3]

    @property
    def width(self) -> int:
        return self.frames.shape[4]

    def print_assumptions(self) -> None:
        """Prints what is assumed about the file, one line each."""
        for line in self.assumptions:
            print(f"assumed: {shorten(line, MAX_MESSAGE)}")


def open_trajectories(path: Path | str) -> Trajectories:
    """Opens and checks a recording.

    Raises InputError if the file is missing or damaged or does not have the format; the message says what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"no recording at {path}: make one with ppo/record_trajectories.py, or choose another with --trajectories"
        )
    with refuse_damaged(path, "copy or record it again"):
        return _open_archive(path)


def _open_archive(path: Path) -> Trajectories:
    assumptions: list[str] = []
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for key, info in iter_members(archive):
            array = mmap_member(path, archive, info, assumptions)
            if array is not None:
                arrays[key] = array
            elif key in ("frames", "actions"):
                raise InputError(
                    f"{path}: {key} holds pickled objects, which are never loaded: save plain numbers"
                )
            else:
                assumptions.append(f"{key} holds pickled objects, which are never loaded: left out")
    for key in ("frames", "actions"):
        if key not in arrays:
            raise InputError(
                f"{path} has no {key!r}, only {sorted(arrays)}: save both with np.savez(frames=, actions=)"
            )
    frames = arrays.pop("frames")
    check_frames(path, frames)
    N, T = frames.shape[:2]
    actions = check_actions(path, arrays.pop("actions"), (N, T), assumptions)
    note_constant(frames, actions, assumptions)
    starts = check_starts(path, arrays.pop("episode_starts", None), (N, T), assumptions)
    names = read_action_names(path, arrays.pop("action_names", None), int(actions.max()), assumptions)
    meta = _read_meta(arrays.pop("meta", None), assumptions)
    # replay/* arrays belong to recordings of play sessions (dream/play/recording.py), not to single frames
    arrays = {key: array for key, array in arrays.items() if not key.startswith("replay/")}
    for key in [key for key, array in arrays.items() if array.shape[:2] != (N, T)]:
        assumptions.append(f"{key} {arrays.pop(key).shape} does not begin with the axes {(N, T)}: ignored")
    return Trajectories(
        frames=frames,
        actions=actions,
        episode_starts=starts,
        action_names=names,
        action_keys=read_action_keys(meta, names, assumptions),
        fps=_read_fps(meta, assumptions),
        meta=meta,
        extras=arrays,
        record_envs=_read_record_envs(meta, N, assumptions),
        assumptions=tuple(assumptions),
    )


def recording_fingerprint(trajectories: Trajectories) -> str:
    """Identifies a recording by its shape, its actions and a few pixels of each row; reads little of the file."""
    digest = hashlib.sha1(str(trajectories.frames.shape).encode())
    digest.update(np.ascontiguousarray(trajectories.actions))
    digest.update(np.ascontiguousarray(trajectories.frames[:, ::97, :, ::16, ::16]))
    return digest.hexdigest()[:12]


def recording_prefix_fingerprint(trajectories: Trajectories) -> str:
    """Identifies how a recording begins, from actions and a few pixels of its first row.

    Two recordings of the same game with the same seed have the same prefix fingerprint although one is longer.
    """
    digest = hashlib.sha1(trajectories.actions[0, :PREFIX_STEPS].astype(np.int64))
    digest.update(np.ascontiguousarray(trajectories.frames[0, :PREFIX_STEPS:16, :, ::16, ::16]))
    return digest.hexdigest()[:12]


def _read_meta(text: np.ndarray | None, assumptions: list[str]) -> dict:
    if text is None:
        assumptions.append("no meta in the file: the game and its settings are unknown")
        return {}
    try:
        meta = json.loads(text.item())
        if not isinstance(meta, dict):
            raise ValueError(f"{type(meta).__name__}, wanted an object")
    except (ValueError, TypeError, RecursionError) as error:
        assumptions.append(f"meta is not readable as a JSON object ({error}): ignored")
        return {}
    version = meta.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        assumptions.append(f"the file has format version {version}: read as version {FORMAT_VERSION}")
    return meta


def _read_fps(meta: dict, assumptions: list[str]) -> float:
    fps = meta.get("fps")
    is_number = isinstance(fps, (int, float)) and not isinstance(fps, bool)  # JSON's true is an int in Python
    if is_number and MIN_FPS <= fps <= MAX_FPS:
        return float(fps)
    reason = "no fps in the file" if fps is None else f"fps is {fps!r} in the file"
    assumptions.append(f"{reason}: {DEFAULT_FPS:g} frames per second are assumed")
    return DEFAULT_FPS


def _read_record_envs(meta: dict, num_rows: int, assumptions: list[str]) -> int | None:
    K = meta.get("record_envs")
    if type(K) is int and K > 0 and num_rows % K == 0:  # not a bool, which isinstance would accept
        return K
    if K is not None or num_rows > 1:
        reason = "no record_envs in the file" if K is None else f"record_envs is {K!r} for {num_rows} rows"
        assumptions.append(f"{reason}: every row is treated as a separate environment")
    return None


def read_rewards(data: Trajectories) -> np.ndarray | None:
    """The recorded rewards, float32 (N, T), None if there are none; those that are not finite are 0."""
    rewards = data.extras.get("rewards")
    if rewards is None or rewards.ndim != 2 or rewards.dtype.kind not in "biuf":
        return None
    return np.nan_to_num(np.asarray(rewards, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def has_varied_rewards(data: Trajectories) -> bool:
    """Whether a recording has rewards, and not the same everywhere."""
    rewards = read_rewards(data)
    return rewards is not None and bool(np.ptp(rewards) > 0)
