"""Reads a log of keys as a table: text encodings, delimiters, and the words that loggers use for the columns."""

import csv
import io
import itertools
import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from player.common.errors import InputError

MAX_BYTES = 64 * 2**20  # of a log: 100 hours of a change of keys every 0.1 s
MAX_CELL = 1000  # characters
EXPECTED = "write lines of time,keys or frame,keys"
DELIMITERS = (",", "\t", ";", "|")
UNITS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"),
    "us": ("us", "µs", "usec", "usecs", "micros", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nsecs", "nanos", "nanosecond", "nanoseconds"),
}
UNIT_OF_WORD = {word: unit for unit, words in UNITS.items() for word in words}
TIME_WORDS = frozenset(
    ["time", "times", "timestamp", "timestamps", "time_stamp", "t", "ts", "elapsed", "elapsed_time", "video_time",
     "clock", "datetime", "date_time"]
)  # fmt: skip
FRAME_WORDS = frozenset(
    ["frame", "frames", "frame_number", "frame_no", "frame_nr", "frame_num", "frame_id", "frame_idx", "frame_index",
     "framenumber", "frame_#"]
)  # fmt: skip
KEY_WORDS = (
    "keys", "key", "keys_held", "held_keys", "keys_pressed", "pressed_keys", "keys_down", "key_name", "keyname",
    "keysym", "keycode", "key_code", "code", "held", "pressed", "button", "buttons",
)  # fmt: skip
EVENT_WORDS = ("event", "event_type", "type", "state", "action", "kind", "direction", "status", "pressed", "down",
               "is_down", "press", "up/down", "down/up", "value")  # fmt: skip
# Columns by which a line holds until its own end and not until the next line: not supported, and not ignored either.
SPAN_WORDS = frozenset(
    ["duration", "end", "end_time", "release", "release_time", "until", "stop", "to", "hold"]
)
INDEX_WORDS = frozenset(
    ["", "index", "id", "row", "no", "nr", "#", "n"]
)  # pandas writes its index without a name
DOWN_WORDS = frozenset(["down", "press", "pressed", "keydown", "key_down", "keypress", "key_press", "on_press", "1",
                        "2", "true", "hold", "held", "repeat", "autorepeat", "d", "1.0"])  # fmt: skip
UP_WORDS = frozenset(["up", "release", "released", "keyup", "key_up", "keyrelease", "key_release", "on_release", "0",
                      "false", "u", "0.0"])  # fmt: skip


class LogTable(NamedTuple):
    """The used columns of a log, one entry per line."""

    lines: List[int]  # number in the file, from 1
    times: List[str]  # as written
    keys: List[str]  # as written
    is_down: Optional[
        List[bool]
    ]  # in a log of events, whether the key goes down or up; else None: all keys held
    is_frame: bool  # times are frame numbers
    unit: Optional[str]  # "s", "ms", "us" or "ns" if the first line states it


def read_table(path: Path, notes: List[str]) -> LogTable:
    """Reads the log at `path` and appends what it ignores to `notes`.

    Raises InputError, with the line number, if the file has no such table.
    """
    text = _decode(path, notes)
    delimiter, first, columns = _find_header(path, text)
    rows = list(itertools.islice(_rows(path, text, delimiter, first), 1))
    event_column = _event_column(columns, rows)
    header, keys_column = columns["header"], columns["keys"]
    time_column = columns["frame"] if "time" not in columns else columns["time"]
    _check_unused(path, header, {keys_column, event_column, time_column}, notes)
    is_down = None if event_column is None else []
    table = LogTable([], [], [], is_down, "time" not in columns, columns["unit"])
    is_last = not any(header[keys_column + 1 :])  # then `up,left` without quotes can only be two keys
    for number, cells in _rows(path, text, delimiter, first):
        more = [cell for cell in cells[keys_column + 1 if is_last else len(header) :] if cell]
        if more and (not is_last or is_down is not None or cells[keys_column].isdigit()):
            raise InputError(
                f'{path}, line {number}: more columns than the first line: quote keys as "up,left"'
            )
        cells += [""] * (len(header) - len(cells))
        if not cells[time_column]:
            raise InputError(f"{path}, line {number}: no time: {EXPECTED}")
        table.lines.append(number)
        table.times.append(cells[time_column])
        table.keys.append(",".join([cells[keys_column], *more]))
        if is_down is not None:
            word = _event_word(cells[event_column])
            if word not in DOWN_WORDS | UP_WORDS or not cells[keys_column]:
                raise InputError(
                    f"{path}, line {number}: expected a key and down or up, found {','.join(cells)[:60]!r}"
                )
            is_down.append(word in DOWN_WORDS)
    if not table.lines:
        raise InputError(f"{path} has no lines after the first: {EXPECTED}")
    return table


def _event_column(columns: Dict, first_rows: "List[Tuple[int, List[str]]]") -> Optional[int]:
    """The column of events, or None. One named "action" or "state" need not be one: the first row decides."""
    column = columns.get("event")
    if column is None or columns["header"][column] in EVENT_WORDS[:2] or not first_rows:
        return column
    word = _event_word("".join(first_rows[0][1][column : column + 1]))
    return column if word in DOWN_WORDS | UP_WORDS else None


def _event_word(cell: str) -> str:
    """The last word of `KeyboardEvent.KEY_DOWN` and the like, in lower case."""
    return re.sub(r"[\s-]+", "_", cell.lower()).rpartition(".")[2]


def _check_unused(path: Path, header: List[str], used: "Set[Optional[int]]", notes: List[str]) -> None:
    """Notes the columns that are not used. Raises InputError if one of them says how long a key is held."""
    unused = [name for i, name in enumerate(header) if i not in used and name not in INDEX_WORDS]
    unused = [name for name in unused if not name.startswith("unnamed")]
    spans = [name for name in unused if name in SPAN_WORDS]
    if spans:
        raise InputError(
            f"{path}: a column {spans[0]!r}: {EXPECTED}, each with the keys held until the next line"
        )
    if unused:
        notes.append(f"{path.name}: columns that are not used: {', '.join(unused)[:100]}")


def _decode(path: Path, notes: List[str]) -> str:
    """The text of the log; its last line is left out if zeros, which a crash leaves, cut it off."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"{path} has {size / 2**20:.0f} MB, more than a log of keys: write a line per change of keys"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no log of keys at {path}: make one with lines of time,keys") from None
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as problem:
        raise InputError(f"{path} is not a CSV file ({problem.reason}): save it as UTF-8") from None
    text, length = text.rstrip("\0\x1a"), len(text)  # character 26 ends texts of DOS
    if length > len(text) and not text.endswith(("\n", "\r")):
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
        notes.append(f"{path.name} was cut off in its last line, which is left out")
    elif text and not text.endswith(("\n", "\r")):
        notes.append(f"{path.name} ends without a line break: its last line may be cut off")
    damaged = next((char for char in text if not char.isprintable() and char not in "\t\r\n\u2028\xa0"), None)
    if damaged:
        raise InputError(f"{path} is damaged: it contains the character {damaged!r}: write the log again")
    return text


def _rows(path: Path, text: str, delimiter: str, first: int = 0) -> "Iterator[Tuple[int, List[str]]]":
    """(line number from 1, stripped cells) of the lines after number `first`, without empty lines and comments."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if reader.line_num > first and any(cells) and not cells[0].startswith(("#", "//", "sep=")):
                if max(map(len, cells)) > MAX_CELL or any("\n" in cell or "\r" in cell for cell in cells):
                    raise csv.Error(
                        f"a cell over several lines or {MAX_CELL} characters ends in line {reader.line_num}"
                    )
                yield reader.line_num, cells
    except csv.Error as problem:
        raise InputError(
            f"{path} is not a CSV file ({problem}): save it as UTF-8 and close the quotes"
        ) from None


def _find_header(path: Path, text: str) -> "Tuple[str, int, Dict]":
    """The delimiter, the number of the first line and the columns: see `_find_columns`."""
    found = ""
    for delimiter in DELIMITERS:
        number, cells = next(_rows(path, text, delimiter), (0, []))
        found = found or delimiter.join(cells)
        columns = _find_columns([_normalize(cell) for cell in cells])
        if columns:
            return delimiter, number, columns
    raise InputError(f"{path}: the first line must be time,keys or frame,keys, found {found[:60]!r}")


def _normalize(cell: str) -> str:
    """A column's name in lower case: `Time (ms)` and `time[ms]` become time_ms."""
    name = re.sub(r"[\s_-]*[(\[](.*?)[)\]]$", r"_\1", cell.strip(" '\"\ufeff").lower())
    return re.sub(r"[\s-]+", "_", name)


def _find_columns(header: List[str]) -> "Optional[Dict]":
    """Indices of the columns "time" or "frame", "keys" and, in a log of events, "event"; also "unit" and "header".

    None if the line is not a header.
    """
    columns: Dict = {"header": header, "unit": None}
    for i, name in enumerate(header):
        word, _, unit = name.rpartition("_")
        if name in TIME_WORDS and "time" not in columns:
            columns["time"] = i
        elif (
            unit in UNIT_OF_WORD
            and (not word or re.sub("_in$", "", word) in TIME_WORDS)
            and "time" not in columns
        ):
            columns.update(time=i, unit=UNIT_OF_WORD[unit])
    frames = [i for i, name in enumerate(header) if name in FRAME_WORDS]
    if "time" not in columns and frames:
        columns["frame"] = frames[0]
    keys = next((header.index(word) for word in KEY_WORDS if word in header), None)
    if keys is None or not ("time" in columns or "frame" in columns):
        return None
    columns["keys"] = keys
    events = [header.index(word) for word in EVENT_WORDS if word in header and header.index(word) != keys]
    if events:
        columns["event"] = events[0]
    return columns
