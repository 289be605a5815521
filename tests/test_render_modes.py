"""Environments that refuse render modes which they do not have, as those made from Gymnasium's template do."""

import json

import numpy as np
import pytest
from dream.common.errors import InputError as DreamInputError
from dream.common.game_info import read_environment
from dream.play.gymnasium_open import parse_setting
from dream.play.real_env import RealEnv
from odd_environments import TEMPLATE_MODES
from player.common.errors import InputError
from player.games import cli
from player.games.registry import find_game

pytest.importorskip("cv2")
NAMES = [f"odd_environments:Template{mode}{made}-v0" for mode in TEMPLATE_MODES for made in ("", "Function")]


@pytest.mark.parametrize("name", [*NAMES, "odd_environments:TemplateWithoutMode-v0"])
def test_what_ppo_records_is_played_next_to_the_model(name):
    """Pictures are those drawn, or else the observations."""
    game = find_game(name)
    env = game.make(frame_skip=game.frame_skip)
    frames = [env.reset(seed=0)[0], *(env.step(0)[0] for _ in range(3))]
    env.close()
    assert game.frame_skip == 4
    for i, frame in enumerate(frames):
        assert np.flatnonzero(frame[0, :, 0])[[0, -1]].tolist() == [16 * i, 16 * i + 15]  # of 128 pixels
    recorded = read_environment(json.loads(json.dumps(game.recording_meta([], [], 0))))
    for environment, pixels in ((recorded, 16), (None, 2)):
        real = RealEnv(name, 3, recorded=environment)
        for i in range(4):
            left = np.flatnonzero(real.frame_u8[0, :, 0])[0]
            assert left == pixels * i, real.error
            real.step(0)
        assert not real.error
        real.close()


def test_the_first_problem_is_reported():
    name = "odd_environments:Odd-v0"
    with pytest.raises(InputError, match="has no colour"):
        find_game(name, game_settings={"colour": 1})
    with pytest.raises(DreamInputError, match="unexpected keyword argument 'colour'"):
        RealEnv(name, 3, settings=["colour=1"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("True", True), ("False", False), ("None", None), ("true", True), ("null", None), ("0.5", 0.5), ("x", "x"),
     ("[" * 100_000, "[" * 100_000), ("9" * 5000, "9" * 5000), ('"False"', "False")],
)  # fmt: skip
def test_settings_are_read_equally_on_both_sides(text, value):
    assert (
        parse_setting(f"continuous={text}") == cli.game_setting(f"continuous={text}") == ("continuous", value)
    )
