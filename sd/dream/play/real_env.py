"""The real game next to the world model: any Gymnasium environment with frames and the same number of actions.

No game is imported by this package itself; the user names one, and the folder of its code.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dream.common.errors import InputError


class RealEnv:
    """`frame_u8`: the game's current frame, uint8 (H, W, 3). `in_sync`: whether the game was set to the same start
    state as the world model, which needs a recorded game state and a game that supports
    `reset(options={"state": game_state})`. `error`: what stopped the game, or an empty string."""

    def __init__(
        self, game: str, num_actions: int, path: str | None = None, settings: Sequence[str] = ()
    ) -> None:
        """`game`: a Gymnasium id, such as package:Env-v0. `path`: a folder to import it from. `settings`: keyword
        arguments of the environment, each NAME=VALUE with a JSON value. Raises InputError if the game cannot be
        made or does not have `num_actions` actions."""
        kwargs = dict(map(parse_setting, settings))
        if path and not Path(path).is_dir():
            raise InputError(f"--real-path {path} is not a folder")
        if path:
            sys.path.append(str(path))
        try:
            import gymnasium

            self.env = gymnasium.make(game, render_mode="rgb_array", **kwargs)
            self.frame_u8 = self._frame(self.env.reset(seed=0)[0])
        except ImportError as problem:
            raise InputError(f"--real {game}: {import_problem(problem, game)}") from None
        except Exception as problem:  # raised by the game; gymnasium alone raises many types
            raise InputError(f"--real {game} cannot be played ({first_line(problem)})") from None
        space = self.env.action_space
        if getattr(space, "n", None) != num_actions or hasattr(space, "nvec"):
            raise InputError(f"--real {game} takes {space}, but the world model has {num_actions} actions")
        self.accepts_state, self.in_sync, self.error = False, False, ""

    @property
    def label(self) -> str:
        """Name of the frame in the window: "game", with the reason if it is stopped or not in sync."""
        if self.error:
            return f"game (stopped: {self.error})"
        return "game" if self.in_sync else "game (not in sync)"

    def detect_state_support(self, game_states: Iterable[dict[str, float] | None]) -> None:
        """Sets `accepts_state`: whether a reset to any of these game states shows another frame than a plain reset."""
        for game_state in filter(None, game_states):
            try:
                frame_u8 = self._frame(self.env.reset(seed=0, options={"state": game_state})[0])
            except Exception:  # the state of another game, for example
                return
            if not np.array_equal(frame_u8, self.frame_u8):
                self.accepts_state = True
                return

    def reset(self, game_state: dict[str, float] | None) -> None:
        """Resets the game to this state, or to its own start if that is not possible."""
        self.in_sync, self.error = game_state is not None and self.accepts_state, ""
        options = {"state": game_state} if self.in_sync else None
        self._guarded(lambda: self.env.reset(seed=0, options=options)[0])

    def step(self, action: int) -> None:
        """Advances the game by an action; resets it, out of sync, at the end of an episode."""
        self._guarded(lambda: self._step(action))

    def _step(self, action: int) -> Any:
        observation, _, terminated, truncated, _ = self.env.step(action)
        if terminated or truncated:
            self.in_sync, observation = False, self.env.reset()[0]
        return observation

    def _guarded(self, get_observation: Callable[[], Any]) -> None:
        """Updates the frame. An exception raised by the game stops it until the next reset; the session goes on."""
        if not self.error:
            try:
                self.frame_u8 = self._frame(get_observation())
            except Exception as problem:
                self.in_sync, self.error = False, first_line(problem)

    def _frame(self, observation: Any) -> np.ndarray:
        """Returns the observation if it is a frame, otherwise the rendered frame, uint8 (H, W, 3). Raises ValueError
        if there is neither."""
        for candidate in (observation, None):
            frame = self.env.render() if candidate is None else candidate
            if (
                isinstance(frame, np.ndarray)
                and frame.dtype == np.uint8
                and frame.shape[2:] == (3,)
                and frame.size
            ):
                return frame.copy()
        raise ValueError("it renders no frames, uint8 (H, W, 3)")

    def get_state(self) -> Any:
        """Returns a state for `set_state`; a false value if the game cannot save its state or has stopped."""
        save = getattr(self.env.unwrapped, "get_state", None)
        return save and not self.error and (save(), self.frame_u8, self.in_sync)

    def set_state(self, state: Any) -> None:
        """Restores a state of `get_state`. Without a saved state, the game is out of sync from then on."""
        if not state:
            self.in_sync = False
            return
        saved, self.frame_u8, self.in_sync = state
        self.error = ""
        self.env.unwrapped.set_state(saved)

    def close(self) -> None:
        self.env.close()


def import_problem(problem: ImportError, game: str) -> str:
    """What is missing, and what to do about it. gymnasium raises its own ImportError for the package of a game."""
    cause = problem.__cause__ if isinstance(problem.__cause__, ImportError) else problem
    name = (cause.name or "").split(".")[0]
    if not isinstance(cause, ModuleNotFoundError) or not name:
        return f"its package cannot be imported ({first_line(cause)})"
    if name == game.partition(":")[0]:
        return f"there is no package {name} here: name the folder that holds it with --real-path"
    return f"it needs the package {name}: " + (
        "make setup installs it" if name == "gymnasium" else f"pip install {name}"
    )


def first_line(problem: Exception) -> str:
    return (str(problem) or type(problem).__name__).splitlines()[0]


def parse_setting(text: str) -> tuple[str, Any]:
    """Splits NAME=VALUE; the value is read as JSON, or else taken as a string."""
    name, equals, value = text.partition("=")
    if not name.isidentifier() or not equals:
        raise InputError(f"--real-settings {text!r}: expected NAME=VALUE, such as track=1")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
