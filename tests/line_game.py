"""A tiny Gymnasium game: a grey picture whose level is a position on a line, which left and right change by one.

reset(options={"state": {"x": ...}}) sets the position; at 40 the episode ends."""

import gymnasium
import numpy as np


class Line(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012 (Gymnasium's convention)
    action_space = gymnasium.spaces.Discrete(3)
    observation_space = gymnasium.spaces.Box(0, 255, (32, 48, 3), np.uint8)

    def __init__(self, render_mode=None, height=32, settable=True):
        self.render_mode, self.height, self.settable = render_mode, height, settable

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.x = int(options["state"]["x"]) if options and self.settable else 9
        return self.render(), {}

    def step(self, action):
        self.x += (0, -1, 1)[action]
        return self.render(), 0.0, self.x >= 40, False, {}

    def render(self):
        return np.full((self.height, 48, 3), self.x, np.uint8)


gymnasium.register("Line-v1", Line)
