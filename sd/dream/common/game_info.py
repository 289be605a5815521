"""The part of a game's description that playing needs; it is stored in the model's checkpoint and in an export."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GameInfo:
    """Actions, keys and speed of the recorded game."""

    action_names: tuple[str, ...]  # (A,)
    action_keys: tuple[tuple[str, ...], ...]  # (A,), names of the keys that are held together
    fps: float  # frames per second in play

    @classmethod
    def from_dict(cls, saved: dict) -> "GameInfo":
        """From the result of `asdict` after a file round trip. Raises KeyError, TypeError or ValueError if invalid."""
        for names in (saved["action_names"], saved["action_keys"], *saved["action_keys"]):
            if not isinstance(names, (list, tuple)):  # the letters of a string would become names
                raise TypeError(f"action names or keys are {type(names).__name__}, wanted lists")
        keys = tuple(tuple(keys) for keys in saved["action_keys"])
        game = cls(tuple(saved["action_names"]), keys, float(saved["fps"]))
        if len(game.action_names) != len(game.action_keys) or not 0 < game.fps < math.inf:
            raise ValueError(
                f"{len(game.action_names)} action names for {len(keys)} actions, {game.fps} frames per second"
            )
        names = [*game.action_names, *(key for keys in game.action_keys for key in keys)]
        if not "".join(names).isprintable():
            raise ValueError("action or key names that are not printable")
        return game
