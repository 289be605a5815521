"""The built-in game: actions, reward, end of an episode, tracks, rivals, determinism and saved states."""

import math
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import player  # noqa: F401 (registers the game)
import pytest
from gymnasium.utils.env_checker import check_env
from player.games.game import DRIVING_ACTIONS
from player.games.mode7.env import BUTTONS, REWARD_PER_PIXEL, TRUTH_NAMES, Mode7Kart
from player.games.mode7.geometry import (
    KERB_WIDTH,
    OFF_ROAD,
    OFF_ROAD_WIDTH,
    ROAD_HALF_WIDTH,
    SIZE,
    WALL,
    WALL_WIDTH,
    WATER,
)
from player.games.mode7.renderer import Renderer
from player.games.mode7.rivals import rival_pose
from player.games.mode7.tracks import load_track
from player.games.registry import find_game

ACTION = {action.name: index for index, action in enumerate(DRIVING_ACTIONS)}
PPO = Path(__file__).resolve().parent.parent / "ppo"


def make_started_env(**settings) -> Mode7Kart:
    env = Mode7Kart(**settings)
    env.reset(seed=0)
    return env


def state_by_name(info: dict) -> dict:
    """Name -> value of info["truth"]."""
    return dict(zip(TRUTH_NAMES, (float(value) for value in info["truth"]), strict=True))


def drive(env: Mode7Kart, action: str, num_steps: int) -> tuple[dict, float]:
    """The game state after `num_steps` steps of one action, and the sum of their rewards."""
    total = 0.0
    for _ in range(num_steps):
        _, reward, _, _, info = env.step(ACTION[action])
        total += reward
    return state_by_name(info), total


def angle_difference(before: float, after: float) -> float:
    """after - before, in [-pi, pi)."""
    return (after - before + math.pi) % (2 * math.pi) - math.pi


def look_ahead_action(env: Mode7Kart) -> int:
    """A scripted policy that steers to the point of the center line 56 pixels ahead."""
    ahead = (env.state["sample"] + 14) % len(env.track.center)
    x, y = env.track.center[ahead]
    error = angle_difference(env.state["heading"], math.atan2(y - env.state["y"], x - env.state["x"]))
    return ACTION["forward+right" if error > 0.06 else "forward+left" if error < -0.06 else "forward"]


def state_at_the_edge(env: Mode7Kart, extra: float = 0.0, position: float = 300.0) -> dict:
    """A game state `extra` pixels outside of the off-road band, driving straight outwards."""
    sample = int(position / env.track.spacing)
    x, y = env.track.center[sample]
    outward = env.track.direction[sample] + math.pi / 2
    distance = ROAD_HALF_WIDTH + KERB_WIDTH + OFF_ROAD_WIDTH + extra
    return {
        "x": x + distance * math.cos(outward),
        "y": y + distance * math.sin(outward),
        "heading": outward,
        "speed": 1.5,
    }


# -- the interface -------------------------------------------------------------------------------------------


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
    "wrong", [{"track": -1}, {"rivals": 13}, {"frame_skip": 0}, {"laps": 0}, {"start": "pit"}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="Mode7Kart needs"):
        Mode7Kart(**wrong)


def test_imports_only_numpy_and_gymnasium():
    program = (
        f"import sys; sys.path.insert(0, {str(PPO)!r}); import player.games.mode7.env as game\n"
        "game.Mode7Kart().reset(seed=0)\n"
        "print([name for name in ('torch', 'cv2', 'pygame', 'stable_retro') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- actions -------------------------------------------------------------------------------------------------


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


# -- determinism and saved states ----------------------------------------------------------------------------


def rollout(env: Mode7Kart, actions, seed: int | None = None) -> tuple[np.ndarray, list]:
    frames, rewards = [env.reset(seed=seed)[0]] if seed is not None else [], []
    for action in actions:
        frame, reward, *_ = env.step(action)
        frames.append(frame)
        rewards.append(reward)
    return np.stack(frames), rewards


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


# -- tracks --------------------------------------------------------------------------------------------------


def test_tracks_look_different():
    pictures = [make_started_env(track=track).frame.astype(int) for track in (0, 1, 2, 3, 5)]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 3


@pytest.mark.parametrize("track", [0, 1, 2, 3, 6, 7])
def test_track_geometry(track):
    """The whole center line is road, the off-road band is inside the world, and samples are equally spaced."""
    env = Mode7Kart(track=track)
    center = env.track.center.astype(int)
    surface = np.frombuffer(env.track.surface, np.uint8).reshape(SIZE, SIZE)
    assert not np.isin(surface[center[:, 1], center[:, 0]], (OFF_ROAD, WALL, WATER)).any()
    reach = ROAD_HALF_WIDTH + KERB_WIDTH + OFF_ROAD_WIDTH
    assert center.min() > reach and center.max() < SIZE - reach
    steps = np.hypot(*np.diff(env.track.center, axis=0, append=env.track.center[:1]).T)
    np.testing.assert_allclose(steps, env.track.spacing, rtol=0.05)


@pytest.mark.parametrize("track", [0, 1, 2, 3, 5])
def test_scripted_policy_finishes_three_laps(track):
    env = Mode7Kart(track=track)
    env.reset(seed=0)
    length, total, lap_rewards, lap = env.track.length, 0.0, [], 1
    for _ in range(180 * 15):
        _, reward, terminated, truncated, info = env.step(look_ahead_action(env))
        total += reward
        if terminated or truncated:
            break
        if state_by_name(info)["lap"] > lap:
            lap = state_by_name(info)["lap"]
            lap_rewards.append(total)
            total = 0.0
    assert terminated and not truncated and lap == 3
    if state_by_name(info)["wall"] == 0 and track == 0:  # without penalties the reward is the progress
        assert lap_rewards[1] == pytest.approx(length * REWARD_PER_PIXEL, rel=0.03)


def test_crossing_the_line_backwards_is_no_lap():
    env = make_started_env()
    env.state["heading"] += math.pi
    after, earned = drive(env, "forward", 60)
    assert earned < 0 and after["lap"] == 1 and after["progress"] < -50


# -- off the road, into walls and water ----------------------------------------------------------------------


def test_off_road_is_slow_and_punished():
    env = make_started_env()
    for _ in range(60):
        env.step(look_ahead_action(env))
    on_road = env.state["speed"]
    assert on_road > 1.8
    sample = env.state["sample"]
    direction = float(env.track.direction[sample])
    x, y = env.track.center[sample]
    side = ROAD_HALF_WIDTH + KERB_WIDTH + 18
    state = {"x": x - side * math.sin(direction), "y": y + side * math.cos(direction), "heading": direction}
    env.reset(options={"state": {**state, "speed": on_road}})
    after, earned = drive(env, "forward", 8)
    assert after["off_road"] == 1.0
    assert after["speed"] < 0.7 * on_road
    assert earned < 8 * 4 * on_road * REWARD_PER_PIXEL * 0.9


@pytest.mark.parametrize("track", [0, 2])
def test_wall_is_punished_and_stops_the_kart(track):
    env = make_started_env(track=track)
    env.reset(options={"state": state_at_the_edge(env, extra=-6)})
    walls, earned = 0.0, 0.0
    for _ in range(60):
        _, reward, *_, info = env.step(ACTION["forward"])
        actual = state_by_name(info)
        walls, earned = walls + actual["wall"], earned + reward
        assert env.track.surface[int(actual["y"]) * SIZE + int(actual["x"])] != WALL
    assert walls >= 1 and earned < -walls * 0.5


@pytest.mark.parametrize("track", [1, 3])
def test_water_returns_the_kart_to_the_road(track):
    env = make_started_env(track=track)
    env.reset(options={"state": state_at_the_edge(env, extra=-3)})
    actual, earned = drive(env, "forward", 1)
    assert actual["wall"] == 1 and earned < -4
    actual, _ = drive(env, "forward", 13)  # under water for 50 frames
    assert actual["speed"] < 0.5 and actual["wall"] == 0
    distance = np.hypot(*(env.track.center - (actual["x"], actual["y"])).T).min()
    assert distance < 4
    direction = float(env.track.direction[env.state["sample"]])
    assert abs(angle_difference(direction, actual["heading"])) < 0.1  # the kart faces along the track


@pytest.mark.parametrize("track", [0, 1])
def test_kart_stays_in_the_world(track):
    """With random buttons, hops included, x and y stay in the world and all values stay finite."""
    env = Mode7Kart(track=track, start="anywhere", buttons_as_actions=True, rivals=3)
    random = np.random.default_rng(3)
    for seed in range(6):
        env.reset(seed=seed)
        for _ in range(60):
            held = random.random(len(BUTTONS)) < 0.4
            for _ in range(3):
                *_, info = env.step(held.astype(np.int8))
            assert np.isfinite(info["truth"]).all()
            assert info["truth"][:2].min() >= 0 and info["truth"][:2].max() < SIZE
    assert WALL_WIDTH > 3  # wider than the largest move in a frame


# -- end of an episode ---------------------------------------------------------------------------------------


def test_time_limit_truncates():
    env = Mode7Kart(max_seconds=2.0)
    env.reset(seed=0)
    ends = [env.step(ACTION["forward"])[2:4] for _ in range(30)]
    assert ends == [(False, False)] * 29 + [(False, True)]


def test_stalled_kart_is_truncated():
    env = Mode7Kart(stall_seconds=1.0)
    env.reset(seed=0)
    ends = [env.step(ACTION["nothing"])[2:4] for _ in range(15)]
    assert ends == [(False, False)] * 14 + [(False, True)]
    env.reset(seed=0)
    assert not any(env.step(look_ahead_action(env))[3] for _ in range(100))  # not with progress
    no_limit = make_started_env()
    assert not any(no_limit.step(ACTION["nothing"])[3] for _ in range(100))  # default: never


# -- reward --------------------------------------------------------------------------------------------------


def test_reward_follows_progress():
    env = make_started_env()
    _, earned = drive(env, "forward", 30)
    assert earned == pytest.approx(REWARD_PER_PIXEL * (env.state["progress"] + 24), abs=0.5) and earned > 5
    env.state["heading"] += math.pi
    assert drive(env, "forward", 30)[1] < -2


# -- rivals --------------------------------------------------------------------------------------------------


def test_rivals_drive_and_are_drawn():
    alone, together = make_started_env(), make_started_env(rivals=3)
    assert (alone.frame != together.frame).sum() > 200
    before = [rival[0] for rival in together.state["rivals"]]
    drive(together, "nothing", 15)
    gained = np.array([rival[0] for rival in together.state["rivals"]]) - before
    assert (gained > 60).all() and (gained < 150).all()


def test_karts_push_each_other_on_contact():
    env = make_started_env(rivals=1)
    rival = env.state["rivals"][0]
    x, y, heading = rival_pose(rival, env.track, 10.0 * math.sin(rival[0] / 90.0))
    behind = {
        "x": x - 9 * math.cos(heading),
        "y": y - 9 * math.sin(heading),
        "heading": heading,
        "speed": 2.0,
    }
    state = env.get_state()
    env.set_game_state(behind)
    env.step(ACTION["forward"])
    assert env.state["rivals"][0][3] > 0.3  # the kart in front is pushed forward
    assert env.state["speed"] < 1.9 and env.state["slip"] != 0  # the kart behind is slowed
    env.set_state(state)
    env.step(ACTION["forward"])
    assert env.state["rivals"][0][3] == 0


def test_ground_moves_smoothly():
    """Moving by 2 pixels changes the picture by more than twice the squared error of moving by 1 pixel.

    With hard edges, which jump by whole pixels, the ratio was 1.9, and even the exact perspective warp of one frame to
    the next reached only 25 dB: a limit for every world model. With interpolated edges the ratio is larger.
    """
    track = load_track(0)
    renderer = Renderer(track)

    def draw(index: int, distance: float) -> np.ndarray:
        heading = track.direction[index] + 0.3
        x, y = track.center[index] + distance * np.array([np.cos(heading + 0.5), np.sin(heading + 0.5)])
        return renderer.draw(x, y, heading, 0, 0, "LAP 1/3", 1.0, []).astype(float)

    ratios = []
    for index in range(0, len(track.center), 40):
        far, near = (np.square(draw(index, 0) - draw(index, distance)).mean() for distance in (2, 1))
        ratios.append(far / near)
    assert np.mean(ratios) > 2.3
