"""Any Gymnasium environment with pictures and discrete actions, such as CarRacing-v3 or package:Env-v0."""

import sys
from typing import Any, Dict, Optional, Sequence, Tuple

import gymnasium
import numpy as np

from player.common.errors import InputError, first_line, shorten
from player.common.frame_size import Size, fit_frame, resolve_frame_size
from player.common.pictures import PictureReader, find_picture
from player.games.closing import close_in_time
from player.games.flicker import FrameMaximum
from player.games.gymnasium_open import add_game_path, open_env
from player.games.timing import find_timing

MAX_ASPECT = 4  # largest ratio of height to width, or width to height


class GymnasiumEnv(gymnasium.Env):
    """Wraps the environment `name`: the observation is its picture, uint8 (H, W, 3), of the size `frame_size`
    (see `resolve_frame_size`).

    `actions`: for each action of this environment, the number of the wrapped environment's action. `crop`: x, y, width
    and height of the visible part of the picture, in pixels. `settings`: keyword arguments of the wrapped environment.
    `game_path`: folder to import it from. `printed_notes`: assumptions about its pictures that have been printed
    already; others are printed once, unless `prints_notes` is false. `picture_size`: height and width to which its
    pictures are resized if they have another size; None: those of the first one. `opened`: the result of `open_env`, if
    the wrapped environment has been opened already; it is then closed with this one.

    One step runs `frame_skip` steps of the wrapped environment (`substeps` frames each, see `split_steps`), fewer if
    the episode ends, and sums their rewards. Each picture is the maximum of the last `max_frames` frames. Raises
    InputError, also in `reset` and `step`, if the environment raises anything or its picture cannot be used.
    """

    def __init__(
        self,
        name: str,
        actions: Tuple[int, ...],
        crop: Optional[Tuple[int, int, int, int]] = None,
        settings: Optional[Dict[str, Any]] = None,
        game_path: Optional[str] = None,
        substeps: int = 1,
        printed_notes: Sequence[str] = (),
        prints_notes: bool = True,
        picture_size: Optional[Size] = None,
        frame_size: Optional[Size] = None,
        max_frames: int = 1,
        frame_skip: int = 4,
        opened: Optional[Tuple[gymnasium.Env, bool]] = None,
    ) -> None:
        add_game_path(game_path)  # here too: a spawned worker process starts without it
        self.name, self.actions, self.crop, self.frame_skip = name, actions, crop, frame_skip
        self.num_frames, self.max_frames = frame_skip * substeps, max_frames
        self.game, self.draws = opened or open_env(name, settings)
        self.reader, self.printed_notes = PictureReader(picture_size), list(printed_notes)
        self.prints_notes, self.frame_size = prints_notes, frame_size
        self.maximum, self.last_picture = FrameMaximum(max_frames), None
        rate = find_timing(self.game, settings or {}).frame_rate
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": rate / self.num_frames}
        self.render_mode = "rgb_array"
        try:
            self.reset(seed=0)
        except BaseException:
            self.close()
            raise
        self.observation_space = gymnasium.spaces.Box(0, 255, self.frame.shape, np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(actions))

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None):
        super().reset(seed=seed)
        result = self.call("reset", seed=seed, options=options)
        self.maximum.clear()
        # A Gymnasium environment returns the observation and a dict; older ones the observation alone.
        is_pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
        self.frame = self.fit(self.maximum.push(self.read_picture(result[0] if is_pair else result)))
        return self.frame.copy(), {}

    def step(self, action: Any):
        total, terminated, truncated = 0.0, False, False
        if self.num_frames >= self.max_frames:
            self.maximum.clear()
        for i in range(self.num_frames):
            result = self.call("step", self.actions[action])
            if not isinstance(result, tuple) or len(result) != 5:
                raise InputError(f"{self.name}: step() must return 5 values, as Gymnasium's environments do")
            observation, reward, terminated, truncated = (
                result[0],
                result[1],
                bool(result[2]),
                bool(result[3]),
            )
            total += self.read_reward(reward)
            if terminated or truncated or i >= self.num_frames - self.max_frames:
                picture = self.maximum.push(self.read_picture(observation))
            if terminated or truncated:
                break
        self.frame = self.fit(picture)
        return self.frame.copy(), total, terminated, truncated, {}

    def render(self) -> np.ndarray:
        return self.frame.copy()

    def close(self) -> None:
        try:
            close_in_time(self.game)
        except (
            Exception,
            SystemExit,
        ) as problem:  # for example because Ctrl-C has already ended its processes
            print(f"note: {self.name} could not be closed ({first_line(problem)})", file=sys.stderr)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Calls a method of the wrapped environment. Raises InputError if it raises anything."""
        try:
            return getattr(self.game, method)(*args, **kwargs)
        except InputError:
            raise
        except (Exception, SystemExit) as problem:
            kind = type(problem).__name__
            raise InputError(f"{self.name} fails in {method}(): {kind}: {first_line(problem)}") from None

    def read_reward(self, reward: Any) -> float:
        """The reward as a number; 0, with a note, if it is not finite. Raises InputError if it is not one number."""
        try:
            is_number = reward is not None and np.size(reward) == 1
            value = float(np.asarray(reward, np.float64).reshape(-1)[0]) if is_number else None
        except (TypeError, ValueError):
            value = None
        if value is None:
            raise InputError(f"{self.name}: the reward is {shorten(reward, 40)!r}; expected one number")
        if not np.isfinite(value):
            self.reader.note("assumed: a reward that is not finite counts as 0")
            return 0.0
        return value

    def read_picture(self, observation: Any) -> np.ndarray:
        """The picture of the wrapped environment, cropped, uint8 (h, w, 3). Raises InputError if it cannot be used."""
        picture = self.call("render") if self.draws else None
        if isinstance(picture, (list, tuple)) and not len(picture):
            picture = self.last_picture  # no new frame since the last call
        is_observation = picture is None
        try:
            picture = find_picture(observation) if is_observation else picture
            rgb = self.reader.read(picture, is_observation)
        except InputError as problem:
            raise InputError(f"{self.name}: {problem}") from None
        self.last_picture = picture
        if self.prints_notes:
            for note in self.reader.notes:
                if note not in self.printed_notes:
                    self.printed_notes.append(note)
                    print(note, file=sys.stderr)
        x, y, width, height = self.crop or (0, 0, *rgb.shape[1::-1])
        cropped = rgb[y : y + height, x : x + width]
        if cropped.shape[:2] != (height, width):
            raise InputError(
                f"--crop does not fit into the picture, which has {rgb.shape[1]} x {rgb.shape[0]} pixels"
            )
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise InputError(
                f"{self.name}: its picture has {width} x {height} pixels: choose a part by --crop"
            )
        return cropped

    def fit(self, picture: np.ndarray) -> np.ndarray:
        """Resizes a picture to uint8 (H, W, 3), all of the size of the first one."""
        self.frame_size = resolve_frame_size(self.frame_size, *picture.shape[:2])
        return fit_frame(picture, self.frame_size)
