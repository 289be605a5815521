"""Frame skip, frame rate and flicker of a game: what is chosen, what the user can change, what the recording says."""

import json

import numpy as np
import pytest
import record_trajectories
from dream.data.trajectories import open_trajectories
from odd_environments import Flicker
from player.common.errors import InputError
from player.games.flicker import FrameMaximum, flicker_period
from player.games.registry import find_game

pytest.importorskip("cv2")
ODD, FLICKER, TURNS = (f"odd_environments:Odd{name}-v0" for name in ("", "Flicker", "Turns"))


def frames_of(game, num_steps):
    """The frame after the reset and after each step, uint8 (num_steps + 1, H, W, 3)."""
    env = game.make(frame_skip=game.frame_skip)
    frames = [env.reset(seed=0)[0], *(env.step(0)[0] for _ in range(num_steps))]
    env.close()
    return np.stack(frames)


def squares(frame) -> int:
    """How many of Flicker's squares a frame shows."""
    return sum(int(frame[32, place * 32 + 8].max() == 200) for place in range(4))


@pytest.mark.parametrize(("period", "frame_skip"), [(2, None), (3, None), (4, None), (2, 3), (4, 2), (4, 8)])
def test_all_objects_that_are_drawn_in_turn_are_seen(period, frame_skip, capsys):
    game = find_game(FLICKER, game_settings={"period": period}, frame_skip=frame_skip)
    assert game.frame_skip == (frame_skip or 4) and game.max_frames == period
    assert f"the maximum of {period} frames, against flicker" in game.describe()
    steps = -(-period // game.frame_skip)  # after so many steps, a whole period has been drawn
    assert {squares(frame) for frame in frames_of(game, 8)[steps:]} == {period}


def test_without_the_maximum_one_of_four_is_seen():
    game = find_game(FLICKER, max_frames=1)
    assert game.max_frames == 1 and {squares(frame) for frame in frames_of(game, 8)} == {1}
    game = find_game(FLICKER, max_frames=2)  # as in Atari preprocessing
    assert {squares(frame) for frame in frames_of(game, 8)[1:]} == {2}


def test_nothing_is_merged_where_it_is_not_needed():
    assert find_game(FLICKER, frame_skip=1).max_frames == 1  # every frame is recorded anyway
    assert find_game(ODD).max_frames == 1  # a bar that moves
    assert find_game("CartPole-v1").max_frames == 1
    # Four turns to the left repeat the picture, in a game whose steps are turns.
    assert find_game(TURNS, frame_skip=4).max_frames == 1


def test_flicker_period_counts_pixels_that_repeat():
    env = Flicker(period=3)
    frames = [env.render()]
    for _ in range(15):
        env.step(0)
        frames.append(env.render())
    assert flicker_period(frames) == 3 and flicker_period(frames[:11]) == 1
    assert flicker_period([frames[0]] * 16) == 1
    fast = [np.roll(frames[0], 5 * i, axis=1) for i in range(16)]
    assert flicker_period(fast) == 1
    single = [np.zeros((64, 64, 3), np.uint8) for _ in range(16)]
    for i in range(0, 16, 2):
        single[i][5, 5] = 9
    assert flicker_period(single) == 1  # one pixel, such as a cursor
    for i in range(0, 16, 2):
        single[i][5, 5:10] = 9
    assert flicker_period(single) == 2


def test_one_frame_at_a_time_gives_the_same_pictures():
    """In the window, where a person is recorded, every frame is shown; at a decision it must be the same picture."""
    game = find_game(FLICKER)
    fours = frames_of(game, 6)
    env = game.make(frame_skip=1)
    ones = [env.reset(seed=0)[0], *(env.step(0)[0] for _ in range(24))]
    env.close()
    np.testing.assert_array_equal(np.stack(ones)[::4], fours)


def test_frame_maximum_forgets():
    maximum = FrameMaximum(2)
    frames = [np.full((1, 1, 3), value, np.uint8) for value in (9, 1, 2)]
    assert [maximum.push(frame).max() for frame in frames] == [9, 9, 2]
    maximum.clear()
    assert maximum.push(frames[1]).max() == 1


@pytest.mark.parametrize(
    ("game", "settings", "rate", "skip", "reason"),
    [
        (ODD, {}, 60, 4, ""),
        (ODD, {"odd": "10 per second"}, 10, 1, "draws 10 frames per second"),
        (ODD, {"odd": "no rate"}, 30, 1, "declares no frame rate"),
        (ODD, {"odd": "strange rate"}, 30, 1, "declares no frame rate"),
        (ODD, {"odd": "metadata skip"}, 60, 1, "runs 3 frames already"),
        (ODD, {"odd": "metadata no skip"}, 60, 1, "declares that each step is a decision"),
        (ODD, {"odd": "attribute skip"}, 60, 1, "runs 5 frames already"),
        (TURNS, {}, 10, 1, "draws 10 frames per second"),
        (TURNS, {"rate": 15}, 15, 1, "draws 15 frames per second"),
        (TURNS, {"rate": 16}, 16, 4, ""),
        ("FrozenLake-v1", {}, 4, 1, "its observation is a number"),
        ("player:Mode7Kart-v0", {}, 15, 1, "runs 4 frames already"),
        ("player:Mode7Kart-v0", {"frame_skip": 1}, 60, 4, ""),
    ],
)
def test_frame_skip_depends_on_the_game(game, settings, rate, skip, reason):
    found = find_game(game, game_settings=settings)
    assert (found.frame_rate, found.frame_skip) == (rate, skip)
    assert ("chosen: frame skip" in found.describe()) == bool(reason) and reason in found.describe()
    asked = find_game(game, game_settings=settings, frame_skip=3)
    assert asked.frame_skip == 3 and ("although" in asked.describe()) == bool(reason)


def record(tmp_path, *options):
    """Records 40 steps; returns the recording and its meta."""
    path = tmp_path / "a.npz"
    path.unlink(missing_ok=True)
    flags = ["--policy", "random", "--frames", 40, "--n-envs", 2, "--output", path, *options]
    record_trajectories.main(record_trajectories.parse_args([*map(str, flags)]))
    with np.load(path, allow_pickle=False) as arrays:
        return open_trajectories(path), json.loads(str(arrays["meta"]))


def test_the_recording_says_how_it_was_made(tmp_path, capsys):
    data, meta = record(tmp_path, "--game", FLICKER, "--game-settings", "period=2")
    assert data.fps == 15 and meta["frame_skip"] == 4 and meta["max_frames"] == 2
    assert meta["game_settings"] == {"period": 2}
    assert meta["environment"] == {
        "settings": {"period": 2},
        "actions": [0, 1],
        "frame_skip": 4,
        "max_frames": 2,
        "crop": None,
        "frame_size": [64, 256],
    }
    assert squares(data.frames[0, 5].transpose(1, 2, 0)) == 2
    assert "60 frames per second, frame skip 4: 15 steps per second" in capsys.readouterr().out
    data, meta = record(tmp_path, "--game", ODD, "--game-settings", "odd=start", "--max-frames", 3)
    assert meta["environment"]["actions"] == [1, 2, 3] and meta["max_frames"] == 3
    assert set(np.unique(data.actions)) <= {0, 1, 2}


def test_actions_without_effect_are_reported(tmp_path, capsys):
    record(tmp_path, "--game", TURNS, "--frames", 16)
    assert "the picture never changed after 2 " not in capsys.readouterr().err  # used too rarely to say
    record(tmp_path, "--game", TURNS, "--frames", 400)
    assert "warning: the picture never changed after 2 (" in capsys.readouterr().err
    with pytest.raises(InputError, match="never changed in 398 steps"):  # four turns to the left: nothing
        record(tmp_path, "--game", TURNS, "--frames", 400, "--frame-skip", 4)
    assert "frame skip 4 although it draws 10 frames per second" in capsys.readouterr().out


def test_actions_that_never_change_anything_are_reported(tmp_path, capsys):
    record(tmp_path, "--game", ODD, "--frames", 400)  # the bar moves whatever the action
    assert "warning: the actions never change the picture" in capsys.readouterr().err
    with pytest.raises(InputError, match="the picture never changed in 360 steps: nothing can be learned"):
        record(tmp_path, "--game", ODD, "--frames", 400, "--game-settings", "odd=still")
    assert (tmp_path / "a.npz").exists()  # kept nevertheless
    record(tmp_path, "--game", "CartPole-v1", "--frames", 400)
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--game-settings", "nothing"], "expected NAME=VALUE"),
        (["--game-settings", "a b=1"], "expected NAME=VALUE"),
        (["--max-frames", "0"], "must be from 1"),
        (["--max-frames", "17"], "must be from 1"),
        (["--frame-skip", "0"], "must be from 1"),
        (["--game", "Mode7Kart-v0", "--max-frames", "2"], "--max-frames does not apply"),
        (["--game", "Mode7Kart-v0", "--game-settings", "laps=2"], "--game-settings does not apply"),
    ],
)
def test_invalid_options_are_refused(capsys, options, message):
    with pytest.raises(SystemExit):
        record_trajectories.parse_args(["--frames", "9", "--output", "a.npz", "--game", ODD, *options])
    assert message in capsys.readouterr().err


def test_game_settings_have_types():
    args = record_trajectories.parse_args(
        ["--frames", "9", "--output", "a.npz", "--game", ODD, "--game-settings", "a=1", "b=0.5", "c=true", "d=None",
         "e=text", "--game-settings", "f=[1, 2]", 'g="1"']
    )  # fmt: skip
    assert dict(args.game_settings) == {
        "a": 1, "b": 0.5, "c": True, "d": None, "e": "text", "f": [1, 2], "g": "1"
    }  # fmt: skip


def test_unknown_settings_are_refused():
    with pytest.raises(InputError, match="has no colour; it has odd, skip") as caught:
        find_game(ODD, game_settings={"colour": 3})
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="--game-settings is for Gymnasium environments"):
        find_game("Airstriker-Genesis-v0", game_settings={"colour": 3})
