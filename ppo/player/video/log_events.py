"""Finds the column of a log that says whether a key goes down or up; without one, a line has all keys held.

An event that is read as a state, or the other way round, makes a recording from which nothing true can be learned. So
what looks like events, one key in each line and two values next to it, is used or refused, never ignored.
"""

import re
from pathlib import Path
from typing import Dict, List, Optional, Set, Tuple

from player.common.errors import InputError
from player.common.key_names import is_no_key, split_keys, to_pygame_key
from player.video.log_columns import EVENT_WORDS, Columns, is_other_event, parse_event
from player.video.log_text import Row

ADVICE = "write the columns time,key,event with down and up, or time,keys with all keys held"

_PRESS = re.compile(r"\b(?:key[ _-]?(?:down|up)|press(?:ed)?|releas(?:ed?|ing)|pressing)\b", re.IGNORECASE)
_DIRECTION = re.compile(r"\W*[^\s,+;|&].*?[\s:_-]+(down|up)\W*", re.IGNORECASE)


def keep_key_events(path: Path, columns: Columns, rows: List[Row], notes: List[str]) -> List[Row]:
    """The lines without those of other events in the same log, such as `mousemove` or evdev's `EV_SYN`."""
    for i in _event_candidates(columns):
        cells = {cells[i] for _, cells in rows if i < len(cells)}
        others = {cell for cell in cells if is_other_event(cell)}
        rest = cells - others
        if others and (rest == {"EV_KEY"} or {parse_event(cell) for cell in rest} == {True, False}):
            kept = [row for row in rows if i >= len(row[1]) or row[1][i] not in others]
            names = ", ".join(sorted(others))[:60]
            notes.append(f"{path.name}: {len(rows) - len(kept)} lines of other events are left out: {names}")
            return kept
    return rows


def find_event_column(path: Path, columns: Columns, rows: List[Row], keys_column: int) -> Optional[int]:
    """The column of events, or None if each line has all keys held. Raises InputError if it may be either."""
    candidates = [i for i in _event_candidates(columns) if i != keys_column]
    values: Dict[int, Set[Optional[bool]]] = {
        i: {parse_event(cell) for cell in {cells[i] for _, cells in rows}}
        for i in range(len(columns.header))
        if i not in (keys_column, columns.time, columns.fraction)
    }
    for i in candidates:
        if values[i] == {True, False}:
            return i
    # A state of no key, or of several, is in no log of events.
    if not all(_is_one_key(cell) for cell in {cells[keys_column] for _, cells in rows}):
        return None
    for i in candidates:
        if len(rows) == 1 and None not in values[i]:
            return i
        _refuse_unclear(path, columns.header[i], [(number, cells[i]) for number, cells in rows], values[i])
    for i, parsed in values.items():
        if parsed == {True, False}:
            raise InputError(
                f"{path}: does the column {columns.header[i][:40]!r} say whether a key goes down or up? Name it event, "
                "or remove it"
            )
    return None


def refuse_events_in_cells(path: Path, lines: List[int], cells: List[str]) -> None:
    """Raises InputError if cells of keys say that a key is pressed or released, such as `w pressed` or `{w down}`."""
    different = {
        cell: line for line, cell in zip(lines, cells) if not is_no_key(cell) and to_pygame_key(cell) is None
    }
    directions = {cell: _DIRECTION.fullmatch(cell) for cell in different if cell}
    ends = {match.group(1).lower() for match in directions.values() if match is not None}
    for cell, line in different.items():
        # `left up` is two keys, unless in all lines either "up" or "down" comes last.
        if _PRESS.search(cell) or (ends == {"down", "up"} and None not in directions.values()):
            raise InputError(f"{path}, line {line}: {cell[:40]!r} is an event and no list of keys: {ADVICE}")


def _refuse_unclear(path: Path, name: str, cells: List[Tuple[int, str]], parsed: Set[Optional[bool]]) -> None:
    """Raises InputError if a column that is named like one of events has some of their words, or two values."""
    if None not in parsed:
        missing = "up" if True in parsed else "down"
        raise InputError(
            f"{path}: in the column {name!r}, {cells[0][1][:40]!r}, no key ever goes {missing}: {ADVICE}"
        )
    number, cell = next((number, cell) for number, cell in cells if parse_event(cell) is None)
    if len(parsed) > 1 or len({cell for _, cell in cells}) > 1:
        raise InputError(
            f"{path}, line {number}: expected a key and down or up, found {cell[:40]!r} in the column {name!r}: "
            f"{ADVICE}"
        )


def _event_candidates(columns: Columns) -> List[int]:
    return [columns.header.index(word) for word in EVENT_WORDS if word in columns.header]


def _is_one_key(cell: str) -> bool:
    if not cell or cell[0] in "[{(" or is_no_key(cell):  # a list of one is a state too
        return False
    try:
        return len(split_keys(cell)) == 1
    except ValueError:
        return False
