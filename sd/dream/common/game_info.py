"""What a window must know of the game that was dreamed: it travels in the model's file, and in what is exported."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GameInfo:
    action_names: tuple[str, ...]
    action_keys: tuple[tuple[str, ...], ...]
    fps: float  # frames a second at which the dream is played

    @classmethod
    def from_dict(cls, saved: dict) -> "GameInfo":
        """From `asdict`, by way of a file. Raises KeyError, TypeError or ValueError where it is not one."""
        keys = tuple(tuple(keys) for keys in saved["action_keys"])
        game = cls(tuple(saved["action_names"]), keys, float(saved["fps"]))
        if len(game.action_names) != len(game.action_keys) or not 0 < game.fps < math.inf:
            raise ValueError(
                f"{len(game.action_names)} names of {len(keys)} actions, {game.fps} frames a second"
            )
        names = [*game.action_names, *(key for keys in game.action_keys for key in keys)]
        if not "".join(names).isprintable():
            raise ValueError("names of actions or keys that cannot be shown")
        return game
