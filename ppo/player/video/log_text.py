"""Reads the text of a log of keys, and its lines as cells: CSV with several delimiters, JSON lines, a list in JSON."""

import csv
import io
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from player.common.errors import InputError

MAX_BYTES = 64 * 2**20  # of a log: 100 hours of a change of keys every 0.1 s
MAX_CELL = 1000  # characters
MAX_DEPTH = 4  # of objects in objects

Row = Tuple[int, List[str]]  # the number of the line in the file, from 1, and its cells


def decode(path: Path, notes: List[str]) -> str:
    """The text of the log; its last line is left out if zeros, which a crash leaves, cut it off.

    Raises InputError if there is no such file, or if it is too large, damaged or no text.
    """
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
    for name, zeros, characters in (
        ("utf-16-le", data[1:16:2], data[:16:2]),
        ("utf-16-be", data[:16:2], data[1:16:2]),
    ):
        if len(data) >= 16 and not any(zeros) and all(characters):  # without a byte order mark
            encoding = name
    try:
        text = data.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as problem:
        raise InputError(f"{path} is not a CSV file ({problem.reason}): save it as UTF-8") from None
    text, length = text.rstrip("\0\x1a"), len(text)  # character 26 ends texts of DOS
    is_list = text.lstrip().startswith("[")  # of JSON, which ends with a bracket and without a line break
    if length > len(text) and not text.endswith(("\n", "\r")):
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
        notes.append(f"{path.name} was cut off in its last line, which is left out")
    elif text and not text.endswith(("\n", "\r")) and not is_list:
        notes.append(f"{path.name} ends without a line break: its last line may be cut off")
    damaged = next((char for char in text if not char.isprintable() and char not in "\t\r\n\u2028\xa0"), None)
    if damaged:
        raise InputError(f"{path} is damaged: it contains the character {damaged!r}: write the log again")
    return text


def csv_rows(path: Path, text: str, delimiter: str, first: int = 0) -> Iterator[Row]:
    """The lines after number `first` with stripped cells, without empty lines and comments."""
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


def is_json(text: str) -> bool:
    """Whether a text consists of objects of JSON, one a line or in one list."""
    return text.lstrip().startswith(("{", "[{", "[\n", "[\r", "[ "))


def json_rows(path: Path, text: str, key_names: Tuple[str, ...]) -> Tuple[List[str], List[Row]]:
    """The names of all fields and the objects as rows of cells; a missing field and null are empty cells.

    Fields of objects inside objects count as fields, except those of a field in `key_names`, such as {"w": true}.
    In a list, the number of a line is that of the object. Raises InputError if the text is not JSON.
    """
    objects: List[Tuple[int, Any]] = []
    if text.lstrip().startswith("["):
        objects = list(enumerate(_parse(path, text, 1), 1))
    else:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip().rstrip(","):
                objects.append((number, _parse(path, line.strip().rstrip(","), number)))
    names: Dict[str, int] = {}
    rows: List[Row] = []
    for number, value in objects:
        if not isinstance(value, dict):
            raise InputError(
                f'{path}, line {number}: write one object a line, such as {{"time": 1.25, "keys": ["up"]}}'
            )
        fields = _flatten(value, key_names, 1)
        cells = [""] * len(names)
        for name, cell in fields.items():
            if len(cell) > MAX_CELL and name.rpartition(".")[2].lower() in key_names:
                raise InputError(f"{path}, line {number}: {name[:40]} has more than {MAX_CELL} characters")
            if names.setdefault(name, len(names)) == len(cells):
                cells.append("")
            cells[names[name]] = cell
        rows.append((number, cells))
    # A nested field is known by its own name, unless another field has it too.
    short = [name.rpartition(".")[2] for name in names]
    header = [own if short.count(own) == 1 else name for name, own in zip(names, short)]
    return header, [(number, cells + [""] * (len(names) - len(cells))) for number, cells in rows]


def _parse(path: Path, text: str, number: int) -> Any:
    """The value of a JSON text, with numbers as written."""
    try:
        return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except ValueError as problem:
        raise InputError(
            f'{path}, line {number}: no JSON ({str(problem)[:60]}): write one object a line, such as {{"time": 1.25, '
            '"keys": ["up"]}'
        ) from None


def _flatten(value: Dict[str, Any], key_names: Tuple[str, ...], depth: int) -> Dict[str, str]:
    fields: Dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, dict) and item and name.lower() not in key_names and depth < MAX_DEPTH:
            nested = _flatten(item, key_names, depth + 1)
            fields.update((f"{name}.{inner}", cell) for inner, cell in nested.items())
        else:
            fields[name] = _cell(item)
    return fields


def _cell(item: Any) -> str:
    """A value as in a CSV file. A browser calls the space bar " "."""
    if isinstance(item, str):
        return item.strip() or ("space" if item == " " else "")
    if isinstance(item, bool):
        return str(item).lower()
    return "" if item is None else repr(item)
