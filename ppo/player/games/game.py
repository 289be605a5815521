"""What a game is: a short description and how to make it. One file a family: mode7_kart.py, retro.py, registered.py.

A game's environment is a Gymnasium environment whose observation is the cropped RGB frame, uint8 (H, W, 3), whose
action is an index into `actions`, and whose step runs `frame_skip` frames of the game and adds up their rewards.
Two things are optional: `info["truth"]`, float32 (len(truth_names),), the game's true state at the frame that is
returned; and `get_state() -> bytes`, `set_state(bytes)`, by which a stopped training goes on where it was.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import gymnasium

from player.common.errors import InputError


@dataclass(frozen=True)
class Action:
    """One choice of the agent: the console's buttons held down for it, and the keys that stand for it."""

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
    """A game as the rest of the project sees it."""

    name: str
    actions: Tuple[Action, ...]
    frame_rate: int  # frames a second of the game itself, before frame skip
    make: Callable[..., gymnasium.Env]  # make(frame_skip=4); picklable, so that worker processes can call it
    truth_names: Tuple[str, ...] = ()
    shares_process: bool = (
        False  # may several of its environments live in one process? An emulator's may not.
    )
    has_buttons: bool = True  # does `make` know `buttons_as_actions`, for a person to hold each by itself?

    def recording_meta(self, frame_skip: int, courses: list, drivers: List[str], seed: int) -> Dict[str, Any]:
        """What a recording says of itself. courses: of `find_tracks`; drivers: who drives, a game each."""
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
    """From a file, a choice a line: its name, the console's buttons and the keys for it, `jump+right  B+RIGHT
    space+right`; `none` where there are none. `#` begins a comment. Raises InputError with the line that is wrong."""
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
            raise InputError(f"{path}, line {number}: wanted NAME BUTTONS KEYS, such as: right RIGHT right")
        name, held, keys = words[0], *(() if word == "none" else tuple(word.split("+")) for word in words[1:])
        for button in held:
            if button not in buttons:
                known = ", ".join(one for one in buttons if one)
                raise InputError(f"{path}, line {number}: no button {button}; there are {known}")
        if name in (action.name for action in actions):
            raise InputError(f"{path}, line {number}: a second {name}")
        actions.append(Action(name, held, keys))
    if len(actions) < 2:
        raise InputError(
            f"{path} has {len(actions)} actions: there must be something to choose, at least two"
        )
    return tuple(actions)
