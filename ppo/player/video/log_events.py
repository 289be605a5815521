"""Finds the column of a log that says whether a key goes down or up; without one, a line has all keys held.

An event that is read as a state, or the other way round, makes a recording from which nothing true can be learned. So
what looks like events, one key in each line and two values next to it, is used or refused, never ignored.
"""

import re
from pathlib import Path
from typing import Dict, List, Optional, Set, Tuple

from player.common.errors import InputError
from player.common.key_names import is_no_key, split_keys, to_pygame_key
from player.video.log_columns import EVENT_WORDS, Columns, is_index, is_other_event, is_span, parse_event
from player.video.log_text import Row

ADVICE = "write the columns time,key,event with down and up, or time,keys with all keys held"

_PRESS = re.compile(r"\b(?:key[ _-]?(?:down|up)|press(?:ed)?|releas(?:ed?|ing)|pressing)\b", re.IGNORECASE)
_DIRECTION = re.compile(r"\W*[^\s,+;|&].*?[\s:_-]+(down|up)\W*", re.IGNORECASE)


def keep_key_events(path: Path, columns: Columns, rows: List[Row], notes: List[str]) -> List[Row]:
    """The lines without those of other events in the same log, such as `mousemove` or evdev's `EV_SYN`.

    A word that is not known is another event if it never stands next to a key.
    """
    for i in _event_candidates(columns):
        cells = {cells[i] for _, cells in rows if i < len(cells)}
        with_key = {cells[i] for _, cells in rows if i < len(cells) and _has_key(columns, cells, i)}
        others = {
            cell
            for cell in cells
            if is_other_event(cell) or (cell and parse_event(cell) is None and cell not in with_key)
        }
        rest = cells - others
        if others and (rest == {"EV_KEY"} or {parse_event(cell) for cell in rest} == {True, False}):
            kept = [row for row in rows if i >= len(row[1]) or row[1][i] not in others]
            names = ", ".join(sorted(others))[:60]
            notes.append(f"{path.name}: {len(rows) - len(kept)} lines of other events are left out: {names}")
            return kept
    return rows


def _has_key(columns: Columns, cells: List[str], event: int) -> bool:
    names = [cells[i] for i in columns.keys if i != event and i < len(cells)]
    return any(name and to_pygame_key(name, True) is not None for name in names)


def find_event_column(
    path: Path, columns: Columns, rows: List[Row], keys_column: int, notes: List[str]
) -> Optional[int]:
    """The column of events, or None if each line has all keys held. Raises InputError if it may be either.

    A column with another name is one of events if its cells say "down" and "up" in turn for each key.
    """
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
    for i in values:
        name, cells_of = columns.header[i], [cells[i] for _, cells in rows]
        if values[i] != {True, False} or is_index(name) or is_span(name):
            continue
        pairs = [(cells[keys_column], bool(parse_event(cells[i]))) for _, cells in rows]
        # Whether a game is paused is 0 first; the first event of a key is that it goes down.
        are_words = not all(
            re.fullmatch(r"[012](?:\.0)?|true|false", cell, re.IGNORECASE) for cell in cells_of
        )
        if _are_turns(pairs, are_words):
            notes.append(f"assumed: {path.name}: the column {name[:40]!r} says whether a key goes down or up")
            return i
        if are_words:
            _refuse_unnamed(path, name)
    for i in values:
        is_known = is_index(columns.header[i]) or is_span(columns.header[i])
        if not is_known and _may_be_events([(cells[keys_column], cells[i]) for _, cells in rows]):
            _refuse_unnamed(path, columns.header[i])
    return None


def _refuse_unnamed(path: Path, name: str) -> None:
    raise InputError(
        f"{path}: does the column {name[:40]!r} say whether a key goes down or up? Name it event, with down and up, or "
        "remove it"
    )


def _are_turns(pairs: List[Tuple[str, bool]], may_begin_up: bool) -> bool:
    """Whether in pairs of (key, goes down) each key that goes up went down before.

    `may_begin_up`: a key that was held when the log began may go up first.
    """
    last: Dict[str, bool] = {}
    for key, is_down in pairs:
        if not is_down and not last.get(key, may_begin_up):
            return False
        last[key] = is_down
    downs = {key for key, is_down in pairs if is_down}
    return all(key in downs for key in last)


def _may_be_events(pairs: List[Tuple[str, str]]) -> bool:
    """Whether the second of (key, value) is always one of two values, and both occur with one of the keys."""
    values = {value for _, value in pairs}
    return len(values) == 2 and len(set(pairs)) > len({key for key, _ in pairs})


def refuse_events_in_cells(path: Path, lines: List[int], cells: List[str]) -> None:
    """Raises InputError if cells of keys say that a key is pressed or released, such as `w pressed` or `{w down}`."""
    different: Dict[str, int] = {}  # cell -> its first line
    for line, cell in zip(lines, cells):
        if not is_no_key(cell) and to_pygame_key(cell) is None:
            different.setdefault(cell, line)
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
