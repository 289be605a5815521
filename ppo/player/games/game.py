"""Game: the interface between a game and the rest of the project. mode7, retro and gymnasium_game each create one.

A game's environment is a Gymnasium environment. Its observation is the cropped RGB frame, uint8 (H, W, 3), or the
pixel-wise maximum of the last `max_frames` frames (see flicker.py); its action is an index into `Game.actions`; one
step runs `frame_skip` frames of the game and returns the sum of their rewards.

Two things are optional: `info["truth"]`, float32 (len(truth_names),), the game state at the returned frame; and
`get_state() -> bytes` with `set_state(bytes)`, by which an interrupted training run resumes exactly.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import gymnasium

from player.common.errors import InputError

BUILT_IN_GAME = "Mode7Kart-v0"
MAX_WORD = 60  # letters of an action's name, buttons or keys in a file


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
    frame_rate: float  # frames per second of the game itself, before frame skip
    make: Callable[..., gymnasium.Env]  # make(frame_skip=4, ...); picklable, for worker processes
    truth_names: Tuple[str, ...] = ()  # names of the values in info["truth"]
    shares_process: bool = False  # whether one process may hold several environments; emulators cannot
    has_buttons: bool = (
        True  # whether `make` accepts buttons_as_actions, for keyboard control of single buttons
    )
    frame_skip: int = 4  # frames per decision: the user's choice, or the game's default
    max_frames: int = 1  # each frame is the maximum of so many; `make` already has it
    settings: Dict[str, Any] = field(default_factory=dict)  # the user's keyword arguments of the environment
    # How to make and step the same Gymnasium environment elsewhere: settings, actions (its number for each one),
    # frame_skip, max_frames, crop; None for emulator games.
    environment: Optional[Dict[str, Any]] = None
    notes: Tuple[str, ...] = ()  # what was assumed or chosen; one line each, for the user

    def describe(self) -> str:
        """Lines that tell the user how the game will be recorded."""
        rate = self.frame_rate / self.frame_skip
        timing = (
            f"{self.frame_rate:g} frames per second, frame skip {self.frame_skip}: {rate:g} steps per second"
        )
        return "\n".join((timing, *self.notes))

    def recording_meta(self, courses: list, drivers: List[str], seed: int) -> Dict[str, Any]:
        """Metadata of a recording. `courses`: from `find_tracks`; `drivers`: behavior policy of each environment."""
        meta = {
            "game": self.name,
            "fps": self.frame_rate / self.frame_skip,
            "frame_skip": self.frame_skip,
            "action_keys": [list(action.keys) for action in self.actions],
            "courses": courses,
            "record_envs": len(drivers),
            "drivers": drivers,
            "seed": seed,
        }
        if self.max_frames > 1:
            meta["max_frames"] = self.max_frames
        if self.settings:
            meta["game_settings"] = self.settings
        if self.environment is not None:
            meta["environment"] = self.environment
        return meta


def compare_with_agent(game: Game, config: Any) -> List[str]:
    """Lines that say in which settings a game differs from those of an agent's training. `config`: an AgentConfig."""
    lines = []
    if config.frame_skip != game.frame_skip:
        lines.append(
            f"assumed: an agent trained with a step of {config.frame_skip} frames works with {game.frame_skip}"
        )
    if config.max_frames != game.max_frames:
        lines.append(
            f"assumed: an agent trained with --max-frames {config.max_frames} works with {game.max_frames}"
        )
    if config.game_settings != game.settings:
        lines.append(
            f"assumed: an agent trained with the settings {config.game_settings} works with {game.settings}"
        )
    return lines


def read_actions(path: str, buttons: List[Optional[str]]) -> Tuple[Action, ...]:
    """Reads a file of actions, one per line: name, console buttons and keys, such as `jump+right B+RIGHT space+right`.

    `none` stands for no buttons or no keys; `#` starts a comment. `buttons`: names of the console's buttons. Raises
    InputError, with the line number, if the file cannot be read or a line is wrong.
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
        name, held, keys = words[0], *(() if word == "none" else tuple(word.split("+")) for word in words[1:])
        if not "".join(words).isprintable() or max(map(len, words)) > MAX_WORD:
            raise InputError(
                f"{path}, line {number}: a word is not printable, or longer than {MAX_WORD} letters"
            )
        for button in held:
            if button not in buttons:
                available = ", ".join(one for one in buttons if one)[:200]
                raise InputError(f"{path}, line {number}: no button {button}; the buttons are {available}")
        if name in (action.name for action in actions):
            raise InputError(f"{path}, line {number}: the name {name} is used twice")
        actions.append(Action(name, held, keys))
    if len(actions) < 2:
        raise InputError(f"{path} defines {len(actions)} actions: at least two are needed")
    return tuple(actions)
