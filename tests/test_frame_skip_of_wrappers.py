"""Environments whose wrappers skip frames themselves: no frame is skipped twice, and the rate is the true one."""

import gymnasium
import numpy as np
import pytest
from odd_environments import Flicker
from player.envs.vector_env import make_vector_env
from player.games.registry import find_game

pytest.importorskip("cv2")


class Atari(gymnasium.Env):
    """As ale_py's: `frameskip` frames per step, of which the last one is seen."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    opened = 0  # how many were made so far

    def __init__(self, render_mode=None, frameskip=4):
        Atari.opened += 1
        self._frameskip, self.frame, self.ale = frameskip, 0, self

    def getEpisodeFrameNumber(self):
        return self.frame

    def reset(self, seed=None, options=None):
        self.frame = 0
        return self.render(), {}

    def step(self, action):
        low, high = (self._frameskip,) * 2 if isinstance(self._frameskip, int) else self._frameskip
        self.frame += int(self.np_random.integers(low, high + (low == high)))
        return self.render(), 0.0, False, False, {}

    def render(self):
        return np.full((64, 64, 3), self.frame % 256, np.uint8)


Atari.__module__ = "ale_py.env"


class Skip(gymnasium.Wrapper):
    """As AtariPreprocessing: keeps its frame skip under `name`."""

    def __init__(self, env, skip, name):
        super().__init__(env)
        vars(self)[name], self.times = skip, skip

    def step(self, action):
        for _ in range(self.times):
            result = self.env.step(action)
        return result


def preprocessed(render_mode=None, skip=4, inner=1, name="frame_skip"):
    return gymnasium.wrappers.TimeLimit(Skip(Atari(render_mode, inner), skip, name), 10**6)


gymnasium.register("WrappedAtari-v0", Atari)
gymnasium.register("WrappedPlain-v0", lambda render_mode=None: Atari(render_mode))
gymnasium.register("WrappedAny-v0", lambda render_mode=None, **settings: Atari(render_mode))
gymnasium.register("WrappedNoArgument-v0", lambda render_mode=None: preprocessed(render_mode))
gymnasium.register("WrappedSkip-v0", preprocessed)
gymnasium.register("WrappedFlicker-v0", lambda render_mode=None: Skip(Flicker(render_mode), 3, "_skip"))
gymnasium.register("WrappedTwice-v0", lambda render_mode=None: Skip(Skip(Flicker(), 2, "skip"), 2, "_skip"))


def frames_of_a_step(game) -> int:
    env = game.make(frame_skip=game.frame_skip)
    env.reset(seed=0)
    env.step(0)
    env.close()
    return env.game.unwrapped.frame


@pytest.mark.parametrize(
    ("name", "settings", "rate", "frames", "is_split"),
    [
        ("WrappedAtari-v0", {}, 15, 4, True),
        ("WrappedAtari-v0", {"frameskip": 2}, 30, 2, True),
        ("WrappedPlain-v0", {}, 15, 4, False),  # it has no argument frameskip
        ("WrappedAny-v0", {}, 15, 4, False),  # it ignores it
        ("WrappedNoArgument-v0", {}, 15, 4, False),
        ("WrappedSkip-v0", {}, 15, 4, False),
        ("WrappedSkip-v0", {"name": "_skip"}, 15, 4, False),
        ("WrappedSkip-v0", {"name": "skip"}, 15, 4, False),
        ("WrappedSkip-v0", {"name": "k"}, 15, 4, False),  # counted by ALE
        ("WrappedSkip-v0", {"inner": 4}, 3.75, 16, False),  # the user's own choice
    ],
)
def test_atari_with_wrappers_is_not_skipped_twice(name, settings, rate, frames, is_split):
    game = find_game(name, game_settings=settings)
    assert (game.frame_rate, game.frame_skip) == (rate, 1)
    assert frames_of_a_step(game) == frames
    assert game.environment["frame_skip"] == (frames if is_split else 1)
    assert (game.environment["settings"].get("frameskip") == 1) == is_split


def test_frames_skipped_by_wrappers_count_in_the_rate():
    assert (find_game("WrappedFlicker-v0").frame_rate, find_game("WrappedFlicker-v0").frame_skip) == (20, 1)
    assert (find_game("WrappedTwice-v0").frame_rate, find_game("WrappedTwice-v0").frame_skip) == (15, 1)


def test_an_environment_is_opened_once_to_know_it():
    """Some need minutes to start."""
    Atari.opened = 0
    game = find_game("WrappedAtari-v0", game_settings={"frameskip": 1})
    assert Atari.opened == 1 and game.frame_skip == 4
    make_vector_env(game, 2, 4).close()
    assert Atari.opened == 1
    assert game.spaces[0].shape == (128, 128, 3) and game.spaces[1].n == 2
