"""What the keys of the window on a recording do, and what it works out: no pygame.

Another key is a line in COMMANDS and a function of its name, here; those that the dream's window has too are in
commands.py. `window`: a Browser. A position counts the frames of all rows, one row after another: row * T + t.
"""

from collections.abc import Callable

import numpy as np

from dream.window import commands

COMMANDS = {  # a command, its keys, its line of help
    "help": (("h", "f1"), "all keys"),
    "one on": (("right",), "one frame on"),
    "one back": (("left",), "one frame back"),
    "far on": (("up",), "100 frames on"),
    "far back": (("down",), "100 frames back"),
    "next row": (("page down",), "next row"),
    "previous row": (("page up",), "row before"),
    "first": (("home",), "first frame"),
    "last": (("end",), "last frame"),
    "next episode": (("e",), "next episode start"),
    "previous episode": (("w", "shift+e"), "episode start before"),
    "play": (("space", "p"), "play at the game's pace"),
    "actions": (("a",), "how often each action was chosen"),
    "choose": (("tab",), "choose an action, rarest first"),
    "choose back": (("shift+tab",), "choose the rarer one"),
    "next run": (("n",), "next run of the chosen action"),
    "previous run": (("b",), "run of it before"),
    "picture": (("s", "f12"), "save a picture"),
    "quit": (("q", "escape"), "quit"),
}
FAR = 100  # frames


def command(name: str) -> Callable:
    return globals().get(name.replace(" ", "_")) or commands.command(name)


# ------------------------------------------------------------------------------------------------ the commands


def one_on(window) -> None:
    window.go(window.position + 1)


def one_back(window) -> None:
    window.go(window.position - 1)


def far_on(window) -> None:
    window.go(window.position + FAR)


def far_back(window) -> None:
    window.go(window.position - FAR)


def next_row(window) -> None:
    window.go(window.position + window.recording.num_steps)


def previous_row(window) -> None:
    window.go(window.position - window.recording.num_steps)


def first(window) -> None:
    window.go(0)


def last(window) -> None:
    window.go(window.recording.num_frames - 1)


def next_episode(window) -> None:
    window.go_to_one_of(window.episodes, 1, "episode starts")


def previous_episode(window) -> None:
    window.go_to_one_of(window.episodes, -1, "episode starts")


def play(window) -> None:
    window.play_or_stop()


def actions(window) -> None:
    window.show_actions = not window.show_actions


def choose(window) -> None:
    window.choose(1)


def choose_back(window) -> None:
    window.choose(-1)


def next_run(window) -> None:
    window.go_to_one_of(window.runs, 1, f"run of {window.chosen_name} begins")


def previous_run(window) -> None:
    window.go_to_one_of(window.runs, -1, f"run of {window.chosen_name} begins")


# ------------------------------------------------------------------------------------------------ what it works out


def spread(total: int, count: int) -> np.ndarray:
    """Up to `count` different indices over 0 .. total - 1, the first and the last among them."""
    return np.unique(np.linspace(0, total - 1, count).round().astype(np.int64))


def rarest_first(counts: np.ndarray) -> list[int]:
    """Actions in the order of their counts, int (A,); those that never occur come first, ties by their index."""
    return np.argsort(counts, kind="stable").tolist()


def run_starts(actions: np.ndarray, episode_starts: np.ndarray, action: int) -> np.ndarray:
    """int64 positions where the action, of int (N, T), begins to be chosen: at most one in a run, none across rows or
    episode starts, bool (N, T)."""
    chosen = actions == action
    goes_on = np.zeros_like(chosen)
    goes_on[:, 1:] = chosen[:, :-1] & ~episode_starts[:, 1:]
    return np.flatnonzero(chosen & ~goes_on)


def nearest(positions: np.ndarray, position: int, direction: int) -> int | None:
    """Of ascending positions the first one after this position, or the last one before it."""
    others = positions[positions > position] if direction > 0 else positions[positions < position][::-1]
    return int(others[0]) if len(others) else None


def position_at(x: int, width: int, num_frames: int) -> int:
    """The frame under column x of a timeline `width` pixels wide; beside it, the first or the last."""
    return min(max(x * num_frames // width, 0), num_frames - 1)


def column_of(position: int, width: int, num_frames: int) -> int:
    """The middle of the columns of a frame, or the column that it shares with others."""
    begins, first_and_last_layers = (-(-one * width // num_frames) for one in (position, position + 1))
    return min(max(begins, (begins + first_and_last_layers - 1) // 2), width - 1)


def counted_before(marked: np.ndarray) -> np.ndarray:
    """int64 (frames + 1,): how many frames before each one, and in all, are marked, bool (N, T)."""
    return np.concatenate([[0], np.cumsum(marked)])


def shares(before: np.ndarray, width: int) -> np.ndarray:
    """float64 (width,): which share of the frames under each column of a timeline is marked; see counted_before."""
    edges = np.arange(width + 1) * (len(before) - 1) // width
    begins, first_and_last_layers = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    return (before[first_and_last_layers] - before[begins]) / (first_and_last_layers - begins)


def values_at(extras: dict[str, np.ndarray], row: int, t: int) -> list[tuple[str, str]]:
    """Name and value, in words, of what a recording says beside its frames, where that is one value a frame, (N, T)."""
    return [
        (name.removeprefix("truth/"), in_words(array[row, t]))
        for name, array in extras.items()
        if array.ndim == 2
    ]


def in_words(value: np.generic) -> str:
    if value.dtype.kind != "f":
        return str(value)
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def clock(seconds: float) -> str:
    tenths = int(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"
