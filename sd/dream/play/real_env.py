"""The real game next to the world model: any Gymnasium environment with pictures and the same number of actions.

It is made and stepped as it was recorded (settings, frame skip, maximum of frames, frame size), where the
recording says how. No game is imported by this package itself; the user names one, and the folder of its code.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dream.common.errors import InputError, first_line
from dream.common.pictures import PictureReader, find_picture
from dream.play.frame_resize import resize_frame
from dream.play.gymnasium_open import import_problem, open_env, parse_setting


class RealEnv:
    """`frame_u8`: the game's current frame, uint8 (H, W, 3). `in_sync`: whether the game was set to the same start
    state as the world model, which needs a recorded game state and a game that supports
    `reset(options={"state": game_state})`. `error`: what stopped the game, or an empty string."""

    def __init__(
        self,
        game: str,
        num_actions: int,
        path: str | None = None,
        settings: Sequence[str] = (),
        recorded: dict[str, Any] | None = None,
    ) -> None:
        """`game`: a Gymnasium id, such as package:Env-v0. `path`: a folder to import it from. `settings`: keyword
        arguments of the environment, each NAME=VALUE with a JSON value. `recorded`: GameInfo.environment; used if it
        is of the same game. Raises InputError if the game cannot be made or does not have `num_actions` actions."""
        recorded = recorded if recorded and same_game(recorded["game"], game) else {}
        kwargs = {**recorded.get("settings", {}), **dict(map(parse_setting, settings))}
        self.frame_skip, self.crop = recorded.get("frame_skip", 1), recorded.get("crop")
        self.frame_size = recorded.get("frame_size")
        self.frames_u8: deque[np.ndarray] = deque(maxlen=recorded.get("max_frames", 1))
        self.reader, self.prefers_render, self.last_picture = PictureReader(), bool(recorded), None
        self.info: dict[str, Any] = {}  # of the last reset or step
        if path and not Path(path).is_dir():
            raise InputError(f"--real-path {path} is not a folder")
        if path:
            sys.path.append(str(path))
        try:
            self.env = None
            self.env, has_mode, draws = open_env(game, kwargs)
            self.renders = draws if recorded else has_mode  # as the recorder does
            self.frame_u8 = self._reset(seed=0)
        except ImportError as problem:
            raise InputError(f"--real {game}: {import_problem(problem, game)}") from None
        except Exception as problem:  # raised by the game; gymnasium alone raises many types
            if self.env is not None:  # it may have processes behind it
                self.env.close()
            elif isinstance(problem, InputError):  # of open_env, and complete
                raise
            raise InputError(f"--real {game} cannot be played ({first_line(problem)})") from None
        space = self.env.action_space
        first, count = int(getattr(space, "start", 0)), getattr(space, "n", None)
        is_discrete = count is not None and not hasattr(space, "nvec") and not space.shape
        self.actions = recorded.get("actions", [*range(first, first + count)] if is_discrete else [])
        in_range = is_discrete and all(first <= action < first + count for action in self.actions)
        if len(self.actions) != num_actions or not in_range:
            self.env.close()
            raise InputError(
                f"--real {game} takes {space}, but the world model has {num_actions} actions: choose the game that the "
                "model was trained on"
            )
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
                frame_u8 = self._reset(seed=0, options={"state": game_state})
            except Exception:  # the state of another game, for example
                return
            if not np.array_equal(frame_u8, self.frame_u8):
                self.accepts_state = True
                return

    def reset(self, game_state: dict[str, float] | None) -> None:
        """Resets the game to this state, or to its own start if that is not possible."""
        self.in_sync, self.error = game_state is not None and self.accepts_state, ""
        options = {"state": game_state} if self.in_sync else None
        self._guarded(lambda: self._reset(seed=0, options=options))

    def step(self, action: int) -> None:
        """Advances the game by an action; resets it, out of sync, at the end of an episode."""
        self._guarded(lambda: self._step(action))

    def game_state(self) -> dict[str, float]:
        """The game's true state at the current frame, by name, of an environment that has `truth_names` and as many
        numbers in info["truth"], as Mode7Kart has; of others, and after `set_state`, {}."""
        names, values = getattr(self.env.unwrapped, "truth_names", ()), self.info.get("truth", ())
        return dict(zip(names, map(float, values), strict=True)) if len(names) == len(values) else {}

    def _reset(self, **kwargs: Any) -> np.ndarray:
        """Resets the environment and returns its first frame."""
        self.frames_u8.clear()
        observation, self.info = self.env.reset(**kwargs)
        return self._frame(observation)

    def _step(self, action: int) -> np.ndarray:
        """Steps the environment `frame_skip` times and returns the frame."""
        for _ in range(self.frame_skip):
            observation, _, terminated, truncated, self.info = self.env.step(self.actions[action])
            if terminated or truncated:
                self.in_sync = False
                return self._reset()
            frame_u8 = self._frame(observation)
        return frame_u8

    def _guarded(self, get_frame: Callable[[], np.ndarray]) -> None:
        """Updates the frame. An exception raised by the game stops it until the next reset; the session goes on."""
        if not self.error:
            try:
                self.frame_u8 = get_frame()
            except Exception as problem:
                self.in_sync, self.error = False, first_line(problem)

    def _frame(self, observation: Any) -> np.ndarray:
        """The observation if it is an RGB frame, otherwise the rendered picture or that in the observation; the maximum
        of the last `max_frames` of them, cropped and resized, uint8 (H, W, 3).

        Raises InputError if there is no picture."""
        picture, is_observation = observation, False
        is_frame = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape[2:] == (3,)
        if self.renders and (self.prefers_render or not is_frame):
            picture = self.env.render()
            if isinstance(picture, (list, tuple)) and not len(picture):
                picture = self.last_picture  # no new frame since the last call
        elif not is_frame:
            picture = None
        if picture is None:
            picture, is_observation = find_picture(observation), True
        self.last_picture = picture
        frame_u8 = self.reader.read(picture, is_observation)
        if self.crop:
            x, y, width, height = self.crop
            frame_u8 = frame_u8[y : y + height, x : x + width]
        self.frames_u8.append(frame_u8)
        frame_u8 = np.maximum.reduce(list(self.frames_u8))
        return resize_frame(frame_u8, self.frame_size) if self.frame_size else frame_u8

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
        self.frames_u8.clear()
        self.info = {}
        self.error = ""
        self.env.unwrapped.set_state(saved)

    def close(self) -> None:
        self.env.close()


def same_game(recorded: str, game: str) -> bool:
    """Whether two names are of the same environment: with and without the module that registers it."""
    return recorded.rpartition(":")[2] == game.rpartition(":")[2]
