"""Reads the cells of a log that name keys: cleans what loggers write around the names, and translates them to pygame's.

What looks like an event, a truth value or a number is no key: it would become an action that means something else.
"""

import re
from pathlib import Path
from typing import Dict, FrozenSet, List

from player.common.errors import InputError
from player.common.key_names import MAX_NAME, is_printable_name, split_keys, to_pygame_key
from player.video.log_columns import is_number, parse_event

MAX_LISTED = 5  # keys that a note names
# Texts for no key in the logs of whole programs; "-" alone is a key too and is refused.
NO_KEY_CELLS = frozenset(
    ["none", "empty", "false", "neutral", "release", "idle", "noop", "no_op", "n/a", "off", "nokey", "no key"]
)

_COMMENT = re.compile(r"(?<=\S)\s+(?:#|//)\s.*")
_FROM_CHAR = re.compile(r"""KeyCode(?:\.from_char)?\((?:char=)?(['"]?)(.)\1\)""")

Keys = FrozenSet[str]


def clean_cell(cell: str) -> str:
    """A cell without comments (`up # go`), with "and" as "+", pynput's `KeyCode.from_char('a')` as 'a'.

    Empty for texts that mean no key, such as `--`, `<none>`, `False` and `neutral`.
    """
    cell = _COMMENT.sub("", cell)
    cell = re.sub(r"(?<=\S)\s+and\s+(?=\S)", "+", cell, flags=re.IGNORECASE)
    cell = _FROM_CHAR.sub(lambda match: repr(match.group(2)), cell)
    bare = cell.strip("<>()[]{}'\" ").lower()
    return "" if re.fullmatch(r"[-\u2013\u2014_.]{2,}|[\u2013\u2014]", cell) or bare in NO_KEY_CELLS else cell


class KeyNames:
    """Translates the cells of one log; each different cell once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: Dict[str, Keys] = {}
        self.translated: Dict[str, str] = {}  # as written -> pygame's name
        self.unknown: Dict[str, None] = {}  # in order

    def read(self, cell: str, line: int, is_event: bool) -> Keys:
        """The keys in `cell`. Raises InputError if a name is ambiguous, cannot be displayed, or is no name of a key."""
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
            if is_number(key) or parse_event(key) is not None or not re.search(r"\w", key):
                raise InputError(
                    f"{self.path}, line {line}: {name[:40]!r} is no name of a key: write names such as up, left, space "
                    "or a, and nothing for no key"
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
