"""Names and keys of the actions of a Gymnasium environment."""

import re
from typing import List, Optional, Sequence, Tuple

import gymnasium

from player.common.errors import InputError
from player.common.key_names import is_printable_name
from player.games.game import Action, read_actions

KEYS = "0123456789abcdefghijklmno"  # keys of unnamed actions; the window itself uses p, q, r and t
# Environments, by the beginning of their names, whose actions have names: name and keys of each, in their order.
NAMED_ACTIONS = {
    "CarRacing-": (("nothing",), ("right", "right"), ("left", "left"), ("gas", "up"), ("brake", "down")),
    "LunarLander-": (("nothing",), ("left-engine", "left"), ("main-engine", "up"), ("right-engine", "right")),
    "MiniGrid-": (("left", "left"), ("right", "right"), ("forward", "up"), ("pick-up", "1"), ("drop", "2"),
                  ("toggle", "space"), ("done", "return")),
}  # fmt: skip
ALE_KEYS = {"UP": "up", "DOWN": "down", "LEFT": "left", "RIGHT": "right", "FIRE": "space"}


def is_ale(env: gymnasium.Env) -> bool:
    """Whether an environment is of the Arcade Learning Environment, with or without wrappers."""
    return type(env.unwrapped).__module__.split(".")[0] == "ale_py"


def choose_actions(
    name: str, numbers: List[str], file: Optional[str], named: Sequence[Tuple[str, ...]] = ()
) -> Tuple[Action, ...]:
    """The actions of `file`, or one per number of the environment's actions, with their names and keys if these are
    known: `named`, or NAMED_ACTIONS. Raises InputError if that fails."""
    if file is not None:
        chosen = read_actions(file, numbers)
        for action in chosen:
            if len(action.buttons) != 1:
                raise InputError(
                    f"{file}: {action.name} must have one button, the number of an action of {name}"
                )
        return chosen
    named = named or next((NAMED_ACTIONS[one] for one in NAMED_ACTIONS if name.startswith(one)), ())
    if len(named) == len(numbers):
        return tuple(
            Action(action_name, (number,), tuple(keys))
            for number, (action_name, *keys) in zip(numbers, named)
        )
    if len(numbers) > len(KEYS):
        raise InputError(f"{name} has {len(numbers)} actions: choose some of them with --actions FILE")
    return tuple(Action(number, (number,), (key,)) for number, key in zip(numbers, KEYS))


def ale_actions(env: gymnasium.Env) -> List[Tuple[str, ...]]:
    """Name and keys of each action of an Atari environment (ALE), such as ("fire+left", "space", "left"); [] for others
    or if a wrapper has changed their number."""
    try:
        meanings = list(env.unwrapped.get_action_meanings()) if is_ale(env) else []
    except Exception:
        meanings = []
    if len(meanings) != env.action_space.n:
        return []
    parts = [re.findall("|".join(ALE_KEYS), meaning) for meaning in meanings]
    return [("+".join(each).lower() or "nothing", *(ALE_KEYS[part] for part in each)) for each in parts]


def declared_actions(env: gymnasium.Env) -> List[Tuple[str, ...]]:
    """Name and keys of each action of an environment that declares them in its attributes `action_names` and
    `action_keys`, as the world model does; [] for others."""
    names, keys = (getattr(env.unwrapped, name, None) for name in ("action_names", "action_keys"))
    try:
        actions = [(name, *own_keys) for name, own_keys in zip(names, keys)]
    except TypeError:
        return []
    words = [word for action in actions for word in action]
    is_valid = all(isinstance(word, str) and is_printable_name(word) for word in words)
    is_complete = len(actions) == len(names) == len(set(names)) == len(keys) == env.action_space.n
    return actions if is_valid and is_complete else []
