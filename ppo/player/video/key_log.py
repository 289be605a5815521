"""Reads a log of keys next to a video, in the dialects of many loggers, as the keys held over time."""

from pathlib import Path
from typing import Dict, FrozenSet, List, NamedTuple, Set

import numpy as np

from player.common.errors import InputError, refuse_damaged
from player.common.key_names import MAX_NAME, is_printable_name, split_keys, to_pygame_key
from player.video.log_events import refuse_events_in_cells
from player.video.log_table import LogTable, read_table
from player.video.log_times import video_seconds

MAX_LISTED = 5  # keys that a note names

Keys = FrozenSet[str]


class KeyLog(NamedTuple):
    """The keys held over time; none before the first time."""

    times: np.ndarray  # float64 (L,), seconds after the video's first frame, ascending
    keys: List[
        Keys
    ]  # (L,), held from each time on; pygame's names, or the log's own where no keyboard has the key

    def keys_at(self, seconds: np.ndarray) -> List[Keys]:
        """The keys held at each of the given times (N,)."""
        held = [frozenset(), *self.keys]
        return [held[i] for i in np.searchsorted(self.times, seconds, side="right")]


def read_log(path: Path, frame_times: np.ndarray, length: float, notes: List[str]) -> KeyLog:
    """Reads the log at `path`, whose lines are changes of the keys held, or events of single keys.

    `frame_times` (N,): of the video's frames, in seconds, ascending from 0; `length`: of the video, in seconds.
    Assumptions and names of keys that no keyboard has are appended to `notes`, one line each. Raises InputError, with
    the line number, if the log cannot be read or is ambiguous.
    """
    with refuse_damaged(path, "write the log again"):
        table = read_table(path, notes)
        if table.is_down is None:
            refuse_events_in_cells(path, table.lines, table.keys)
        times = video_seconds(path, table, frame_times, length, notes)
        names = _KeyNames(path)
        cells = [
            names.read(cell, line, table.is_down is not None) for cell, line in zip(table.keys, table.lines)
        ]
        keys = cells if table.is_down is None else _held_after_events(table, cells)
        notes += names.notes()
        return KeyLog(times, keys)


def _held_after_events(table: LogTable, cells: List[Keys]) -> List[Keys]:
    """The keys held after each event; a repeated "down" changes nothing."""
    held: Set[str] = set()
    result = []
    for keys, is_down in zip(cells, table.is_down or []):
        held = held | keys if is_down else held - keys
        result.append(frozenset(held))
    return result


class _KeyNames:
    """Translates the cells of one log; each different cell once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: Dict[str, Keys] = {}
        self.translated: Dict[str, str] = {}  # as written -> pygame's name
        self.unknown: Dict[str, None] = {}  # in order

    def read(self, cell: str, line: int, is_event: bool) -> Keys:
        """The keys in `cell`. Raises InputError if a name is ambiguous or cannot be displayed."""
        if cell == "-" and not is_event:
            raise InputError(
                f"{self.path}, line {line}: '-' is the minus key or no key: write minus, or leave the cell empty"
            )
        if cell not in self.known:
            try:
                names = split_keys(cell)
            except ValueError as problem:
                raise InputError(f"{self.path}, line {line}: {str(problem)[:200]}") from None
            self.known[cell] = frozenset(self._translate(name, line) for name in names)
        return self.known[cell]

    def _translate(self, name: str, line: int) -> str:
        key = to_pygame_key(name, foreign=True)
        if key is None:
            key = name.strip(" '\"").lower()
            if not is_printable_name(key):
                raise InputError(
                    f"{self.path}, line {line}: {name[:40]!r} is no key's name (1 to {MAX_NAME} printable characters)"
                )
            self.unknown[key] = None
        elif key != name.strip("'\"").lower():
            self.translated[name] = key
        return key

    def notes(self) -> List[str]:
        """What was translated, and what no keyboard has."""
        notes = []
        if self.translated:
            pairs = [f"{name[:24]} is {key!r}" for name, key in self.translated.items()]
            notes.append(f"assumed: keys of {self.path.name}: {_listed(pairs)}")
        if self.unknown:
            names = _listed([repr(key[:24]) for key in self.unknown])
            notes.append(
                f"{self.path.name}: no keyboard has the keys {names}: in play, they are used from a list of actions"
            )
        return notes


def _listed(texts: List[str]) -> str:
    more = len(texts) - MAX_LISTED
    return ", ".join(texts[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
