"""Computations of the dataset viewer: runs of an action, timeline columns, values as text. Needs no pygame.

A position counts the frames of all rows, one row after another: row * T + t.
"""

import numpy as np


def evenly_spaced(total: int, count: int) -> np.ndarray:
    """Returns up to `count` different indices from 0 to total - 1, both included, int64."""
    return np.unique(np.linspace(0, total - 1, count).round().astype(np.int64))


def rarest_first(counts: np.ndarray) -> list[int]:
    """Returns the actions sorted by their counts, int (A,), rarest first; ties by index."""
    return np.argsort(counts, kind="stable").tolist()


def run_starts(actions: np.ndarray, episode_starts: np.ndarray, action: int) -> np.ndarray:
    """Returns the positions, int64, at which runs of `action` begin.

    `actions`: int (N, T). `episode_starts`: bool (N, T). Rows and episode starts end a run.
    """
    is_action = actions == action
    continues = np.zeros_like(is_action)
    continues[:, 1:] = is_action[:, :-1] & ~episode_starts[:, 1:]
    return np.flatnonzero(is_action & ~continues)


def nearest(positions: np.ndarray, position: int, direction: int) -> int | None:
    """Returns the first of the ascending positions after `position` (direction 1) or the last before it (-1)."""
    others = positions[positions > position] if direction > 0 else positions[positions < position][::-1]
    return int(others[0]) if len(others) else None


def position_at(x: int, width: int, num_frames: int) -> int:
    """Returns the frame at column `x` of a timeline of `width` pixels, clamped to the first and the last frame."""
    return min(max(x * num_frames // width, 0), num_frames - 1)


def timeline_column(position: int, width: int, num_frames: int) -> int:
    """Returns the middle column of a frame on the timeline; frames may share a column."""
    begin, end = (-(-index * width // num_frames) for index in (position, position + 1))
    return min(max(begin, (begin + end - 1) // 2), width - 1)


def prefix_counts(marked: np.ndarray) -> np.ndarray:
    """Returns the number of marked frames before each position, int64 (N * T + 1,); the last is the total.

    `marked`: bool (N, T)."""
    return np.concatenate([[0], np.cumsum(marked)])


def column_fractions(counts: np.ndarray, width: int) -> np.ndarray:
    """Returns the fraction of marked frames in each column of a timeline, float64 (width,). `counts`: prefix_counts."""
    edges = np.arange(width + 1) * (len(counts) - 1) // width
    begins, ends = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    return (counts[ends] - counts[begins]) / (ends - begins)


def frame_values(extras: dict[str, np.ndarray], row: int, t: int) -> list[tuple[str, str]]:
    """Returns name and text of each extra array that has one value per frame, (N, T), such as rewards."""
    return [
        (name.removeprefix("truth/"), format_value(array[row, t]))
        for name, array in extras.items()
        if array.ndim == 2
    ]


def format_value(value: np.generic) -> str:
    """A float with three digits, or none after the point from 100 on; other values as they are."""
    if value.dtype.kind != "f":
        return str(value)
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def format_time(seconds: float) -> str:
    """Minutes, seconds and tenths of a second, rounded down: 1:15.2."""
    tenths = int(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"
