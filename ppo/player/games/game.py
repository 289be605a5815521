"""Game: the interface between a game and the rest of the project. mode7, retro and gymnasium_env each create one.

A game's environment is a Gymnasium environment. Its observation is the cropped RGB frame, uint8 (H, W, 3); its action
is an index into `Game.actions`; one step runs `frame_skip` frames of the game and returns the sum of their rewards.

Two things are optional: `info["truth"]`, float32 (len(truth_names),), the game state at the returned frame; and
`get_state() -> bytes` with `set_state(bytes)`, by which an interrupted training run resumes exactly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import gymnasium

from player.common.errors import InputError
from player.common.key_names import is_printable_name, split_keys, to_pygame_key

BUILT_IN_GAME = "Mode7Kart-v0"


@dataclass(frozen=True)
class Action:
    """One of the agent's discrete actions: the console buttons it holds down, and the keys that select it."""

    name: str
    buttons: Tuple[str, ...] = ()
    keys: Tuple[str, ...] = ()  # pygame key names, held together


DRIVING_ACTIONS = (
    Action("nothing"),
    Action("forward", ("B",), ("up",)),
    Action("left", ("LEFT",), ("left",)),
    Action("right", ("RIGHT",), ("right",)),
    Action("forward+left", ("B", "LEFT"), ("up", "left")),
    Action("forward+right", ("B", "RIGHT"), ("up", "right")),
)


@dataclass(frozen=True)
class Game:
    """A game: its name, its actions and a function that makes its environment."""

    name: str
    actions: Tuple[Action, ...]
    frame_rate: int  # frames per second of the game itself, before frame skip
    make: Callable[..., gymnasium.Env]  # make(frame_skip=4, ...); picklable, for worker processes
    truth_names: Tuple[str, ...] = ()  # names of the values in info["truth"]
    shares_process: bool = False  # whether one process may hold several environments; emulators cannot
    has_buttons: bool = (
        True  # whether `make` accepts buttons_as_actions, for keyboard control of single buttons
    )

    def recording_meta(self, frame_skip: int, courses: list, drivers: List[str], seed: int) -> Dict[str, Any]:
        """Metadata of a recording. `courses`: from `find_tracks`; `drivers`: behavior policy of each environment."""
        return {
            "game": self.name,
            "fps": self.frame_rate / frame_skip,
            "frame_skip": frame_skip,
            "action_keys": [list(action.keys) for action in self.actions],
            "courses": courses,
            "record_envs": len(drivers),
            "drivers": drivers,
            "seed": seed,
        }


def read_actions(path: str, buttons: List[Optional[str]]) -> Tuple[Action, ...]:
    """Reads a file of actions, one per line: name, console buttons and keys, such as `jump+right B+RIGHT space+right`.

    `none` stands for no buttons or no keys; `#` starts a comment. `buttons`: names of the console's buttons. Keys may
    be named as other programs name them (key_names.py). Raises InputError, with the line number, if the file cannot be
    read, if a line is wrong, or if no keyboard has a key.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"--actions {path} cannot be read: {problem}") from None
    actions = []
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 3:
            raise InputError(f"{path}, line {number}: expected NAME BUTTONS KEYS, such as: right RIGHT right")
        name, held = words[0], () if words[1] == "none" else tuple(words[1].split("+"))
        keys = _read_keys(words[2], f"{path}, line {number}")
        if not is_printable_name(name):
            raise InputError(
                f"{path}, line {number}: {name[:40]!r} is no name: write 1 to 40 printable characters"
            )
        for button in held:
            if button not in buttons:
                available = ", ".join(one for one in buttons if one)
                raise InputError(
                    f"{path}, line {number}: no button {ascii(button[:40])[1:-1]}; the buttons are {available}"
                )
        if name in (action.name for action in actions):
            raise InputError(f"{path}, line {number}: the name {name} is used twice")
        actions.append(Action(name, held, keys))
    if len(actions) < 2:
        raise InputError(f"{path} defines {len(actions)} actions: at least two are needed")
    return tuple(actions)


def _read_keys(text: str, where: str) -> Tuple[str, ...]:
    """pygame's names of the keys in `text`, such as "space+right". Raises InputError if no keyboard has one of them."""
    try:
        names = split_keys(text)
    except ValueError:
        names = [text]
    keys = [to_pygame_key(name) for name in names]
    if None in keys:
        unknown = names[keys.index(None)]
        raise InputError(
            f"{where}: no keyboard has the key {unknown[:40]!r}: write names such as up, space or left_shift"
        )
    return tuple(key for key in keys if key)
