"""The real game next to the world model, with a small Gymnasium environment."""

import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from dream.common.errors import InputError
from dream.common.game_info import read_environment
from dream.play.gymnasium_open import parse_setting
from dream.play.real_env import RealEnv
from session_helpers import make_session
from small import open_small_world_model, save_small_world_model


@pytest.fixture
def env(tmp_path):
    return open_small_world_model(**save_small_world_model(tmp_path))


GAME = """
    import gymnasium
    import numpy as np

    class Line(gymnasium.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 15}
        action_space = gymnasium.spaces.Discrete(3)
        observation_space = gymnasium.spaces.Box(0, 255, (32, 48, 3), np.uint8)

        def __init__(self, render_mode=None, wide=0):
            self.render_mode, self.wide = render_mode, wide

        def reset(self, seed=None, options=None):
            super().reset(seed=seed)
            self.x = (options or {}).get("state", {"x": 9})["x"]
            return self.render(), {}

        def step(self, action):
            self.x += (0, -1, 1)[action] * (1 + self.wide)
            return self.render(), 0.0, self.x >= 40, False, {}

        def render(self):
            return np.full((32, 48, 3), self.x, np.uint8)

        def get_state(self):
            return self.x

        def set_state(self, state):
            self.x = state

    class Blind(Line):
        def render(self):
            return None

    gymnasium.register("Line-v0", Line)
    gymnasium.register("Blind-v0", Blind)
    gymnasium.register("Words-v0", lambda render_mode=None: gymnasium.wrappers.TransformObservation(
        Line(render_mode), lambda observation: float(observation[0, 0, 0]), gymnasium.spaces.Box(0, 255, ())))
"""


@pytest.fixture
def game(tmp_path, monkeypatch):
    """A module `a_game` in a folder that is not in sys.path."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "a_game.py").write_text(textwrap.dedent(GAME))
    (folder / "needy_game.py").write_text("import a_physics_engine.core")
    (folder / "broken_game.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield str(folder)
    sys.modules.pop("a_game", None)


def with_game_states(env):
    env.start_states.game_states = {"x": np.array([5, 38, np.nan], np.float32)}
    return env


def test_the_real_game_follows_the_session(env, game):
    """The same start state, the same actions, the same rewinds."""
    session = make_session(with_game_states(env), [2, 2, 1], real=RealEnv("a_game:Line-v0", 3, game))
    assert session.real.in_sync and session.real.frame_u8[0, 0, 0] == 5
    positions = []
    for _ in range(3):
        session.step()
        positions.append(int(session.real.frame_u8[0, 0, 0]))
    assert positions == [6, 7, 6]
    session.rewind()
    session.rewind()
    assert session.real.frame_u8[0, 0, 0] == 6 and session.real.in_sync
    session.step()
    assert session.real.frame_u8[0, 0, 0] == 7
    session.real.close()


def test_a_game_that_ignores_the_state_is_not_in_sync(env, game):
    """Compared with a game in another state, a good world model would look wrong."""
    real = RealEnv("a_game:Line-v0", 3, game)
    reset = real.env.unwrapped.reset
    real.env.unwrapped.reset = lambda seed=None, options=None: reset(seed=seed)
    session = make_session(with_game_states(env), [2, 2], real=real)
    assert not real.in_sync and real.label == "game (not in sync)" and real.frame_u8[0, 0, 0] == 9
    session.step()
    assert real.frame_u8[0, 0, 0] == 10


@pytest.mark.parametrize("failure", ["step", "picture", "state"])
def test_an_exception_of_the_game_stops_the_game_alone(env, game, failure):
    real = RealEnv("a_game:Line-v0", 3, game)
    inner = real.env.unwrapped
    session = make_session(with_game_states(env), [2] * 5, real=real)
    session.step()
    if failure == "step":
        inner.step = lambda action: 1 / 0
    elif failure == "picture":
        inner.render = lambda: "no picture"
    else:
        inner.reset = lambda seed=None, options=None: {}["nothing"]
        session.restart()
    before = real.frame_u8.copy()
    for _ in range(2):
        session.step()
    assert real.label.startswith("game (stopped: ") and not real.in_sync
    np.testing.assert_array_equal(real.frame_u8, before)
    if failure == "step":
        del inner.step
        session.restart()
        assert real.label == "game"


def test_a_game_without_frames_is_refused(game):
    with pytest.raises(InputError, match="it draws nothing"):
        RealEnv("a_game:Blind-v0", 3, game)


def test_a_game_that_is_not_in_sync_says_so(env, game):
    session = make_session(
        with_game_states(env), [2, 2, 2], real=RealEnv("a_game:Line-v0", 3, game, ["wide=1"])
    )
    session.change_start(1)
    assert session.real.in_sync and session.real.frame_u8[0, 0, 0] == 38
    session.step()  # the game ends and resets, the world model goes on
    assert not session.real.in_sync and session.real.frame_u8[0, 0, 0] == 9
    session.rewind()
    assert session.real.in_sync and session.real.frame_u8[0, 0, 0] == 38
    session.change_start(1)  # a start state without game state
    assert not session.real.in_sync and session.real.frame_u8[0, 0, 0] == 9
    words = RealEnv("a_game:Words-v0", 3, game)  # its observation is no frame, so it renders one
    assert words.frame_u8.shape == (32, 48, 3)
    del type(words.env.unwrapped).get_state
    words.reset({"x": 5.0})
    words.set_state(words.get_state())  # it cannot restore a state
    assert not words.in_sync


@pytest.mark.parametrize(
    ("name", "num_actions", "path", "settings", "output"),
    [
        (
            "nowhere:Line-v0",
            3,
            None,
            [],
            "there is no package nowhere here: name the folder .* with --real-path",
        ),
        (
            "needy_game:Line-v0",
            3,
            "game",
            [],
            "it needs the package a_physics_engine: pip install a_physics_engine",
        ),
        ("broken_game:Line-v0", 3, "game", [], r"cannot be imported \(libGL\.so\.1"),
        ("a_game:Line-v0", 3, "no folder", [], "is not a folder"),
        ("a_game:Other-v0", 3, "game", [], "cannot be played"),
        ("a_game:Line-v0", 3, "game", ["colour=red"], "cannot be played"),
        ("a_game:Line-v0", 6, "game", [], "the world model has 6 actions"),
        ("a_game:Line-v0", 3, "game", ["wide"], "NAME=VALUE"),
    ],
)
def test_a_game_that_cannot_be_played_is_refused(game, name, num_actions, path, settings, output):
    with pytest.raises(InputError, match=output) as caught:
        RealEnv(name, num_actions, game if path == "game" else path, settings)
    assert "\n" not in str(caught.value)


def test_settings_are_json_or_strings():
    assert [parse_setting(words) for words in ("track=1", "start=line", "flag=true", 'x="1"')] == [
        ("track", 1),
        ("start", "line"),
        ("flag", True),
        ("x", "1"),
    ]


ODD = str(Path(__file__).parent)


def recorded_as(name, **changes):
    return {
        "game": name,
        "settings": {},
        "actions": [0, 1, 2],
        "frame_skip": 1,
        "max_frames": 1,
        "crop": None,
        **changes,
    }


@pytest.mark.parametrize(
    "odd", ["gray", "floats", "int64", "rgba", "list", "channels first", "grows", "observation dict"]
)
def test_pictures_of_other_kinds_are_converted(odd):
    """As in the recording, but not resized."""
    real = RealEnv("odd_environments:Odd-v0", 3, ODD, [f"odd={odd}"])
    for t in range(12):
        bar = np.zeros(64, bool)
        bar[2 * t : 2 * t + 8] = True
        np.testing.assert_array_equal(real.frame_u8[5, :, 0] > 100, bar)
        assert real.frame_u8.shape == (64, 64, 3) and real.frame_u8.dtype == np.uint8
        real.step(t % 3)
    assert not real.error
    real.close()


def test_actions_may_begin_at_another_number():
    real = RealEnv("odd_environments:Odd-v0", 3, ODD, ["odd=start"])
    real.step(0)
    assert not real.error and real.actions == [1, 2, 3]
    real.close()


def test_the_game_is_made_and_stepped_as_it_was_recorded():
    """The same frames as in ppo/, where the recording says how: settings, frame skip, maximum of frames, actions."""
    from player.games.registry import find_game

    game = find_game("odd_environments:OddFlicker-v0", game_settings={"period": 2}, actions=None)
    env = game.make(frame_skip=game.frame_skip)
    expected = [env.reset(seed=0)[0], *(env.step(0)[0] for _ in range(5))]
    env.close()
    environment = read_environment(json.loads(json.dumps(game.recording_meta([], [], 0))))
    real = RealEnv("odd_environments:OddFlicker-v0", 2, ODD, recorded=environment)
    for frame in expected:
        np.testing.assert_array_equal(real.frame_u8, frame)  # 64 x 256 pixels in both
        real.step(0)
    real.close()
    # The settings of the user, and another game, come first.
    real = RealEnv("odd_environments:OddFlicker-v0", 2, ODD, ["period=3"], environment)
    assert real.env.unwrapped.period == 3 and real.frame_skip == 4
    real.close()
    real = RealEnv("odd_environments:OddFlicker-v0", 2, ODD, recorded={**environment, "game": "Other-v0"})
    assert real.env.unwrapped.period == 4 and real.frame_skip == 1
    real.close()


def test_some_of_the_actions_were_recorded():
    name = "odd_environments:Odd-v0"
    real = RealEnv(name, 2, ODD, recorded=recorded_as(name, actions=[2, 0]))
    real.step(0)
    assert real.actions == [2, 0] and not real.error
    real.close()
    with pytest.raises(InputError, match="the world model has 2 actions"):
        RealEnv(name, 2, ODD, recorded=recorded_as(name, actions=[2, 7]))


@pytest.mark.parametrize(
    "changes",
    [{"frame_skip": 0}, {"frame_skip": "4"}, {"max_frames": 10**9}, {"actions": ["0"]}, {"settings": []}, {"crop": [1]},
     {"settings": {"x": "x" * 20_000}}, {"actions": None}],
)  # fmt: skip
def test_a_damaged_description_of_the_environment_is_left_out(changes):
    assert read_environment({"game": "A-v0", "environment": recorded_as("A-v0")})
    assert read_environment({"game": "A-v0", "environment": recorded_as("A-v0", **changes)}) == {}
    assert read_environment({"game": 5, "environment": {}}) == read_environment({"environment": 5}) == {}
