"""The part of a game's description that playing needs; it is stored in the model's checkpoint and in an export."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dream.common.errors import InputError
from dream.common.limits import MAX_FPS, MAX_FRAME_SKIP, MIN_FPS

OWN_GAME = "Mode7Kart-v0"  # its code is not here, but in the folder ppo
MAX_ENVIRONMENT = 10_000  # characters of its JSON text


@dataclass(frozen=True)
class GameInfo:
    """Actions, keys and speed of the recorded game."""

    action_names: tuple[str, ...]  # (A,)
    action_keys: tuple[tuple[str, ...], ...]  # (A,), names of the keys that are held together
    fps: float  # frames per second in play
    # How a Gymnasium environment was recorded: game, settings, actions, frame_skip, max_frames, crop, frame_size;
    # {} if unknown.
    environment: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, saved: dict) -> "GameInfo":
        """From the result of `asdict` after a file round trip. Raises KeyError, TypeError or ValueError if invalid."""
        for names in (saved["action_names"], saved["action_keys"], *saved["action_keys"]):
            if not isinstance(names, (list, tuple)):  # the letters of a string would become names
                raise TypeError(f"action names or keys are {type(names).__name__}, wanted lists")
        keys = tuple(tuple(keys) for keys in saved["action_keys"])
        game = cls(tuple(saved["action_names"]), keys, float(saved["fps"]), read_environment(saved))
        if len(game.action_names) != len(game.action_keys) or not MIN_FPS <= game.fps <= MAX_FPS:
            raise ValueError(
                f"{len(game.action_names)} action names for {len(keys)} actions, {game.fps} frames per second"
            )
        names = [*game.action_names, *(key for keys in game.action_keys for key in keys)]
        if not "".join(names).isprintable():
            raise ValueError("action or key names that are not printable")
        return game


def read_environment(saved: dict) -> dict[str, Any]:
    """The environment in a recording's meta (which also has the game's name) or in a saved GameInfo; {} if there is
    none, or if it is not what it should be: only the game next to the model needs it."""
    environment = saved.get("environment")
    if not isinstance(environment, dict):
        return {}
    environment = {"game": saved.get("game"), **environment}
    counts = (environment.get("frame_skip"), environment.get("max_frames"))
    actions, crop = environment.get("actions"), environment.get("crop")
    size = environment.get("frame_size")
    valid = (
        isinstance(environment["game"], str)
        and isinstance(environment.get("settings"), dict)
        and all(type(count) is int and 1 <= count <= MAX_FRAME_SKIP for count in counts)
        and isinstance(actions, list)
        and all(type(action) is int for action in actions)
        and (
            size is None
            or (isinstance(size, list) and [type(n) for n in size] == [int, int] and min(size) > 0)
        )
        and (
            crop is None or (isinstance(crop, list) and len(crop) == 4 and all(type(n) is int for n in crop))
        )
    )
    names = ("game", "settings", "actions", "frame_skip", "max_frames", "crop", "frame_size")
    environment = {name: environment.get(name) for name in names}
    try:
        return environment if valid and len(json.dumps(environment)) <= MAX_ENVIRONMENT else {}
    except (TypeError, ValueError, RecursionError):
        return {}


def check_agent_actions(path: object, names: Sequence[str], action_names: Sequence[str]) -> None:
    """Raises InputError unless the agent at `path`, whose actions are `names`, has those of the world model."""
    if tuple(names) != tuple(action_names):
        raise InputError(
            f"{path} does not fit: it has the actions {', '.join(names)}; the world model has those of another game, "
            f"{', '.join(action_names)}: choose an agent that train_ppo.py has trained on that game"
        )
