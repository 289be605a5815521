"""Reads a log of keys next to a video, in the dialects of many loggers, as the keys held over time."""

from pathlib import Path
from typing import Dict, List, NamedTuple, Set

import numpy as np

from player.common.errors import InputError, refuse_damaged
from player.video.log_events import refuse_events_in_cells
from player.video.log_names import KeyNames, Keys, clean_cell
from player.video.log_table import LogTable, read_table
from player.video.log_times import video_seconds

MAX_DISORDER = 0.05  # seconds by which a line may stand too late, as loggers with several threads write them
# The characters that a keyboard of the USA types with Shift; other layouts: see `_held_after_events`.
_SHIFTED = dict(zip('!@#$%^&*()_+{}|:"<>?~', "1234567890-=[]\\;',./`"))
_SHIFTS = frozenset(["left shift", "right shift"])


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

    def keys_during(self, middles: np.ndarray, length: float) -> List[Keys]:
        """The keys held in the middle of each step, and those pressed within it that are held in no step's middle.

        `middles` (N,): ascending, in seconds; `length`: of a step, in seconds.
        """
        result = self.keys_at(middles)
        pressed: Dict[str, float] = {}  # key -> time since when it is held
        before: Keys = frozenset()
        for time, keys in zip(self.times, self.keys):
            for key in before - keys:
                start = pressed.pop(key)
                step = int(np.searchsorted(middles, start))  # the first middle at or after the press
                if start < time and (step == len(middles) or middles[step] >= time):
                    for i in (step - 1, step):
                        if (
                            0 <= i < len(middles)
                            and middles[i] - length / 2 <= start < middles[i] + length / 2
                        ):
                            result[i] = result[i] | {key}
                            break
            pressed.update((key, float(time)) for key in keys - before)
            before = keys
        return result


def read_log(path: Path, frame_times: np.ndarray, length: float, notes: List[str]) -> KeyLog:
    """Reads the log at `path`, whose lines are changes of the keys held, or events of single keys.

    `frame_times` (N,): of the video's frames, in seconds, ascending from 0; `length`: of the video, in seconds.
    Assumptions and names of keys that no keyboard has are appended to `notes`, one line each. Raises InputError, with
    the line number, if the log cannot be read or is ambiguous.
    """
    with refuse_damaged(path, "write the log again"):
        table = read_table(path, notes)
        is_event = table.is_down is not None
        if not is_event:
            table = table._replace(keys=[clean_cell(cell) for cell in table.keys])
            refuse_events_in_cells(path, table.lines, table.keys)
        times = video_seconds(path, table, frame_times, length, notes)
        times, table = _in_order(path, times, table, notes)
        names = KeyNames(path)
        cells = [names.read(cell, line, is_event) for cell, line in zip(table.keys, table.lines)]
        keys = _held_after_events(table, cells) if is_event else cells
        notes += names.notes()
        return KeyLog(times, keys)


def _in_order(path: Path, times: np.ndarray, table: LogTable, notes: List[str]) -> tuple:
    """The times and the table sorted by time. Raises InputError if a line stands more than MAX_DISORDER too late."""
    late = np.maximum.accumulate(times) - times
    for i in np.flatnonzero(late > MAX_DISORDER)[:1]:
        raise InputError(
            f"{path}, line {table.lines[i]}: the time {table.times[i]!r:.40} is earlier than the line before: "
            "sort the lines by time"
        )
    if not late.any():
        return times, table
    notes.append(
        f"assumed: {path.name}: {np.count_nonzero(late)} lines, at most {late.max() * 1000:.0f} ms late, are sorted"
    )
    order = np.argsort(times, kind="stable")
    is_down = None if table.is_down is None else [table.is_down[i] for i in order]
    return times[order], table._replace(
        lines=[table.lines[i] for i in order],
        times=[table.times[i] for i in order],
        keys=[table.keys[i] for i in order],
        is_down=is_down,
    )


def _held_after_events(table: LogTable, cells: List[Keys]) -> List[Keys]:
    """The keys held after each event; a repeated "down" changes nothing.

    pynput and browsers name a key by the character that it types: "!" goes down, Shift goes up, and "1" goes up. With
    Shift held a key is named by what it types without in the USA. On other layouts, the end of a character that is not
    held ends the last one that was typed with Shift.
    """
    held: Set[str] = set()
    typed: List[str] = []  # characters held that were typed with Shift
    result = []
    for keys, is_down in zip(cells, table.is_down or []):
        if held & _SHIFTS:
            keys = frozenset(_SHIFTED.get(key, key) for key in keys)
        characters = [key for key in keys if len(key) == 1 and not key.isalpha()]
        typed = [key for key in typed if key in held]
        if is_down:
            typed += characters if held & _SHIFTS else []
        elif characters and not keys & held and typed:
            keys = frozenset([typed[-1]])
        held = held | keys if is_down else held - keys
        result.append(frozenset(held))
    return result
