"""The built-in manoeuvres in the built-in game, and drives of a model and a game side by side."""

import math
from itertools import pairwise

import numpy as np
import pytest
from dream.common.errors import InputError
from dream.evaluation.manoeuvres import (
    KART_MANOEUVRES,
    Manoeuvre,
    drive,
    has_kart_manoeuvres,
    kart_manoeuvres,
    read_manoeuvres,
)
from dream.play.real_env import RealEnv
from dream.play.session import PlaySession
from fakes import FakeEnv
from mode7_helpers import angle_difference, state_by_name
from player.games.mode7.env import Mode7Kart
from pretrained import PRETRAINED, PRETRAINED_FILES

NUM_STARTS = 8


class LineModel(FakeEnv):
    """A model whose frames are those of line_game.py, or differ from them by `offset` levels."""

    action_names, action_keys = ("nothing", "left", "right"), ((), ("left",), ("right",))
    fps, frame_shape, offset = 15.0, (32, 48), 0

    def reset(self, start=0):
        return self.set_state(10 * (start + 1))

    def step(self, action):
        return self.set_state(self.state + (0, -1, 1)[action])

    def set_state(self, state):
        self.state = state
        return np.full((*self.frame_shape, 3), state + self.offset, np.uint8)

    def game_state(self, start):
        return {"x": 10.0 * (start + 1)}


def line_session(tests_folder, settings=(), env=None) -> PlaySession:
    return PlaySession(env or LineModel(), real=RealEnv("line_game:Line-v1", 3, tests_folder, settings))


@pytest.fixture
def tests_folder(request):
    return str(request.path.parent)


@pytest.fixture(scope="module")
def kart_states():
    """By manoeuvre and start state of the pretrained model: the game's states after each frame."""
    game = Mode7Kart()
    game.draw = lambda: None  # only the state is wanted
    with np.load(PRETRAINED / PRETRAINED_FILES["trajectory_path"]) as file:
        truth = {name.removeprefix("truth/"): file[name] for name in file if name.startswith("truth/")}
    starts = [{name: float(values[i]) for name, values in truth.items()} for i in range(NUM_STARTS)]
    states = {}
    for manoeuvre in kart_manoeuvres(FakeKart()):
        for i, start in enumerate(starts):
            game.reset(seed=0, options={"state": start})
            infos = [{"truth": game.game_state()}, *(game.step(action)[-1] for action in manoeuvre.actions)]
            states[manoeuvre.name, i] = [state_by_name(info) for info in infos]
    return states


class FakeKart(FakeEnv):
    fps = 15.0


def degrees_turned(states) -> np.ndarray:
    """Degrees that the kart has turned by since the first state, to the right, after each frame."""
    headings = [state["heading"] for state in states]
    turns = [angle_difference(a, b) for a, b in pairwise(headings)]
    return np.degrees(np.cumsum(turns))


def count(kart_states, name, condition) -> int:
    """From how many of the start states the states of a manoeuvre meet a condition."""
    return sum(bool(condition(kart_states[name, i])) for i in range(NUM_STARTS))


def test_straight(kart_states):
    def met(states):
        turned = np.abs(degrees_turned(states)).max()
        return turned < 1e-3 and not any(state["wall"] for state in states) and states[-1]["speed"] > 0.7

    assert count(kart_states, "straight", met) == NUM_STARTS


def test_turn(kart_states):
    """A full turn within 45 pixels, the road is 68 wide; in the last second the kart looks at the road."""

    def met(states):
        turned = degrees_turned(states)
        x, y = (np.array([state[name] for state in states[27:]]) for name in ("x", "y"))
        assert np.hypot(x - x[0], y - y[0]).max() < 45 and not any(state["wall"] for state in states)
        assert abs(turned[-1] - turned[-10]) < 0.5
        return abs(turned[-1] + 360) < 15

    assert count(kart_states, "turn", met) >= 7
    assert len(kart_states["turn", 0]) == 1 + 27 + 52 + 15


def test_stop(kart_states):
    def met(states):
        fastest = max(state["speed"] for state in states)
        return fastest > 1.3 and not any(abs(state["speed"]) for state in states[-15:])

    assert count(kart_states, "stop", met) == NUM_STARTS


def test_grass(kart_states):
    """Off the road from a speed above that of the grass, and on it again, without touching the fence."""

    def met(states):
        off = [state["off_road"] > 0.5 for state in states]
        first = off.index(True)
        return states[first - 1]["speed"] > 1.1 and not any(off[-3:])

    assert not any(state["wall"] for i in range(NUM_STARTS) for state in kart_states["grass", i])
    assert count(kart_states, "grass", met) >= 6  # one start state is off the road already


def test_fence(kart_states):
    """Into the fence and, at the end, back on the road."""

    def met(states):
        hits = [state["wall"] > 0 for state in states]
        return any(hits[:50]) and not any(hits[-12:]) and states[-1]["off_road"] == 0

    assert count(kart_states, "fence", met) >= 7


def test_weave(kart_states):
    """To the left, to the right and back to the first direction."""

    def met(states):
        turned = degrees_turned(states)
        return turned.min() < -10 and turned.max() > 10 and abs(turned[-1]) < 10

    assert count(kart_states, "weave", met) >= 7


def test_lists_keep_their_seconds():
    class Fast(FakeKart):
        fps = 30.0

    slow, fast = (kart_manoeuvres(env) for env in (FakeKart(), Fast()))
    assert [each.name for each in slow] == [*KART_MANOEUVRES]
    assert all(np.array_equal(np.repeat(a.actions, 2), b.actions) for a, b in zip(slow, fast, strict=True))
    assert slow[0].actions == (1,) * 30 and set(slow[1].actions) == {0, 1, 2, 4}


def test_only_the_built_in_game_has_them():
    assert has_kart_manoeuvres(FakeKart(), "player:Mode7Kart-v0") and not has_kart_manoeuvres(
        FakeKart(), "A-v0"
    )
    assert not has_kart_manoeuvres(LineModel(), "Mode7Kart-v0")


def test_drives_of_model_and_game(tests_folder):
    session = line_session(tests_folder)
    driven = drive(session, Manoeuvre("there and back", (2, 2, 1, 0)), 1)
    assert driven.start == 1 and driven.game_frames.shape == (5, 32, 48, 3)
    assert driven.game_frames[:, 0, 0, 0].tolist() == [20, 21, 22, 21, 21]
    np.testing.assert_array_equal(driven.model_frames, driven.game_frames)
    assert drive(session, Manoeuvre("one", (1,)), 0).game_frames[:, 0, 0, 0].tolist() == [10, 9]
    # The game ends at 40; only before that a manoeuvre can be compared.
    assert drive(session, Manoeuvre("long", (2,) * 9), 2) is not None
    assert drive(session, Manoeuvre("too long", (2,) * 10), 2) is None


def test_a_game_that_cannot_be_set(tests_folder):
    """Not even after it has been driven, when a reset shows another frame than the last one."""
    session = line_session(tests_folder, ["settable=false"])
    assert [drive(session, Manoeuvre("right", (2,)), start) for start in (0, 1, 0)] == [None] * 3


def test_a_game_of_another_size(tests_folder):
    with pytest.raises(InputError, match="the game's frames have 40 x 48 pixels and the model's 32 x 48"):
        drive(line_session(tests_folder, ["height=40"]), Manoeuvre("right", (2,)), 0)


def test_key_files_are_manoeuvres(tmp_path):
    (tmp_path / "a.txt").write_text("right 2\n- 1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("left")
    (tmp_path / "b.txt").write_text("left\nup 3\n")
    assert read_manoeuvres([tmp_path / "a.txt"], LineModel()) == [Manoeuvre("a", (2, 2, 0))]
    with pytest.raises(InputError, match="two files named a"):
        read_manoeuvres([tmp_path / "a.txt", tmp_path / "other" / "a.txt"], LineModel())
    with pytest.raises(InputError, match="line 2: 'up' is neither an action"):
        read_manoeuvres([tmp_path / "b.txt"], LineModel())


def test_the_game_state_by_name():
    real = RealEnv("player:Mode7Kart-v0", 6, str(PRETRAINED.parent.parent / "ppo"))
    real.accepts_state = True
    real.reset({"x": 513.75, "y": 252.3, "heading": 0.9, "speed": 2.0})
    before = real.game_state()
    assert before["x"] == 513.75 and before["heading"] == pytest.approx(0.9)
    saved = real.get_state()
    real.step(1)
    after = real.game_state()
    moved = math.hypot(after["x"] - before["x"], after["y"] - before["y"])
    assert moved == pytest.approx(8, abs=0.2) and after["place"] > before["place"]
    real.set_state(saved)
    assert real.game_state() == {}  # the info of that frame is not saved
    real.close()
