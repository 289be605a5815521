"""Environments that declare less than they do, end at once, draw black on black, or cannot be imported."""

import gymnasium
import numpy as np
import pytest
from player.common.errors import InputError
from player.games.registry import find_game


class Box(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    scale, ends = 250, False

    def __init__(self, render_mode=None):
        self.render_mode, self.t = render_mode, 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(2, np.float32), 0.0, self.ends, False, {}

    def render(self):
        picture = np.zeros((32, 32, 3), np.uint8)
        picture[:, self.t % 32] = self.scale
        return picture


@pytest.fixture
def game_of():
    def make(**changes):
        gymnasium.registry.pop("OddDeclaration-v0", None)
        gymnasium.register("OddDeclaration-v0", entry_point=type("Changed", (Box,), changes))
        return find_game("OddDeclaration-v0")

    yield make
    gymnasium.registry.pop("OddDeclaration-v0", None)


@pytest.mark.parametrize("metadata", [{}, {"render.modes": ["rgb_array"], "video.frames_per_second": 50}])
def test_pictures_of_an_environment_that_declares_no_render_modes_are_used(game_of, metadata):
    env = game_of(metadata=metadata).make(frame_skip=1)
    assert env.reset(seed=0)[0].max() == 250
    env.close()


MODES = {"render_modes": ["rgb_array"], "render_fps": 30}


def test_episodes_of_one_step_are_noted(game_of):
    assert any("ends after one step" in note for note in game_of(metadata=MODES, ends=True).notes)
    assert not any("ends after one step" in note for note in game_of(metadata=MODES).notes)


def test_black_on_black_is_refused(game_of):
    with pytest.raises(InputError, match="only the values 0 and 1 of 255"):
        game_of(metadata=MODES, scale=1)


def test_a_module_that_parses_arguments_at_import(tmp_path, monkeypatch, capsys):
    (tmp_path / "parses_at_import.py").write_text(
        "import sys\nprint('usage', file=sys.stderr)\nsys.exit(2)\n"
    )
    with pytest.raises(InputError, match=r"fails: usage"):
        find_game("parses_at_import:Odd-v0", game_path=str(tmp_path))
    assert capsys.readouterr().err == ""
