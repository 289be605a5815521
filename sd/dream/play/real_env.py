"""The game itself beside its dream: any Gymnasium environment with frames and as many actions, imported when asked for.

This side knows no game; the user names one, and where its code lies.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dream.common.errors import InputError


class Real:
    """`frame_u8`: uint8 (H, W, 3), what the game shows now. `label`: what it is, and whether it stands where the dream
    does, which it can only where it hears `reset(options={"state": truth})` and somebody knows the truth."""

    def __init__(
        self, game: str, num_actions: int, path: str | None = None, settings: Sequence[str] = ()
    ) -> None:
        """`game`: a Gymnasium id, such as package:Env-v0. `path`: a folder to import it from. `settings`: of the
        environment, NAME=VALUE with a JSON value. Raises BadInput where it cannot be played beside this dream."""
        given = dict(map(setting, settings))
        if path and not Path(path).is_dir():
            raise InputError(f"--real-path {path} is no folder")
        if path:
            sys.path.append(str(path))
        try:
            import gymnasium

            self.env = gymnasium.make(game, render_mode="rgb_array", **given)
            self.frame_u8 = self.picture(self.env.reset(seed=0)[0])
        except ImportError as problem:
            lacking = (
                "make setup installs it"
                if problem.name == "gymnasium"
                else "name its folder with --real-path"
            )
            raise InputError(f"--real {game}: no {problem.name or problem}: {lacking}") from None
        except Exception as problem:  # of the game's own; gymnasium's alone are of many types
            raise InputError(f"--real {game} cannot be played ({first_line(problem)})") from None
        space = self.env.action_space
        if getattr(space, "n", None) != num_actions or hasattr(space, "nvec"):
            raise InputError(f"--real {game} takes {space}, the dream knows {num_actions} actions")
        self.hears, self.in_step, self.stopped = False, False, ""

    @property
    def label(self) -> str:
        if self.stopped:
            return f"the game, stopped: {self.stopped}"
        return "the game" if self.in_step else "the game, elsewhere"

    def try_truths(self, truths: Iterable[dict[str, float] | None]) -> None:
        """Does it hear them? Where it shows the same as ever, it does not."""
        for truth in filter(None, truths):
            try:
                shown = self.picture(self.env.reset(seed=0, options={"state": truth})[0])
            except Exception:  # of another game
                return
            if not np.array_equal(shown, self.frame_u8):
                self.hears = True
                return

    def reset(self, truth: dict[str, float] | None) -> None:
        """To the true state of the place where the dream begins, or else to the game's own start."""
        self.in_step, self.stopped = truth is not None and self.hears, ""
        options = {"state": truth} if self.in_step else None
        self.go_on(lambda: self.env.reset(seed=0, options=options)[0])

    def step(self, action: int) -> None:
        self.go_on(lambda: self.after(action))

    def after(self, action: int) -> Any:
        seen, _, terminated, truncated, _ = self.env.step(action)
        if terminated or truncated:
            self.in_step, seen = False, self.env.reset()[0]
        return seen

    def go_on(self, what: Callable[[], Any]) -> None:
        """Its mistakes stop the game until the next place, not the dream."""
        if not self.stopped:
            try:
                self.frame_u8 = self.picture(what())
            except Exception as problem:
                self.in_step, self.stopped = False, first_line(problem)

    def picture(self, seen: Any) -> np.ndarray:
        """Where the game's observation is none, it is asked to draw one. Raises ValueError where it does not."""
        for shown in (seen, None):
            shown = self.env.render() if shown is None else shown
            if (
                isinstance(shown, np.ndarray)
                and shown.dtype == np.uint8
                and shown.shape[2:] == (3,)
                and shown.size
            ):
                return shown.copy()
        raise ValueError("it draws no pictures, uint8 (H, W, 3)")

    def get_state(self) -> Any:
        save = getattr(self.env.unwrapped, "get_state", None)
        return save and not self.stopped and (save(), self.frame_u8, self.in_step)

    def set_state(self, state: Any) -> None:
        """Back to what get_state gave; a game that cannot go back is out of step from now on."""
        if not state:
            self.in_step = False
            return
        saved, self.frame_u8, self.in_step = state
        self.stopped = ""
        self.env.unwrapped.set_state(saved)

    def close(self) -> None:
        self.env.close()


def first_line(problem: Exception) -> str:
    return (str(problem) or type(problem).__name__).splitlines()[0]


def setting(words: str) -> tuple[str, Any]:
    name, equals, value = words.partition("=")
    if not name.isidentifier() or not equals:
        raise InputError(f"--real-settings {words!r}: wanted NAME=VALUE, such as track=1")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
