"""The game itself beside its dream: any Gymnasium environment with frames and as many actions, imported when asked for.

This side knows no game; the user names one, and where its code lies.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from dream.errors import BadInput


class Real:
    """`frame_u8`: uint8 (H, W, 3), what the game shows now. `in_step`: it stands where the dream does."""

    def __init__(
        self, game: str, num_actions: int, path: str | None = None, settings: Sequence[str] = ()
    ) -> None:
        """`game`: a Gymnasium id, such as package:Env-v0. `path`: a folder to import it from. `settings`: of the
        environment, NAME=VALUE with a JSON value. Raises BadInput where it cannot be played beside this dream."""
        if path:
            sys.path.append(str(path))
        try:
            import gymnasium

            self.env = gymnasium.make(game, render_mode="rgb_array", **dict(map(setting, settings)))
        except ImportError as problem:
            raise BadInput(
                f"--real {game}: {problem}: install it, or name its folder with --real-path"
            ) from None
        except Exception as problem:  # of the game's own; gymnasium's alone are of many types
            raise BadInput(f"--real {game} cannot be made ({problem})") from None
        space = self.env.action_space
        if getattr(space, "n", None) != num_actions or hasattr(space, "nvec"):
            raise BadInput(f"--real {game} takes {space}, the dream knows {num_actions} actions")
        self.name, self.in_step = game, True
        self.reset(None)

    def reset(self, truth: dict[str, float] | None) -> None:
        """To the true state of the place where the dream begins, or where nobody knows it to the game's own start."""
        self.in_step = truth is not None
        self.show(self.env.reset(seed=0, options={"state": truth} if truth else None)[0])

    def step(self, action: int) -> None:
        seen, _, terminated, truncated, _ = self.env.step(action)
        self.show(seen)
        if terminated or truncated:
            self.in_step = False
            self.show(self.env.reset()[0])

    def show(self, seen: Any) -> None:
        """Where the game's observation is no picture, it is asked to draw one."""
        if not (
            isinstance(seen, np.ndarray) and seen.dtype == np.uint8 and seen.ndim == 3 and seen.shape[2] == 3
        ):
            seen = self.env.render()
        self.frame_u8 = np.array(seen)

    def get_state(self) -> Any:
        save = getattr(self.env.unwrapped, "get_state", None)
        return save and (save(), self.frame_u8, self.in_step)

    def set_state(self, state: Any) -> None:
        """Back to what get_state gave; a game that cannot go back is out of step from now on."""
        if state is None:
            self.in_step = False
            return
        saved, self.frame_u8, self.in_step = state
        self.env.unwrapped.set_state(saved)

    def close(self) -> None:
        self.env.close()


def setting(words: str) -> tuple[str, Any]:
    name, equals, value = words.partition("=")
    if not name.isidentifier() or not equals:
        raise BadInput(f"--real-settings {words!r}: wanted NAME=VALUE, such as track=1")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
