"""Any Gymnasium environment that draws itself and has a list of choices, such as CarRacing-v3 or package:Env-v0."""

from functools import partial
from typing import Any, Optional, Tuple

import gymnasium
import numpy as np

from player.common.errors import InputError
from player.games.game import Action, Game, read_actions

WIDTH, MULTIPLE = 256, 16  # pixels of a frame; its height suits the picture, and can be halved four times
KEYS = "0123456789abcdefghijklmno"  # for choices that nobody has named; the window needs p, q, r and t itself
# Choices that have names, in the environment's order, and keys that suit them.
KNOWN = {
    "CarRacing-v3": (
        ("nothing",),
        ("right", "right"),
        ("left", "left"),
        ("gas", "up"),
        ("brake", "down"),
    ),
}


class RegisteredGame(gymnasium.Env):
    """`name` as the rest of the project wants a game: the observation is its picture, uint8 (H, W, 3), `frame_skip` of
    its steps are one, and of its choices `choices` are at hand."""

    def __init__(
        self,
        name: str,
        choices: Tuple[int, ...],
        crop: Optional[Tuple[int, int, int, int]] = None,
        frame_skip: int = 4,
    ) -> None:
        self.game, self.choices, self.crop, self.frame_skip = open_game(name), choices, crop, frame_skip
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": rate_of(self.game) / frame_skip}
        self.render_mode = "rgb_array"
        try:
            self.game.reset(seed=0)
            self.frame = self.observe()
        except BaseException:
            self.close()
            raise
        self.observation_space = gymnasium.spaces.Box(0, 255, self.frame.shape, np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(choices))

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None):
        super().reset(seed=seed)
        self.game.reset(seed=seed, options=options)
        self.frame = self.observe()
        return self.frame.copy(), {}

    def step(self, action: Any):
        total = 0.0
        for _ in range(self.frame_skip):
            _, reward, terminated, truncated, _ = self.game.step(self.choices[action])
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
        import cv2  # brings no more than resizing here; the built-in game does without

        picture = np.asarray(self.game.render())
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise InputError(f"its picture is {picture.dtype} {picture.shape}, wanted RGB: uint8 (H, W, 3)")
        x, y, width, height = self.crop or (0, 0, *picture.shape[1::-1])
        seen = picture[y : y + height, x : x + width]
        if seen.shape[:2] != (height, width):
            raise InputError(
                f"--crop leaves the picture, which has {picture.shape[1]} x {picture.shape[0]} pixels"
            )
        rows = max(MULTIPLE, round(WIDTH * height / width / MULTIPLE) * MULTIPLE)
        return cv2.resize(seen, (WIDTH, rows), interpolation=cv2.INTER_AREA)


def open_game(name: str) -> gymnasium.Env:
    """Raises InputError where it cannot be made, draws nothing, or has no list of choices."""
    settings = {"continuous": False} if name.startswith("CarRacing") else {}
    try:
        env = gymnasium.make(name, render_mode="rgb_array", **settings)
    except Exception as problem:  # whatever somebody's constructor raises
        why = (str(problem) or type(problem).__name__).splitlines()[0]
        raise InputError(f"Gymnasium cannot make {name}: {why}") from None
    lacking = None
    if not isinstance(env.action_space, gymnasium.spaces.Discrete) or env.action_space.start != 0:
        lacking = (
            f"{name} has actions {env.action_space}; only a list of choices, Discrete, can be learned here"
        )
    elif "rgb_array" not in env.metadata.get("render_modes", ()):
        lacking = f"{name} draws no pictures (no rgb_array among its render modes)"
    if lacking:
        env.close()
        raise InputError(lacking)
    return env


def rate_of(env: gymnasium.Env) -> int:
    return max(1, round(env.metadata.get("render_fps") or 30))


def describe(
    name: str, crop: Optional[Tuple[int, int, int, int]] = None, actions: Optional[str] = None
) -> Game:
    """crop: of its picture; actions: a file of `known.read_actions`, whose buttons are the numbers of its choices.
    Raises InputError."""
    env = open_game(name)
    numbers, rate = [str(i) for i in range(int(env.action_space.n))], rate_of(env)
    env.close()
    if actions is not None:
        choices = read_actions(actions, numbers)
        for action in choices:
            if len(action.buttons) != 1:
                raise InputError(f"{actions}: {action.name} must be one number, of {name}'s choice")
    elif name in KNOWN:
        choices = tuple(Action(one[0], (number,), one[1:]) for number, one in zip(numbers, KNOWN[name]))
    else:
        if len(numbers) > len(KEYS):
            raise InputError(
                f"{name} has {len(numbers)} choices: give --actions FILE with those that you want"
            )
        choices = tuple(Action(number, (number,), (key,)) for number, key in zip(numbers, KEYS))
    make = partial(RegisteredGame, name, tuple(int(action.buttons[0]) for action in choices), crop)
    return Game(name, choices, rate, make, shares_process=True, has_buttons=False)
