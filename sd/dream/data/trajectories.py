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
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.data.action_keys import read_action_keys, read_action_names
from dream.data.npz_mmap import iter_members, mmap_member

FORMAT_VERSION = 1
MIN_STEPS = 5  # four context frames and the next frame
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


def open_trajectories(path: Path | str) -> Trajectories:
    """Opens and checks a recording.

    Raises InputError if the file is missing or damaged or does not have the format; the message says what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"no recording at {path}: make one with ppo/record_trajectories.py, or choose another with --trajectories"
        )
    assumptions: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {
                key: mmap_member(path, archive, info, assumptions) for key, info in iter_members(archive)
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError) as error:
        raise InputError(
            f"{path} ({path.stat().st_size} bytes) is not a complete .npz file ({error}): copy or record it again"
        ) from None

    for key in ("frames", "actions"):
        if key not in arrays:
            raise InputError(
                f"{path} has no {key!r}, only {sorted(arrays)}: save both with np.savez(frames=, actions=)"
            )
    frames = arrays.pop("frames")
    _check_frames(path, frames)
    N, T = frames.shape[:2]
    actions = _check_actions(path, arrays.pop("actions"), (N, T))
    starts = _check_starts(path, arrays.pop("episode_starts", None), (N, T), assumptions)
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


def _check_frames(path: Path, frames: np.ndarray) -> None:
    wanted = "wanted uint8 (N, T, 3, H, W), RGB 0-255"
    actual = f"{path}: frames are {frames.dtype} {frames.shape}"
    if frames.ndim != 5:
        raise InputError(f"{actual}, {wanted}: save them with five axes (rows, time, colour, height, width)")
    if frames.shape[2] != 3 and frames.shape[4] == 3:
        raise InputError(f"{actual}, {wanted}: colour is last, save frames.transpose(0, 1, 4, 2, 3)")
    if frames.shape[2] != 3:
        raise InputError(f"{actual}, {wanted}: {frames.shape[2]} colours on axis 2, save three")
    if frames.dtype != np.uint8:
        raise InputError(f"{actual}, {wanted}: convert them to whole numbers 0-255 of type uint8")
    if frames.size == 0:
        raise InputError(f"{actual}, which contains no data, {wanted}: record again")
    if frames.shape[1] < MIN_STEPS:
        raise InputError(
            f"{actual}: rows of {frames.shape[1]} steps, wanted at least {MIN_STEPS}: record longer rows"
        )


def _check_actions(path: Path, actions: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    actual = f"{path}: actions are {actions.dtype} {actions.shape}"
    if not np.issubdtype(actions.dtype, np.integer):
        raise InputError(f"{actual}, wanted integers (N, T): save the index of each action")
    if actions.shape != shape:
        raise InputError(f"{actual}, wanted {shape} (N, T) as in frames: save one action for every frame")
    actions = np.array(actions, np.int64)
    if actions.min() < 0:
        raise InputError(
            f"{actual} from {actions.min()} to {actions.max()}, wanted 0 or more: count actions from 0"
        )
    return actions


def _check_starts(
    path: Path, starts: np.ndarray | None, shape: tuple[int, int], assumptions: list[str]
) -> np.ndarray:
    if starts is None:
        assumptions.append("no episode_starts in the file: every row is treated as one episode")
        starts = np.zeros(shape, bool)
        starts[:, 0] = True
    if starts.dtype != bool or starts.shape != shape:
        raise InputError(
            f"{path}: episode_starts are {starts.dtype} {starts.shape}, wanted bool {shape}: convert them"
        )
    return np.array(starts)


def _read_meta(text: np.ndarray | None, assumptions: list[str]) -> dict:
    if text is None:
        assumptions.append("no meta in the file: the game and its settings are unknown")
        return {}
    try:
        meta = json.loads(text.item())
        if not isinstance(meta, dict):
            raise ValueError(f"{type(meta).__name__}, wanted an object")
    except (ValueError, TypeError) as error:
        assumptions.append(f"meta is not readable as a JSON object ({error}): ignored")
        return {}
    version = meta.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        assumptions.append(f"the file has format version {version}: read as version {FORMAT_VERSION}")
    return meta


def _read_fps(meta: dict, assumptions: list[str]) -> float:
    fps = meta.get("fps")
    is_number = isinstance(fps, (int, float)) and not isinstance(fps, bool)  # JSON's true is an int in Python
    if is_number and math.isfinite(fps) and fps > 0:
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
