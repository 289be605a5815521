"""Reads a log of keys as a table: the time and the keys of each line, and whether a key goes down or up."""

import re
from itertools import islice
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from player.common.errors import InputError
from player.common.key_names import is_no_key, to_pygame_key
from player.video.log_columns import (
    KEY_WORDS,
    NAME_WORDS,
    Columns,
    at_time,
    find_columns,
    is_index,
    is_number,
    is_span,
    join_time,
    parse_event,
)
from player.video.log_events import find_event_column, keep_key_events
from player.video.log_text import Row, csv_rows, decode, is_json, json_rows

EXPECTED = "write lines of time,keys or frame,keys"
MAX_PREAMBLE = 20  # lines before the names of the columns
DELIMITERS = (",", "\t", ";", "|")


class LogTable(NamedTuple):
    """The used columns of a log, one entry per line."""

    lines: List[int]  # number in the file, from 1
    times: List[str]  # as written
    keys: List[str]  # as written
    # In a log of events, whether the key goes down or up; else None: `keys` are all keys held.
    is_down: Optional[List[bool]]
    is_frame: bool  # times are frame numbers
    unit: Optional[str]  # "s", "ms", "us" or "ns" if the first line states it


def read_table(path: Path, notes: List[str]) -> LogTable:
    """Reads the log at `path` and appends what it ignores to `notes`.

    Raises InputError, with the line number, if the file has no such table.
    """
    text = decode(path, notes)
    columns, rows, is_csv = _find_table(path, text, notes)
    if is_csv:
        rows = [(number, _join_fraction(columns, cells)) for number, cells in rows]
    columns = _choose_time(columns, rows)
    rows = keep_key_events(path, columns, rows, notes)
    if not rows:
        raise InputError(f"{path} has no lines after the first: {EXPECTED}")
    is_last = is_csv and bool(columns.keys) and not any(columns.header[columns.keys[0] + 1 :])
    rows = [
        (number, _join_more(path, number, cells, columns.keys[0] if is_last else None, len(columns.header)))
        for number, cells in rows
    ]
    times = _read_times(path, columns, rows)
    lines = [number for number, _ in rows]
    table = LogTable(
        lines, times, [], None, columns.is_frame, "s" if columns.fraction is not None else columns.unit
    )
    if columns.key_columns:
        return table._replace(keys=[_held_names(path, columns, row) for row in rows])
    names = _name_columns(columns, rows)
    _refuse_numbers(path, columns, rows, names[0])
    event = find_event_column(path, columns, rows, names[0], notes)
    _check_unused(path, columns, {names[0], event, columns.time, columns.fraction}, notes)
    if event is None:
        return table._replace(keys=[cells[names[0]] for _, cells in rows])
    events = [_read_event(path, number, cells, names, event) for number, cells in rows]
    return table._replace(keys=[key for key, _ in events], is_down=[is_down for _, is_down in events])


def _find_table(path: Path, text: str, notes: List[str]) -> Tuple[Columns, List[Row], bool]:
    """The columns, the lines after the header, and whether the file is CSV (else JSON)."""
    if is_json(text):
        names, rows = json_rows(path, text, KEY_WORDS)
        columns = find_columns(names)
        if columns is None:
            found = ", ".join(names)[:60]
            raise InputError(
                f"{path}: an object must have the fields time (or frame) and keys, found {found!r}"
            )
        return columns, rows, False
    found = ""
    first_rows: Dict[str, List[Row]] = {}
    # `up,left` in the first line of values is no reason to take a comma for the delimiter: the header decides.
    for delimiter in DELIMITERS:
        first_rows[delimiter] = list(islice(csv_rows(path, text, delimiter), MAX_PREAMBLE + 1))
        number, cells = first_rows[delimiter][0] if first_rows[delimiter] else (0, [])
        found = found or delimiter.join(cells)
        columns = find_columns(cells)
        if columns is not None:
            return columns, list(csv_rows(path, text, delimiter, number)), True
    for delimiter, some in first_rows.items():
        for number, cells in some[1:]:
            columns = find_columns(cells)
            if columns is not None:
                notes.append(f"assumed: {path.name}: the columns are named in line {number}")
                return columns, list(csv_rows(path, text, delimiter, number)), True
    for delimiter, some in first_rows.items():
        names = _names_without_header([cells for _, cells in some])
        columns = find_columns(names)
        if columns is not None:
            notes.append(f"assumed: {path.name} has no first line with the columns {','.join(names)}")
            return columns, list(csv_rows(path, text, delimiter)), True
    raise InputError(f"{path}: the first line must be time,keys or frame,keys, found {found[:60]!r}")


def _names_without_header(rows: List[List[str]]) -> List[str]:
    """The columns of a log without a line of names: time,keys or time,key,event; empty if it is neither."""
    size = len(rows[0]) if rows else 0
    if size not in (2, 3) or any(len(cells) != size for cells in rows):
        return []
    has_times = all(re.fullmatch(r"-?\d+(?:\.\d+)?|(?:\d+:)?\d+:\d\d(?:\.\d+)?", cells[0]) for cells in rows)
    names = {cells[1] for cells in rows if cells[1]}
    are_keys = all(is_no_key(name) or to_pygame_key(name, True) or "+" in name for name in names)
    has_name = any(not name.isdigit() for name in names)
    has_events = size == 2 or {parse_event(cells[2]) for cells in rows} == {True, False}
    return (
        ["time", "keys" if size == 2 else "key", "event"][:size]
        if (has_times and are_keys and has_name and has_events)
        else []
    )


def _join_fraction(columns: Columns, cells: List[str]) -> List[str]:
    """A line with one cell too many because Python's logging puts a comma before the milliseconds: 12:00:00,125."""
    i = columns.time
    is_split = len(cells) > len(columns.header) and re.fullmatch(r"(?:.*[T ])?\d\d?:\d\d:\d\d", cells[i])
    if not is_split or not re.fullmatch(r"\d{3}", cells[i + 1]):
        return cells
    return [*cells[:i], f"{cells[i]}.{cells[i + 1]}", *cells[i + 2 :]]


def _choose_time(columns: Columns, rows: List[Row]) -> Columns:
    """The columns with a time that counts from the start, if there is one besides dates and seconds since 1970."""
    if columns.is_frame or columns.fraction is not None or len(columns.times) < 2:
        return columns
    cells = {i: [cells[i] for _, cells in rows if i < len(cells)] for i in columns.times}
    dates = [i for i in columns.times if any(re.match(r"\d{4}[-/.]|\d{9,}", cell) for cell in cells[i])]
    others = [i for i in columns.times if i not in dates and all(cells[i])]
    return at_time(columns, others[0]) if columns.time in dates and others else columns


def _refuse_numbers(path: Path, columns: Columns, rows: List[Row], keys: int) -> None:
    """Raises InputError if the cells of keys are codes of buttons, or whether something is pressed."""
    cells = {cells[keys] for _, cells in rows if cells[keys]}
    is_number_of = columns.header[keys] in ("button", "buttons", "code", *NAME_WORDS[4:6])
    are_states = len(cells) > 1 and cells <= {"0", "1", "true", "false", "True", "False"}
    if are_states or (cells and is_number_of and all(map(is_number, cells))):
        raise InputError(
            f"{path}: the column {columns.header[keys]!r} has numbers, found {min(cells)!r}: write names of keys, such "
            "as up, or a column of 0 or 1 for each key, such as time,up,left"
        )


def _join_more(path: Path, number: int, cells: List[str], last: Optional[int], num_columns: int) -> List[str]:
    """The cells of a line, as many as the header has.

    If the column of keys is the `last`, more cells can only be more keys: `up,left` without quotes.
    """
    more = [cell for cell in cells[num_columns if last is None else last + 1 :] if cell]
    if more and (last is None or cells[last].isdigit()):
        raise InputError(f'{path}, line {number}: more columns than the first line: quote keys as "up,left"')
    cells = cells[:num_columns] + [""] * (num_columns - len(cells))
    if more and last is not None:
        cells[last:] = [",".join([cells[last], *more]), *[""] * (num_columns - last - 1)]
    return cells


def _read_times(path: Path, columns: Columns, rows: List[Row]) -> List[str]:
    times = [cells[columns.time] for _, cells in rows]
    if "" in times:
        raise InputError(f"{path}, line {rows[times.index('')][0]}: no time: {EXPECTED}")
    if columns.fraction is None:
        return times
    fractions = [cells[columns.fraction] for _, cells in rows]
    joined = [join_time(*parts, columns.fraction_digits) for parts in zip(times, fractions)]
    return times if None in joined else [time for time in joined if time is not None]


def _name_columns(columns: Columns, rows: List[Row]) -> List[int]:
    """The column of keys, and others that name the key of an event where its cell is empty.

    Names are preferred to numbers, which differ between systems.
    """
    named = [i for i in columns.keys if not all(is_number(cells[i]) for _, cells in rows if cells[i])]
    first = (named or columns.keys)[0]
    return [first, *(i for i in named if i != first and columns.header[i] in NAME_WORDS)]


def _held_names(path: Path, columns: Columns, row: Row) -> str:
    """The keys held, as a list, of a table with one column of 0 or 1 per key."""
    number, cells = row
    held = [bool(cells[i]) and parse_event(cells[i]) for i in columns.key_columns]
    if None in held:
        cell = cells[columns.key_columns[held.index(None)]]
        raise InputError(
            f"{path}, line {number}: {cell[:40]!r} in a column of one key: write 0 or 1, or {EXPECTED[6:]}"
        )
    return repr([name for name, is_held in zip(columns.key_names, held) if is_held])


def _read_event(path: Path, number: int, cells: List[str], names: List[int], event: int) -> Tuple[str, bool]:
    key = next((cells[i] for i in names if cells[i]), "")
    is_down = parse_event(cells[event])
    if is_down is None or not key:
        raise InputError(
            f"{path}, line {number}: expected a key and down or up, found {','.join(cells)[:60]!r}"
        )
    return key, is_down


def _check_unused(path: Path, columns: Columns, used: Set[Optional[int]], notes: List[str]) -> None:
    """Notes the columns that are not used. Raises InputError if one of them says how long a key is held."""
    unused = [name for i, name in enumerate(columns.header) if i not in used and not is_index(name)]
    spans = [name for name in unused if is_span(name)]
    if spans:
        raise InputError(
            f"{path}: a column {spans[0]!r}: {EXPECTED}, each with the keys held until the next line"
        )
    if unused:
        notes.append(f"{path.name}: columns that are not used: {', '.join(unused)[:100]}")
