"""Checks of the arrays of a recording, and conversions of other forms that have only one meaning."""

from pathlib import Path

import numpy as np

from dream.common.errors import InputError

MIN_STEPS = 5  # steps of a row: four context frames and the next frame


def check_frames(path: Path, frames: np.ndarray) -> None:
    """Raises InputError unless the frames are uint8 (N, T, 3, H, W)."""
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


def check_actions(
    path: Path, actions: np.ndarray, shape: tuple[int, int], assumptions: list[str]
) -> np.ndarray:
    """Actions as int64 indices (N, T) = `shape`. Raises InputError if that is not what they are."""
    actual = f"{path}: actions are {actions.dtype} {actions.shape}"
    if actions.shape == (*shape, 1):
        assumptions.append(f"actions {actions.shape} have a last axis of one: read without it")
        actions = actions[..., 0]
    if actions.ndim == 3 and actions.shape[:2] == shape:
        actions = _one_hot_actions(actual, np.asarray(actions), assumptions)
    if actions.shape != shape:
        raise InputError(f"{actual}, wanted {shape} (N, T) as in frames: save one action for every frame")
    if actions.dtype.kind == "f" and (actions == np.round(actions)).all() and np.abs(actions).max() < 2**31:
        assumptions.append(f"actions are {actions.dtype}, all of them whole numbers: read as integers")
        actions = actions.astype(np.int64)
    if not np.issubdtype(actions.dtype, np.integer):
        raise InputError(f"{actual}, wanted integers (N, T): save the index of each action")
    actions = np.array(actions, np.int64)
    if actions.min() < 0:
        raise InputError(
            f"{actual} from {actions.min()} to {actions.max()}, wanted 0 or more: count actions from 0"
        )
    return actions


def note_constant(frames: np.ndarray, actions: np.ndarray, assumptions: list[str]) -> None:
    """Notes if the recording shows no effect of actions: a single action, or the same picture everywhere."""
    if actions.min() == actions.max():
        assumptions.append(
            f"action {actions.min()} is the only one in the file: nothing can be learned about keys"
        )
    N, T = actions.shape
    sample = frames[:: -(-N // 8), :: -(-T // 8)]  # at most 64 frames
    if sample.shape[0] * sample.shape[1] > 1 and (sample == sample[0, 0]).all():
        assumptions.append(
            "all frames that were compared are the same picture: nothing can be learned from it"
        )


def _one_hot_actions(actual: str, actions: np.ndarray, assumptions: list[str]) -> np.ndarray:
    """Indices (N, T) of one-hot actions (N, T, A). Raises InputError if several buttons, or none, can be held."""
    N, T, A = actions.shape
    is_binary = actions.dtype.kind in "buif" and np.isin(actions, (0, 1)).all()
    if is_binary and (actions.sum(axis=2) == 1).all():
        assumptions.append(f"actions {actions.shape} are one-hot: read as the index of the 1")
        return actions.argmax(axis=2)
    if is_binary:  # buttons held at the same time
        raise InputError(
            f"{actual}, with none or several 1 in some steps: number the combinations, by actions = "
            f"np.unique(actions.reshape(-1, {A}), axis=0, return_inverse=True)[1].reshape({N}, {T})"
        )
    raise InputError(f"{actual}, wanted integers (N, T): save the index of each action")


def check_starts(
    path: Path, starts: np.ndarray | None, shape: tuple[int, int], assumptions: list[str]
) -> np.ndarray:
    """Episode starts, bool (N, T) = `shape`. Raises InputError if that is not what they are."""
    if starts is None:
        assumptions.append("no episode_starts in the file: every row is treated as one episode")
        starts = np.zeros(shape, bool)
        starts[:, 0] = True
    if starts.dtype.kind in "iuf" and starts.shape == shape and np.isin(starts, (0, 1)).all():
        assumptions.append(f"episode_starts are {starts.dtype}, all of them 0 or 1: read as False and True")
        starts = starts.astype(bool)
    if starts.dtype != bool or starts.shape != shape:
        raise InputError(
            f"{path}: episode_starts are {starts.dtype} {starts.shape}, wanted bool {shape}: convert them"
        )
    return np.array(starts)
