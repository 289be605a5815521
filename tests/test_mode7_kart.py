"""Mode7Kart as an environment: interface, actions, determinism and saved states."""

import math
import subprocess
import sys
from pathlib import Path

import player  # noqa: F401 (registers the game)
import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from mode7_helpers import ACTION, angle_difference, drive, make_started_env, rollout, state_by_name
from player.games.game import DRIVING_ACTIONS
from player.games.mode7.env import BUTTONS, TRUTH_NAMES, Mode7Kart
from player.games.registry import find_game

PPO = Path(__file__).resolve().parent.parent / "ppo"


@pytest.mark.parametrize("buttons_as_actions", [False, True])
def test_is_a_valid_gymnasium_environment(buttons_as_actions):
    check_env(Mode7Kart(rivals=2, buttons_as_actions=buttons_as_actions, render_mode="rgb_array"))


def test_is_registered_with_gymnasium_and_find_game():
    env = gymnasium.make("Mode7Kart-v0", track=1)
    frame, info = env.reset(seed=0)
    assert frame.shape == (112, 256, 3) and frame.dtype == np.uint8
    assert info["truth"].shape == (len(TRUTH_NAMES),) and info["truth"].dtype == np.float32
    game = find_game("Mode7Kart-v0", track=2, rivals=1)
    env = game.make(frame_skip=2, start="line")
    assert (env.track.name, env.num_rivals, env.frame_skip) == ("Aurora Lake", 1, 2)
    assert env.action_space.n == len(game.actions) == 6


@pytest.mark.parametrize(
    "settings", [{"track": -1}, {"rivals": 13}, {"frame_skip": 0}, {"laps": 0}, {"start": "pit"}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="Mode7Kart needs"):
        Mode7Kart(**settings)


def test_imports_only_numpy_and_gymnasium():
    program = (
        f"import sys; sys.path.insert(0, {str(PPO)!r}); import player.games.mode7.env as game\n"
        "game.Mode7Kart().reset(seed=0)\n"
        "print([name for name in ('torch', 'cv2', 'pygame', 'stable_retro') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_forward_moves_along_the_heading_and_nothing_stops():
    env = make_started_env()
    before = state_by_name({"truth": env.game_state()})
    after, _ = drive(env, "forward", 30)
    direction = math.atan2(after["y"] - before["y"], after["x"] - before["x"])
    assert abs(angle_difference(before["heading"], direction)) < 0.02
    assert after["speed"] > 1.2
    assert angle_difference(before["heading"], after["heading"]) == pytest.approx(0, abs=1e-6)
    stopped, _ = drive(env, "nothing", 60)
    assert stopped["speed"] == 0
    assert drive(env, "nothing", 5)[0]["x"] == stopped["x"]


@pytest.mark.parametrize(("action", "sign"), [("forward+left", -1), ("forward+right", 1)])
def test_left_and_right_turn_the_right_way(action, sign):
    """y points down, so the heading grows in a right turn, and the kart moves to that side."""
    env = make_started_env()
    drive(env, "forward", 20)
    before = state_by_name({"truth": env.game_state()})
    after, _ = drive(env, action, 10)
    assert sign * angle_difference(before["heading"], after["heading"]) > 0.3
    sideways = (after["y"] - before["y"]) * math.cos(before["heading"])
    sideways -= (after["x"] - before["x"]) * math.sin(before["heading"])
    assert sign * sideways > 3


def test_turning_right_moves_the_picture_to_the_left():
    """In a right turn the panorama scrolls to the left."""
    env = make_started_env()
    drive(env, "forward", 20)
    before = env.frame[18:27].copy()
    drive(env, "forward+right", 2)
    after = env.frame[18:27]
    errors = {
        shift: np.abs(np.roll(before, shift, 1)[:, 70:180].astype(int) - after[:, 70:180]).mean()
        for shift in range(-60, 61)
    }
    assert min(errors, key=errors.get) < -5


@pytest.mark.parametrize("action", ["left", "right"])
def test_a_standing_kart_does_not_turn(action):
    env = make_started_env()
    before = state_by_name({"truth": env.game_state()})
    after, _ = drive(env, action, 10)
    assert (after["x"], after["y"]) == (before["x"], before["y"])
    assert angle_difference(before["heading"], after["heading"]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("action", DRIVING_ACTIONS, ids=lambda action: action.name)
def test_actions_equal_their_buttons(action):
    by_index, by_button = make_started_env(), make_started_env(buttons_as_actions=True)
    bits = np.array([button in action.buttons for button in BUTTONS], np.int8)
    for _ in range(12):
        one = by_index.step(ACTION[action.name])
        other = by_button.step(bits)
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1] == other[1]


def test_brake_hop_and_reverse():
    env = make_started_env(buttons_as_actions=True, frame_skip=1)

    def hold(*names: str) -> float:
        env.step(np.array([button in names for button in BUTTONS], np.int8))
        return env.state["speed"]

    for _ in range(60):
        rolling = hold("B")
    assert hold("Y") < rolling - 0.03
    for _ in range(80):
        speed = hold("Y")
    assert speed == -0.5
    heights = []
    for _ in range(30):
        hold("B", "R")
        heights.append(env.state["hop"])
    assert max(heights) > 1 and heights[-1] == 0  # one hop per press


def test_seed_determines_the_episode():
    actions = np.random.default_rng(0).integers(6, size=40)
    settings = {"start": "anywhere", "rivals": 2}
    one, rewards = rollout(Mode7Kart(**settings), actions, seed=3)
    same, same_rewards = rollout(Mode7Kart(**settings), actions, seed=3)
    other, _ = rollout(Mode7Kart(**settings), actions, seed=4)
    np.testing.assert_array_equal(one, same)
    assert rewards == same_rewards
    assert (one[0] != other[0]).any()


@pytest.mark.parametrize("start", ["line", "anywhere"])
@pytest.mark.parametrize("rivals", [0, 3])
def test_set_state_continues_exactly(rivals, start):
    random = np.random.default_rng(1)
    env = Mode7Kart(rivals=rivals, start=start, track=1, stall_seconds=3.0)
    rollout(env, random.integers(6, size=50), seed=5)
    saved, last = env.get_state(), env.frame.copy()
    actions = random.integers(6, size=60)
    frames, rewards = rollout(env, actions)
    next_start = env.reset()[0]  # the state contains the random generator
    again = Mode7Kart(rivals=rivals, start=start, track=1, stall_seconds=3.0)
    again.reset(seed=99)
    again.set_state(saved)
    np.testing.assert_array_equal(again.frame, last)
    frames_again, rewards_again = rollout(again, actions)
    np.testing.assert_array_equal(frames, frames_again)
    assert rewards == rewards_again
    np.testing.assert_array_equal(next_start, again.reset()[0])


def test_reset_to_a_game_state():
    env = make_started_env()
    drive(env, "forward+right", 40)
    expected = {
        name: state_by_name({"truth": env.game_state()})[name] for name in ("x", "y", "heading", "speed")
    }
    other = Mode7Kart()
    frame, info = other.reset(options={"state": expected})
    actual = state_by_name(info)
    assert {name: actual[name] for name in expected} == expected
    ground = slice(32, 80)  # without the kart: its yaw rate is not part of the game state
    np.testing.assert_array_equal(frame[ground, :100], env.frame[ground, :100])
    recorded = state_by_name({"truth": env.game_state()})  # as in a recording
    actual = state_by_name(other.reset(options={"state": recorded})[1])
    for name in ("x", "y", "heading", "speed", "progress", "lap", "place"):
        assert actual[name] == pytest.approx(recorded[name], abs=1e-4), name
    with pytest.raises(ValueError, match="unknown state"):
        other.reset(options={"state": {"colour": 1}})
    with pytest.raises(ValueError, match="must be finite"):
        other.reset(options={"state": {**recorded, "x": math.nan}})


def test_one_step_of_four_frames_equals_four_steps_of_one():
    actions = np.random.default_rng(2).integers(6, size=50)
    fours, ones = make_started_env(rivals=2, frame_skip=4), make_started_env(rivals=2, frame_skip=1)
    for action in actions:
        frame, reward, *_, info = fours.step(action)
        rewards, walls, off_road = 0.0, 0.0, 0.0
        for _ in range(4):
            single, one, *_, single_info = ones.step(action)
            rewards, walls = rewards + one, walls + state_by_name(single_info)["wall"]
            off_road += state_by_name(single_info)["off_road"] / 4
        np.testing.assert_array_equal(frame, single)
        np.testing.assert_array_equal(info["truth"][:6], single_info["truth"][:6])
        assert reward == pytest.approx(rewards)
        assert (state_by_name(info)["wall"], state_by_name(info)["off_road"]) == (walls, off_road)
