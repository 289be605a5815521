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

from player.common.errors import InputError, shorten
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
    frame_rate: float  # frames per second of the game itself, before frame skip
    make: Callable[..., gymnasium.Env]  # make(frame_skip=4, ...); picklable, for worker processes
    truth_names: Tuple[str, ...] = ()  # names of the values in info["truth"]
    # make_batch(num_envs=8): all environments as one vector environment; None if there is none
    make_batch: Optional[Callable[..., gymnasium.vector.VectorEnv]] = None
    has_rewards: bool = True  # False: its environment says that all its rewards are 0
    starts_threads: bool = False  # whether its environment starts native threads: then a fork may never end
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
    # Observation and action space of what `make` makes; None: it must be made to know them.
    spaces: Optional[Tuple[gymnasium.Space, gymnasium.Space]] = None
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


def check_agent(path: Any, config: Any, game: Game, remedy: str) -> None:
    """Raises InputError, which ends with the `remedy`, if an agent knows other actions than the game has. `path`: its
    file. `config`: its AgentConfig."""
    names = tuple(action.name for action in game.actions)
    if config.action_names != names:
        raise InputError(
            f"{path} does not fit {game.name}: it was trained on {config.game} and knows the actions "
            f"{shorten(', '.join(config.action_names), 60)}; {game.name} has {shorten(', '.join(names), 60)}: {remedy}"
        )


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
                available = ", ".join(one for one in buttons if one)[:200]
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
