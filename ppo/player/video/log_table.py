"""Reads a log of keys as a table: the time and the keys of each line, and whether a key goes down or up."""

from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from player.common.errors import InputError
from player.video.log_columns import (
    INDEX_WORDS,
    KEY_WORDS,
    NAME_WORDS,
    Columns,
    find_columns,
    is_number,
    is_span,
    join_time,
    parse_event,
)
from player.video.log_events import find_event_column, keep_key_events
from player.video.log_text import Row, csv_rows, decode, is_json, json_rows

EXPECTED = "write lines of time,keys or frame,keys"
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
    columns, rows, is_csv = _find_table(path, text)
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
    event = find_event_column(path, columns, rows, names[0])
    _check_unused(path, columns, {*names[:1], event, columns.time, columns.fraction}, columns.keys[1:], notes)
    if event is None:
        return table._replace(keys=[cells[names[0]] for _, cells in rows])
    events = [_read_event(path, number, cells, names, event) for number, cells in rows]
    return table._replace(keys=[key for key, _ in events], is_down=[is_down for _, is_down in events])


def _find_table(path: Path, text: str) -> Tuple[Columns, List[Row], bool]:
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
    # `up,left` in the first line of values is no reason to take a comma for the delimiter: the header decides.
    for delimiter in DELIMITERS:
        number, cells = next(csv_rows(path, text, delimiter), (0, []))
        found = found or delimiter.join(cells)
        columns = find_columns(cells)
        if columns is not None:
            return columns, list(csv_rows(path, text, delimiter, number)), True
    raise InputError(f"{path}: the first line must be time,keys or frame,keys, found {found[:60]!r}")


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


def _check_unused(path: Path, columns: Columns, used: set, other_names: List[int], notes: List[str]) -> None:
    """Notes the columns that are not used. Raises InputError if one of them says how long a key is held."""
    unused = [
        name
        for i, name in enumerate(columns.header)
        if i not in used and name not in INDEX_WORDS and not name.startswith("unnamed")
    ]
    spans = [name for name in unused if is_span(name)]
    if spans:
        raise InputError(
            f"{path}: a column {spans[0]!r}: {EXPECTED}, each with the keys held until the next line"
        )
    if unused:
        notes.append(f"{path.name}: columns that are not used: {', '.join(unused)[:100]}")
