"""Any Gymnasium environment with rgb_array rendering and discrete actions, such as CarRacing-v3 or package:Env-v0."""

from functools import partial
from typing import Any, Optional, Tuple

import gymnasium
import numpy as np

from player.common.errors import InputError
from player.games.game import Action, Game, read_actions

WIDTH = 256  # width of a frame, pixels; the height keeps the aspect ratio
SIZE_MULTIPLE = 16  # the height is a multiple of this, so that it can be halved four times
KEYS = "0123456789abcdefghijklmno"  # keys of unnamed actions; the window itself uses p, q, r and t
# Environments whose actions have names: name and keys of each, in the environment's order.
NAMED_ACTIONS = {
    "CarRacing-v3": (("nothing",), ("right", "right"), ("left", "left"), ("gas", "up"), ("brake", "down")),
}


class GymnasiumGame(gymnasium.Env):
    """Wraps the environment `name`: the observation is its rendered picture, uint8 (H, 256, 3).

    `actions`: for each action of this environment, the number of the wrapped environment's action. `crop`: x, y, width
    and height of the visible part of the picture, in pixels. One step runs `frame_skip` steps of the wrapped
    environment, fewer if the episode ends, and sums their rewards.
    """

    def __init__(
        self,
        name: str,
        actions: Tuple[int, ...],
        crop: Optional[Tuple[int, int, int, int]] = None,
        frame_skip: int = 4,
    ) -> None:
        self.game, self.actions, self.crop, self.frame_skip = open_env(name), actions, crop, frame_skip
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": frame_rate(self.game) / frame_skip}
        self.render_mode = "rgb_array"
        try:
            self.game.reset(seed=0)
            self.frame = self.observe()
        except BaseException:
            self.close()
            raise
        self.observation_space = gymnasium.spaces.Box(0, 255, self.frame.shape, np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(actions))

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None):
        super().reset(seed=seed)
        self.game.reset(seed=seed, options=options)
        self.frame = self.observe()
        return self.frame.copy(), {}

    def step(self, action: Any):
        total = 0.0
        for _ in range(self.frame_skip):
            _, reward, terminated, truncated, _ = self.game.step(self.actions[action])
            total += float(reward)
            if terminated or truncated:
                break
        self.frame = self.observe()
        return self.frame.copy(), total, bool(terminated), bool(truncated), {}

    def render(self) -> np.ndarray:
        return self.frame.copy()

    def close(self) -> None:
        self.game.close()

    def observe(self) -> np.ndarray:
        """The rendered picture, cropped and resized, uint8 (H, WIDTH, 3). Raises InputError if it cannot be used."""
        import cv2  # imported here because only these games need it

        picture = np.asarray(self.game.render())
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise InputError(
                f"the environment renders {picture.dtype} {picture.shape}; expected RGB, uint8 (H, W, 3)"
            )
        x, y, width, height = self.crop or (0, 0, *picture.shape[1::-1])
        cropped = picture[y : y + height, x : x + width]
        if cropped.shape[:2] != (height, width):
            raise InputError(
                f"--crop does not fit into the picture, which has {picture.shape[1]} x {picture.shape[0]} pixels"
            )
        rows = max(SIZE_MULTIPLE, round(WIDTH * height / width / SIZE_MULTIPLE) * SIZE_MULTIPLE)
        return cv2.resize(cropped, (WIDTH, rows), interpolation=cv2.INTER_AREA)


def open_env(name: str) -> gymnasium.Env:
    """Makes the Gymnasium environment `name`.

    Raises InputError if that fails, if the environment renders no pictures, or if its actions are not Discrete.
    """
    settings = {"continuous": False} if name.startswith("CarRacing") else {}
    try:
        env = gymnasium.make(name, render_mode="rgb_array", **settings)
    except Exception as error:  # an environment's constructor may raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"Gymnasium cannot make {name}: {reason}") from None
    problem = None
    if not isinstance(env.action_space, gymnasium.spaces.Discrete) or env.action_space.start != 0:
        problem = f"{name} has actions {env.action_space}; only Discrete actions from 0 are supported"
    elif "rgb_array" not in env.metadata.get("render_modes", ()):
        problem = f"{name} renders no pictures (rgb_array is not among its render modes)"
    if problem:
        env.close()
        raise InputError(problem)
    return env


def frame_rate(env: gymnasium.Env) -> int:
    """Frames per second according to the environment's metadata; 30 if it has none."""
    return max(1, round(env.metadata.get("render_fps") or 30))


def make_game(
    name: str, crop: Optional[Tuple[int, int, int, int]] = None, actions: Optional[str] = None
) -> Game:
    """The Game of a Gymnasium environment.

    crop: x, y, width and height of the visible part of the picture. actions: path of a file for `read_actions`, whose
    buttons are the numbers of the environment's actions. Raises InputError if the environment cannot be used.
    """
    env = open_env(name)
    numbers, rate = [str(i) for i in range(int(env.action_space.n))], frame_rate(env)
    env.close()
    if actions is not None:
        chosen = read_actions(actions, numbers)
        for action in chosen:
            if len(action.buttons) != 1:
                raise InputError(
                    f"{actions}: {action.name} must have one button, the number of an action of {name}"
                )
    elif name in NAMED_ACTIONS:
        chosen = tuple(
            Action(action_name, (number,), tuple(keys))
            for number, (action_name, *keys) in zip(numbers, NAMED_ACTIONS[name])
        )
    else:
        if len(numbers) > len(KEYS):
            raise InputError(f"{name} has {len(numbers)} actions: choose some of them with --actions FILE")
        chosen = tuple(Action(number, (number,), (key,)) for number, key in zip(numbers, KEYS))
    make = partial(GymnasiumGame, name, tuple(int(action.buttons[0]) for action in chosen), crop)
    return Game(name, chosen, rate, make, shares_process=True, has_buttons=False)
