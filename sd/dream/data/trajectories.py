"""Recordings of a game: load, check, memory-map; splits by episode; windows that never cross a reset.

The one file that joins playing and dreaming, of any game, from any tool:
    frames          uint8 (N, T, 3, H, W)   RGB 0-255
    actions         integer (N, T)          index into action_names
    episode_starts  bool (N, T)             optional; True where frame t is the first after a reset
    action_names, meta                      optional; names (A,); JSON text with fps, action_keys, record_envs ...
    anything else (N, T, ...)               optional; carried along in `extras`

Frame t is what the player saw when it chose action t; action t leads from frame t to frame t+1.
Memory does not grow with the recording: frames stay in the file and are read where they are looked at.
"""

import json
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.data.npz_mmap import iter_members, mmap_member

FORMAT_VERSION = 1
MIN_STEPS = 5  # four frames of context and the next one
DEFAULT_FPS = 15.0
# Without keys in the file, six actions are taken for the original's: nothing, forward, left, right, and both at once.
SIX_ACTION_KEYS = ((), ("up",), ("left",), ("right",), ("up", "left"), ("up", "right"))
MAX_UNNAMED_ACTIONS = 256
SPLIT_GAP_S = 3.0
GOOD_SHARE = 0.6  # of the best reward: a kart that drives, not one that stands before a wall
MIN_VALIDATION_FRAMES = 10
MOVES = 4.0  # mean difference, 0-255, of a picture that something moves in


@dataclass(frozen=True, eq=False)
class Trajectories:
    """N rows of T steps. `assumptions`: what the file did not say, one line each; scripts print them."""

    frames: np.ndarray  # uint8 (N, T, 3, H, W), memory-mapped, read only
    actions: np.ndarray  # int64 (N, T)
    episode_starts: np.ndarray  # bool (N, T)
    action_names: tuple[str, ...]  # (A,)
    action_keys: tuple[tuple[str, ...], ...]  # (A,), pygame's key names, held together
    fps: float  # recorded frames a second
    meta: dict  # as found
    extras: dict[str, np.ndarray]  # further (N, T, ...) arrays, memory-mapped
    assumptions: tuple[str, ...]
    record_envs: int | None  # K: row i belongs to environment i % K; None: every row stands alone

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
    """Opens and checks a recording. Raises BadInput in one line: what was found, what was wanted, what to do."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"no recording at {path}: ppo/record_trajectories.py makes one, or name another with --trajectories"
        )
    assumptions: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {
                key: mmap_member(path, archive, info, assumptions) for key, info in iter_members(archive)
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError) as problem:
        raise InputError(
            f"{path} ({path.stat().st_size} bytes) is not a whole .npz file ({problem}): copy or record it again"
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
    names = _check_names(path, arrays.pop("action_names", None), int(actions.max()), assumptions)
    meta = _read_meta(arrays.pop("meta", None), assumptions)
    arrays = {key: array for key, array in arrays.items() if not key.startswith("replay/")}  # of take.py
    for key in [key for key, array in arrays.items() if array.shape[:2] != (N, T)]:
        assumptions.append(f"{key} {arrays.pop(key).shape} does not begin with the axes {(N, T)}: left out")
    return Trajectories(
        frames=frames,
        actions=actions,
        episode_starts=starts,
        action_names=names,
        action_keys=_keys_of(meta, len(names), assumptions),
        fps=_fps_of(meta, assumptions),
        meta=meta,
        extras=arrays,
        record_envs=_record_envs_of(meta, N, assumptions),
        assumptions=tuple(assumptions),
    )


def episode_ids(trajectories: Trajectories) -> np.ndarray:
    """int64 (N, T): 0, 1, 2 ... by environment. The rows of one environment (i, i + K, ...) are stitched: an episode
    goes on into the next row until a start. A row that follows none (the first, or behind a gap in the epochs) begins
    one."""
    N = trajectories.num_rows
    K = trajectories.record_envs or N
    starts = trajectories.episode_starts.copy()  # (N, T)
    starts[:K, 0] = True
    epochs = trajectories.meta.get("epochs")
    if isinstance(epochs, list) and len(epochs) * K == N and all(isinstance(epoch, int) for epoch in epochs):
        starts[np.repeat(np.diff(epochs, prepend=epochs[0] - 1) != 1, K), 0] = True
    order = rows_by_env(trajectories)
    ids = np.empty(starts.shape, np.int64)
    ids[order] = np.cumsum(starts[order].ravel()).reshape(starts.shape) - 1
    return ids


def rows_by_env(trajectories: Trajectories) -> np.ndarray:
    """int64 (N,): the rows of one environment after the other, each in the order of its time."""
    N = trajectories.num_rows
    return np.arange(N).reshape(-1, trajectories.record_envs or N).T.ravel()


def split_episodes(
    trajectories: Trajectories, validation_share: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(train_mask, validation_mask), bool (N, T), never both True, never empty.

    Whole episodes are drawn until they hold `validation_share` of the frames (one that would take it over half stays in
    training). With fewer than four episodes: the last share of every environment's time, behind a gap of 3 s that
    belongs to neither; where that is little, at least 10 frames are taken and the gap is a tenth of the time.
    """
    if not 0 < validation_share < 1:
        raise InputError(f"a validation share of {validation_share}: wanted more than 0 and less than 1")
    ids = episode_ids(trajectories)
    lengths = np.bincount(ids.ravel())
    if len(lengths) < 4:
        return _split_blocks(trajectories, validation_share)
    drawn, num_drawn = [], 0
    for episode in np.random.default_rng(seed).permutation(len(lengths)):
        if num_drawn >= validation_share * ids.size:
            break
        if num_drawn + lengths[episode] <= ids.size / 2:
            drawn.append(episode)
            num_drawn += lengths[episode]
    validation = np.isin(ids, drawn)
    return ~validation, validation


def window_starts(episode_starts: np.ndarray, mask: np.ndarray, length: int) -> np.ndarray:
    """int64 (M, 2), pairs of row and t: all windows of frames t .. t + length - 1 that lie inside one row and wholly in
    the mask, with no episode start after their first frame."""
    assert length >= 1
    N, T = mask.shape
    if length > T:
        return np.empty((0, 2), np.int64)
    zeros = np.zeros((N, 1), np.int64)
    outside = np.concatenate([zeros, np.cumsum(~mask, axis=1)], axis=1)  # (N, T + 1), counts before t
    starts = np.concatenate([zeros, np.cumsum(episode_starts, axis=1)], axis=1)  # (N, T + 1)
    num_outside = outside[:, length:] - outside[:, : T + 1 - length]  # (N, T + 1 - length)
    num_starts = starts[:, length:] - starts[:, 1 : T + 2 - length]  # the window's first frame may be one
    return np.argwhere((num_outside == 0) & (num_starts == 0)).astype(np.int64)


def high_reward_starts(trajectories: Trajectories, mask: np.ndarray, length: int, count: int) -> np.ndarray:
    """int64 (M, 2), M at most `count`: windows as `window_starts` finds them, spread over the mask, as many of each
    `track` where the recording has it. Where rewards are recorded, one that earns at least GOOD_SHARE of the most at
    hand: play should begin where things go well, and the very best are all in one bend."""
    starts = window_starts(trajectories.episode_starts, mask, length)
    track = trajectories.extras.get("track")
    if track is None or track.ndim != 2:
        track = np.zeros(mask.shape)
    known, of_track = np.unique(track[starts[:, 0], starts[:, 1]], return_inverse=True)
    courses = [starts[of_track == one] for one in range(len(known))][:count]
    groups = []
    for i, course in enumerate(courses):
        share = count // len(courses) + (i < count % len(courses))
        groups += np.array_split(course, min(share, len(course)))
    rewards = trajectories.extras.get("rewards")
    if rewards is None or rewards.ndim != 2:
        return np.stack([group[len(group) // 2] for group in groups])
    rewards = np.nan_to_num(np.asarray(rewards, np.float64))
    sums = np.cumsum(np.pad(rewards, ((0, 0), (1, 0))), axis=1)  # (N, T + 1), of what comes before t
    earned = [sums[g[:, 0], g[:, 1] + length] - sums[g[:, 0], g[:, 1]] for g in groups]
    random = np.random.default_rng(0)
    good = [np.flatnonzero(e >= e.max() - (1 - GOOD_SHARE) * abs(e.max())) for e in earned]
    return np.stack([group[random.choice(which)] for group, which in zip(groups, good, strict=True)])


def select_start_states(trajectories: Trajectories, mask: np.ndarray, length: int, count: int) -> np.ndarray:
    """int64 (M, 2), M at most `count`: good starts; where there is room, after the first of them one where an episode
    begins, and at the end, where rewards are recorded, one that goes badly but moves, such as off the road."""
    starts = window_starts(trajectories.episode_starts, mask, length)
    begins = starts[trajectories.episode_starts[starts[:, 0], starts[:, 1]]]
    rewards = trajectories.extras.get("rewards")
    first, last = [*begins[:1]] if count >= 4 else [], []
    if count >= 4 and rewards is not None and rewards.ndim == 2:
        earned = [np.nan_to_num(rewards[row, t : t + length]).sum() for row, t in starts]
        poor = starts[np.argsort(earned, kind="stable")[: max(1, len(starts) // 10)]]
        for row, t in np.random.default_rng(0).permutation(poor)[:200]:
            frames = trajectories.frames[row, [t, t + length - 1]].astype(np.int16)
            if np.abs(frames[1] - frames[0]).mean() > MOVES:
                last = [np.array([row, t])]
                break
    good = high_reward_starts(trajectories, mask, length, count - len(first) - len(last))
    places = np.stack([good[0], *first, *good[1:], *last])
    _, seen_first = np.unique(places, axis=0, return_index=True)
    return places[np.sort(seen_first)]  # each once


def _split_blocks(trajectories: Trajectories, validation_share: float) -> tuple[np.ndarray, np.ndarray]:
    N, T = trajectories.num_rows, trajectories.num_steps
    K = trajectories.record_envs or N
    num_frames = N // K * T  # of one environment
    num_validation = max(round(validation_share * num_frames), min(MIN_VALIDATION_FRAMES, num_frames // 4), 1)
    num_validation = min(num_validation, num_frames - 1)
    gap = min(round(SPLIT_GAP_S * trajectories.fps), num_frames // 10, num_frames - num_validation - 1)
    # (N, T): how far frame t of row i is into the recording of its environment
    time = (np.arange(N) // K * T)[:, None] + np.arange(T)
    return time < num_frames - num_validation - gap, time >= num_frames - num_validation


def _check_frames(path: Path, frames: np.ndarray) -> None:
    wanted = "wanted uint8 (N, T, 3, H, W), RGB 0-255"
    found = f"{path}: frames are {frames.dtype} {frames.shape}"
    if frames.ndim != 5:
        raise InputError(f"{found}, {wanted}: save them with five axes (rows, time, colour, height, width)")
    if frames.shape[2] != 3 and frames.shape[4] == 3:
        raise InputError(f"{found}, {wanted}: colour is last, save frames.transpose(0, 1, 4, 2, 3)")
    if frames.shape[2] != 3:
        raise InputError(f"{found}, {wanted}: {frames.shape[2]} colours on axis 2, save three")
    if frames.dtype != np.uint8:
        raise InputError(f"{found}, {wanted}: save them as whole numbers 0-255 of that type")
    if frames.size == 0:
        raise InputError(f"{found}, which is nothing, {wanted}: record again")
    if frames.shape[1] < MIN_STEPS:
        raise InputError(
            f"{found}: rows of {frames.shape[1]} steps, wanted at least {MIN_STEPS}: record longer rows"
        )


def _check_actions(path: Path, actions: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    found = f"{path}: actions are {actions.dtype} {actions.shape}"
    if not np.issubdtype(actions.dtype, np.integer):
        raise InputError(f"{found}, wanted integers (N, T): save the index of each action")
    if actions.shape != shape:
        raise InputError(f"{found}, wanted {shape} (N, T) as in frames: one action for every frame")
    actions = np.array(actions, np.int64)
    if actions.min() < 0:
        raise InputError(
            f"{found} from {actions.min()} to {actions.max()}, wanted 0 and up: count actions from 0"
        )
    return actions


def _check_starts(
    path: Path, starts: np.ndarray | None, shape: tuple[int, int], assumptions: list[str]
) -> np.ndarray:
    if starts is None:
        assumptions.append("no episode_starts in the file: every row is taken for an episode of its own")
        starts = np.zeros(shape, bool)
        starts[:, 0] = True
    if starts.dtype != bool or starts.shape != shape:
        raise InputError(
            f"{path}: episode_starts are {starts.dtype} {starts.shape}, wanted bool {shape}: convert them"
        )
    return np.array(starts)


def _check_names(
    path: Path, names: np.ndarray | None, max_action: int, assumptions: list[str]
) -> tuple[str, ...]:
    if names is None:
        if max_action >= MAX_UNNAMED_ACTIONS:
            raise InputError(
                f"{path}: actions go up to {max_action}: number them 0, 1, 2 ..., or name them all in action_names"
            )
        assumptions.append(f"no action_names in the file: taken for {max_action + 1} actions without names")
        return tuple(f"action_{i}" for i in range(max_action + 1))
    if names.dtype.kind not in "US" or names.ndim != 1:
        raise InputError(
            f"{path}: action_names are {names.dtype} {names.shape}, wanted one text for each action"
        )
    if max_action >= len(names):
        raise InputError(
            f"{path}: actions go up to {max_action}, but there are {len(names)} action_names: name them all"
        )
    return tuple(str(name) if names.dtype.kind == "U" else name.decode(errors="replace") for name in names)


def _read_meta(text: np.ndarray | None, assumptions: list[str]) -> dict:
    if text is None:
        assumptions.append("no meta in the file: game and settings are unknown")
        return {}
    try:
        meta = json.loads(text.item())
        if not isinstance(meta, dict):
            raise ValueError(f"{type(meta).__name__}, wanted an object")
    except (ValueError, TypeError) as problem:
        assumptions.append(f"meta is no JSON that can be read ({problem}): left out")
        return {}
    version = meta.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        assumptions.append(f"the file says format version {version}: read as version {FORMAT_VERSION}")
    return meta


def _fps_of(meta: dict, assumptions: list[str]) -> float:
    fps = meta.get("fps")
    if isinstance(fps, (int, float)) and math.isfinite(fps) and fps > 0:
        return float(fps)
    found = "no fps in the file" if fps is None else f"fps is {fps!r} in the file"
    assumptions.append(f"{found}: taken for {DEFAULT_FPS:g} frames a second")
    return DEFAULT_FPS


def _keys_of(meta: dict, num_actions: int, assumptions: list[str]) -> tuple[tuple[str, ...], ...]:
    keys = meta.get("action_keys")
    if (
        isinstance(keys, list)
        and len(keys) == num_actions
        and all(isinstance(held, list) and all(isinstance(key, str) for key in held) for held in keys)
    ):
        return tuple(tuple(held) for held in keys)
    found = "no action_keys in the file" if keys is None else f"action_keys do not fit {num_actions} actions"
    if num_actions == len(SIX_ACTION_KEYS):
        assumptions.append(f"{found}: six actions are taken for nothing, up, left, right, up+left, up+right")
        return SIX_ACTION_KEYS
    assumptions.append(f"{found}: action 0 is on key 0, action 1 on key 1 ... (from 10 on: F1, F2 ...)")
    # Beyond the keyboard a key gets a name that none has: () would make the action that of no keys held.
    return tuple(
        (str(i) if i < 10 else f"f{i - 9}" if i < 22 else f"no key {i}",) for i in range(num_actions)
    )


def _record_envs_of(meta: dict, num_rows: int, assumptions: list[str]) -> int | None:
    K = meta.get("record_envs")
    if isinstance(K, int) and K > 0 and num_rows % K == 0:
        return K
    if K is not None or num_rows > 1:
        found = "no record_envs in the file" if K is None else f"record_envs is {K!r} for {num_rows} rows"
        assumptions.append(f"{found}: every row is taken for an environment of its own")
    return None
