"""Names and keys of a recording's actions: read from the file, and made usable where other tools wrote them."""

import numpy as np

from dream.common.errors import InputError
from dream.common.key_names import PYGAME_KEYS, is_printable_name, split_keys, to_pygame_key

# Keys of six actions if the file has none, those of the original project: none, forward, left, right, and combinations.
SIX_ACTION_KEYS = ((), ("up",), ("left",), ("right",), ("up", "left"), ("up", "right"))
MAX_UNNAMED_ACTIONS = 256
MAX_ACTION_NAME = 100  # characters
MAX_SPLIT = 1000  # characters of a text that may name several keys
MAX_LISTED = 5  # keys that a note names


def read_action_names(
    path: object, names: np.ndarray | None, max_action: int, assumptions: list[str]
) -> tuple[str, ...]:
    """The names (A,) of the actions. A name that cannot be displayed is replaced, with a line in `assumptions`.

    `names`: text (A,) as in the file, or None. `max_action`: the largest action in the recording. Raises InputError,
    which names the file `path`, if `names` is no list of text or too short.
    """
    if names is None:
        if max_action >= MAX_UNNAMED_ACTIONS:
            raise InputError(
                f"{path}: actions go up to {max_action}: number them 0, 1, 2 ..., or name them all in action_names"
            )
        assumptions.append(f"no action_names in the file: {max_action + 1} actions without names")
        return tuple(f"action_{i}" for i in range(max_action + 1))
    if names.dtype.kind not in "US" or names.ndim != 1:
        raise InputError(
            f"{path}: action_names are {names.dtype} {names.shape}, wanted a list of text: save one name per action"
        )
    if max_action >= len(names):
        raise InputError(
            f"{path}: actions go up to {max_action}, but there are {len(names)} action_names: name them all"
        )
    texts = [str(name) if names.dtype.kind == "U" else name.decode(errors="replace") for name in names]
    invalid = [i for i, text in enumerate(texts) if not _is_displayable(text)]
    if invalid:
        assumptions.append(
            f"the names of actions {_listed(map(str, invalid))} are empty, unprintable or over {MAX_ACTION_NAME} "
            "characters long: they are called by their numbers, such as action_0"
        )
    return tuple(f"action_{i}" if i in set(invalid) else text for i, text in enumerate(texts))


def read_action_keys(
    meta: dict, action_names: tuple[str, ...], assumptions: list[str]
) -> tuple[tuple[str, ...], ...]:
    """The keys (A,) that are held together for each action, by pygame's names.

    Without keys in the file, actions named after keys are on these. Names of other programs are translated. What is
    translated, what no keyboard has and what is made up because the file does not say it is appended to `assumptions`.
    """
    action_keys, num_actions = meta.get("action_keys"), len(action_names)
    if isinstance(action_keys, list) and len(action_keys) == num_actions:
        names = [_names_of_action(keys) for keys in action_keys]
        if None not in names:
            return _translate(names, assumptions)
    reason = (
        "no action_keys in the file"
        if action_keys is None
        else f"action_keys do not fit {num_actions} actions"
    )
    names = [_split(name) for name in action_names]
    if any(names) and all(to_pygame_key(name) is not None for keys in names for name in keys):
        assumptions.append(f"{reason}: each action is on the keys that it is named after")
        return _translate(names, assumptions)
    if num_actions == len(SIX_ACTION_KEYS):
        assumptions.append(
            f"{reason}: the six actions are assumed to be none, up, left, right, up+left, up+right"
        )
        return SIX_ACTION_KEYS
    assumptions.append(f"{reason}: action 0 is on key 0, action 1 on key 1 ... (from 10 on: F1, F2 ...)")
    # More actions than keys: a name that no key has. Empty keys would make it the action of no key held.
    return tuple(
        (str(i) if i < 10 else f"f{i - 9}" if i < 22 else f"no key {i}",) for i in range(num_actions)
    )


def _names_of_action(keys: object) -> list[str] | None:
    """The names in one entry of action_keys, a list of names or a text such as "up+left"; None if it is neither."""
    if isinstance(keys, str):
        return _split(keys)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        return None
    return [name for key in keys for name in _split(key)]


def _split(text: str) -> list[str]:
    """The names of the keys in `text`; a text that does not consist of keys stays whole."""
    if to_pygame_key(text) is not None or len(text) > MAX_SPLIT or not text.isprintable():
        return [text]
    try:
        names = split_keys(text)
    except ValueError:
        return [text]
    return names if all(to_pygame_key(name) is not None for name in names) else [text]


def _translate(action_names: list[list[str]], assumptions: list[str]) -> tuple[tuple[str, ...], ...]:
    foreign = any(name not in PYGAME_KEYS and len(name) > 1 for names in action_names for name in names)
    translated: dict[str, str] = {}
    unknown: dict[str, None] = {}
    result = []
    for i, names in enumerate(action_names):
        keys = []
        for name in names:
            key = to_pygame_key(name, foreign)
            if key is None:
                key = name if is_printable_name(name) else f"no key {i}"
                unknown[key] = None
            elif key != name:
                translated[name if name.isprintable() else ascii(name)] = key
            keys.append(key)
        result.append(tuple(dict.fromkeys(keys)))
    if translated:
        assumptions.append(f"keys: {_listed(f'{name[:24]} is {key!r}' for name, key in translated.items())}")
    if unknown:
        names = _listed(repr(key[:24]) for key in unknown)
        assumptions.append(
            f"no keyboard has the keys {names}: in play, their actions are chosen by name in a list (--keys)"
        )
    return tuple(result)


def _is_displayable(text: str) -> bool:
    return 0 < len(text) <= MAX_ACTION_NAME and text.isprintable() and not text.isspace()


def _listed(texts) -> str:
    texts = list(texts)
    more = len(texts) - MAX_LISTED
    return ", ".join(texts[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
