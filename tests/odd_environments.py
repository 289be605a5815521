"""Gymnasium environments, each odd in one thing: odd_environments:Odd-v0 with the setting odd=NAME.

All show a white bar, 8 of 64 pixels wide, that moves two pixels a step on black (LEFT_EDGE).
"""

import gymnasium
import numpy as np
from gymnasium import spaces

SIZE = 64


class Odd(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012

    instances = 0

    def __init__(self, render_mode=None, odd="", skip=1):
        self.render_mode, self.odd, self.t, self.numbers = render_mode, odd, 0, []
        self.action_space = {
            "start": spaces.Discrete(3, start=1),
            "negative start": spaces.Discrete(3, start=-1),
            "multi-discrete": spaces.MultiDiscrete([2, 3]),
            "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2))),
            "box": spaces.Box(-1, 1, (2,)),
        }.get(odd, spaces.Discrete(3))
        self.observation_space = spaces.Box(0, 1, (2,), np.float32)
        rate = {"10 per second": 10, "no rate": None, "strange rate": "fast"}.get(odd, 60)
        modes = {"list mode": ["rgb_array_list"]}.get(odd, ["rgb_array"])
        self.metadata = {"render_modes": modes, "render_fps": rate}
        if odd.startswith("observation"):
            self.metadata = {}
        if odd == "metadata skip":
            self.metadata["frameskip"] = 3
        if odd == "metadata no skip":
            self.metadata["frame_skip"] = 1
        if odd == "attribute skip":
            self.frame_skip = 5

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        if self.odd == "raises in reset":
            raise ValueError("no reset\nand more")
        self.t = 0
        return self.observation(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        if self.odd == "raises in step" and self.t > 35:
            raise ValueError("no step\nand more")
        reward = {"nan reward": float("nan"), "reward array": np.float32([2]), "reward list": [1.0, 2.0],
                  "no reward": None, "text reward": "much"}.get(self.odd, 1.0)  # fmt: skip
        if self.odd == "old step":
            return self.observation(), 1.0, False, {}
        ended = np.bool_(self.t % 40 == 0)
        return self.observation(), reward, ended, ended and self.odd == "both ends", {}

    def bar(self, height=SIZE, width=SIZE):
        """bool (H, W)."""
        left = (self.t * 2) % SIZE
        return np.broadcast_to((np.arange(width) >= left) & (np.arange(width) < left + 8), (height, width))

    def observation(self):
        bar = self.bar()
        rgb = np.repeat(bar[..., None] * np.uint8(255), 3, axis=2)
        return {
            "observation": rgb,
            "observation gray": bar * np.uint8(255),
            "observation dict": {"screen": rgb, "health": np.float32([1])},
            "observation two": {"left": rgb, "right": rgb},
            "observation stack": np.repeat(bar[..., None] * np.uint8(200), 4, axis=2),
            "observation none": {"health": np.float32([1])},
        }.get(self.odd, np.zeros(2, np.float32))

    def render(self):
        if self.odd.startswith("observation"):
            return None
        bar, odd = self.bar(), self.odd
        rgb = np.repeat(bar[..., None] * np.uint8(255), 3, axis=2)
        opaque = np.full((SIZE, SIZE, 1), 255, np.uint8)
        moving = self.t >= 45
        return {
            "gray": lambda: rgb[..., 0],
            "gray 1": lambda: rgb[..., :1],
            "floats": lambda: rgb.astype(np.float32) / 255,
            "half floats": lambda: rgb.astype(np.float16) / 255,
            "floats to 255": lambda: rgb.astype(np.float64),
            "int64": lambda: rgb.astype(np.int64),
            "bool": lambda: bar,
            "rgba": lambda: np.concatenate([rgb, opaque], 2),
            "rgba floats": lambda: np.concatenate([rgb, opaque], 2) / 255 * 0.999,
            "rgba without alpha": lambda: np.concatenate([rgb, 0 * opaque], 2),
            "rgba transparent": lambda: np.concatenate([0 * rgb + 255, rgb[..., :1]], 2),
            "channels first": lambda: rgb.transpose(2, 0, 1),
            "list": lambda: [0 * rgb, rgb],
            "list mode": lambda: [0 * rgb, rgb],
            "empty list": lambda: [rgb] if self.t == 0 else [],
            "four dimensions": lambda: np.stack([0 * rgb, rgb]),
            "grows": lambda: rgb if self.t < 9 else rgb.repeat(2, axis=0).repeat(2, axis=1),
            "planes": lambda: np.stack([self.bar(32), *[0 * self.bar(32)] * 5], -1).astype(np.float64),
            "bool planes": lambda: np.stack([self.bar(), *[~self.bar()] * 3], -1),
            "small": lambda: rgb[:10, :10],
            "tall": lambda: rgb[:, :8],
            "still": lambda: opaque.repeat(3, axis=2),
            "cell numbers": lambda: bar.astype(np.int64) * 3,
            "nan": lambda: np.where(rgb, np.nan, 0.0),
            "negative": lambda: rgb / 127.5 - 1,
            "uint16": lambda: rgb.astype(np.uint16) * 256,
            "more than 1": lambda: rgb / (1.0 if moving else 255),
            "seven channels": lambda: np.repeat(rgb[..., :1], 7, axis=2),
            "text": lambda: "####",
            "nothing": lambda: None,
            "ragged": lambda: [[1, 2], [3]],
            "no pixels": lambda: rgb[:0],
            "size of the instance": lambda: self.resized(rgb),
            "same buffer": lambda: self.same_buffer(rgb),
        }.get(odd, lambda: rgb)()

    def resized(self, rgb):
        """Every second instance draws pictures twice as high."""
        if not hasattr(self, "number"):
            self.number = Odd.instances = Odd.instances + 1
        return rgb.repeat(1 + self.number % 2, axis=0)

    def same_buffer(self, rgb):
        """As some environments do: each picture overwrites the one before."""
        self.buffer = getattr(self, "buffer", rgb)
        self.buffer[:] = rgb
        return self.buffer


class Flicker(gymnasium.Env):
    """Draws one of `period` squares per frame, in turn; a dot moves all the time."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012
    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(0, 1, (1,), np.float32)

    def __init__(self, render_mode=None, period=4):
        self.render_mode, self.period, self.t = render_mode, period, 0

    def reset(self, seed=None, options=None):
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), 0.0, False, False, {}

    def render(self):
        frame, place = np.zeros((64, 256, 3), np.uint8), self.t % self.period
        frame[16:48, place * 32 : place * 32 + 16] = 200
        frame[60:, (3 * self.t) % 250 :][:, :4] = 255
        return frame


class Turns(gymnasium.Env):
    """Turn-based: the action turns an arrow by a quarter; nothing else changes."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    action_space = spaces.Discrete(3)  # left, right, nothing
    observation_space = spaces.Box(0, 1, (1,), np.float32)

    def __init__(self, render_mode=None, rate=10):
        self.render_mode, self.angle = render_mode, 0
        self.metadata = {**self.metadata, "render_fps": rate}

    def reset(self, seed=None, options=None):
        self.angle = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.angle = (self.angle + (3, 1, 0)[action]) % 4
        return np.zeros(1, np.float32), 0.0, False, False, {}

    def render(self):
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[16:48, 16 * self.angle : 16 * self.angle + 16] = 255
        return frame


class Template(gymnasium.Env):
    """As Gymnasium's own template: it refuses every render mode that it does not declare. White moves on black."""

    action_space = spaces.Discrete(3)
    observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)

    def __init__(self, render_mode=None):
        assert render_mode is None or render_mode in self.metadata["render_modes"]
        self.render_mode, self.t = render_mode, 0

    def reset(self, seed=None, options=None):
        self.t = 0
        return self.picture(), {}

    def step(self, action):
        self.t += 1
        return self.picture(), 0.0, False, False, {}

    def render(self):
        return {"ansi": "####", "rgb_array_list": [self.picture()], "rgb_array": self.picture()}.get(
            self.render_mode
        )

    def picture(self):
        picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        picture[:, 2 * self.t : 2 * self.t + 8] = 255
        return picture


TEMPLATE_MODES = {
    "Human": ["human"],
    "Ansi": ["ansi"],
    "List": ["rgb_array_list"],
    "Both": ["human", "rgb_array"],
}
for template, template_modes in TEMPLATE_MODES.items():
    one = type(template, (Template,), {"metadata": {"render_modes": template_modes, "render_fps": 60}})
    gymnasium.register(f"Template{template}-v0", one)
    # Made by a function, which declares nothing.
    gymnasium.register(f"Template{template}Function-v0", lambda render_mode=None, one=one: one(render_mode))


class WithoutMode(Template):
    """As environments for older versions of Gymnasium: no argument render_mode, and observations of another kind."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012
    observation_space = spaces.Box(0, 1, (2,), np.float32)

    def __init__(self):
        super().__init__("rgb_array")

    def reset(self, seed=None, options=None):
        super().reset()
        return np.zeros(2, np.float32), {}

    def step(self, action):
        super().step(action)
        return np.zeros(2, np.float32), 0.0, False, False, {}


gymnasium.register("TemplateWithoutMode-v0", WithoutMode)
gymnasium.register("Odd-v0", Odd)
gymnasium.register("OddSkip-v0", Odd, kwargs={"skip": 4})
gymnasium.register("OddFlicker-v0", Flicker)
gymnasium.register("OddTurns-v0", Turns)
