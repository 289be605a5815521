"""Test doubles for the play window and play_sd.py: an environment, a real game and a clock."""

import numpy as np

COLORS = np.array(
    [(20, 20, 20), (200, 0, 0), (0, 0, 200), (0, 200, 0), (250, 120, 10), (10, 120, 250)], np.uint8
)


class FakeEnv:
    """A PlayableEnv: the frame has the color of the last action, and a white stripe at the left whose width grows with
    the number of the start state."""

    action_names = ("nothing", "forward", "left", "right", "forward+left", "forward+right")
    action_keys = ((), ("up",), ("left",), ("right",), ("up", "left"), ("up", "right"))
    fps, num_starts, frame_shape = 60.0, 3, (28, 64)
    backend_name, fingerprint, seed, steps = "a fake", "none", 0, 1
    backend = None
    environment = {}  # noqa: RUF012  no settings of the game were recorded

    def __init__(self):
        self.actions, self.starts, self.state = [], [], (0, 0, 0)

    def reset(self, start=0):
        self.starts.append(start)
        return self.set_state((start, 0, 0))

    def step(self, action):
        self.actions.append(action)
        return self.set_state((self.state[0], action, self.num_generated + 1))

    def get_state(self):
        return self.state

    def set_state(self, state):
        self.state = state
        start, action, self.num_generated = state
        frame_u8 = np.full((*self.frame_shape, 3), COLORS[action], np.uint8)
        frame_u8[:, : 4 * start] = 255
        return frame_u8

    def game_state(self, start):
        return {"x": float(start)} if start != 2 else None

    def export_state(self):
        return np.zeros((4, 1, 2, 2), np.float32), np.zeros(4, np.int64)

    def save_start_state(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("start states")
        self.num_starts += 1
        return self.num_starts - 1


class FakeRealEnv:
    """A RealEnv: the same frames as FakeEnv, half as bright."""

    def __init__(self):
        self.in_sync, self.game_states, self.actions = True, [], []

    @property
    def label(self):
        return "game" if self.in_sync else "game (not in sync)"

    def detect_state_support(self, game_states):
        self.tried_states = list(game_states)

    def reset(self, game_state):
        self.game_states.append(game_state)
        self.in_sync = game_state is not None
        self.frame_u8 = np.full((*FakeEnv.frame_shape, 3), COLORS[0] // 2, np.uint8)

    def step(self, action):
        self.actions.append(action)
        self.frame_u8 = np.full_like(self.frame_u8, COLORS[action] // 2)

    def get_state(self):
        return self.frame_u8, self.in_sync

    def set_state(self, state):
        self.frame_u8, self.in_sync = state


class FakeClock:
    def __init__(self):
        self.time_s = 100.0

    def __call__(self):
        return self.time_s
