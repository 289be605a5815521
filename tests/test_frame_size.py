"""frame_size.py: large pictures are scaled down by default, in all recorders and in the recording's meta."""

import json

import cv2
import numpy as np
import pytest
import record_trajectories
import view_mario_kart_env
from dream.common.game_info import read_environment
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError
from player.common.frame_size import (
    MAX_KEPT_PIXELS,
    MAX_PIXELS,
    choose_frame_size,
    choose_turn_size,
    describe_frame_size,
    fit_frame,
    resolve_frame_size,
)
from player.games.registry import find_game
from player.window.controllers import GameSession

CART_POLE = "CartPole-v1"  # 400 x 600


@pytest.mark.parametrize(
    ("picture", "frame"),
    [((400, 600), (128, 192)), ((480, 640), (144, 192)), ((1080, 1920), (128, 224)), ((256, 256), (176, 176)),
     ((224, 320), (144, 208)), ((210, 160), (210, 160)), ((112, 256), (112, 256)), ((96, 96), (96, 96)),
     ((10, 10), (160, 160)), ((64, 64), (128, 128))],
)  # fmt: skip
def test_default_sizes(picture, frame):
    assert choose_frame_size(*picture) == frame


@pytest.mark.parametrize(
    ("picture", "frame"),
    [((256, 256), (64, 64)), ((256, 768), (32, 96)), ((350, 550), (70, 110)), ((160, 160), None),
     ((401, 601), None)],
)  # fmt: skip
def test_tiles_of_turn_based_games_stay_sharp(picture, frame):
    assert choose_turn_size(*picture) == frame
    assert resolve_frame_size(None, *picture, is_turn_based=True) == (frame or choose_frame_size(*picture))
    assert resolve_frame_size((48, 48), *picture, is_turn_based=True) == (48, 48)


def test_sizes_are_small_and_keep_the_aspect_ratio():
    for height in range(100, 1200, 37):
        for width in range(height // 2, 3 * height, 53):
            rows, columns = choose_frame_size(height, width)
            if height * width <= MAX_KEPT_PIXELS:
                assert rows % height == columns % width == 0
            else:
                assert 16_000 <= rows * columns <= MAX_PIXELS and rows % 16 == columns % 16 == 0
                assert abs(np.log(rows * width / (columns * height))) < 0.06, (height, width)


def test_a_picture_is_averaged_and_a_thin_object_survives():
    picture = np.zeros((400, 600, 3), np.uint8)
    picture[200:204, 300:306] = 255  # thinner than two new pixels
    frame = fit_frame(picture, (128, 192))
    assert frame.shape == (128, 192, 3) and frame.max() > 100
    assert frame.mean() == pytest.approx(picture.mean(), rel=0.05)
    ball = np.zeros((210, 160, 3), np.uint8)
    ball[100:104, 80:82] = 200
    assert fit_frame(ball, choose_frame_size(210, 160)) is ball
    cells = fit_frame(np.arange(300, dtype=np.uint8).reshape(10, 10, 3), (160, 160))
    assert (cells.reshape(10, 16, 10, 16, 3) == cells[::16, ::16][:, None, :, None]).all()


def test_what_is_done_is_said():
    expected = "frames of 400 x 600 are scaled to 128 x 192 (--frame-size 400 600 keeps them)"
    assert describe_frame_size(400, 600, (128, 192)) == expected and expected in find_game(CART_POLE).notes
    assert describe_frame_size(112, 256, (112, 256)) == "frames keep the size of the game, 112 x 256"
    assert describe_frame_size(10, 10, (160, 160)) == "frames of 10 x 10 are enlarged to 160 x 160"


@pytest.mark.parametrize("size", [None, (400, 600), (64, 96)])
def test_frames_and_meta_of_a_recording(tmp_path, size, capsys):
    flags = ["--game", CART_POLE, "--policy", "random", "--frames", 10, "--n-envs", 1,
             "--output", tmp_path / "a.npz"]  # fmt: skip
    flags += ["--frame-size", *size] if size else []
    record_trajectories.main(record_trajectories.parse_args([*map(str, flags)]))
    data, expected = open_trajectories(tmp_path / "a.npz"), size or (128, 192)
    assert data.frames.shape[3:] == expected
    assert ("are scaled to" in capsys.readouterr().out) == (size != (400, 600))
    assert json.loads(json.dumps(data.meta))["environment"]["frame_size"] == list(expected)
    assert read_environment(data.meta)["frame_size"] == list(expected)


def test_crop_comes_before_the_scaling():
    game = find_game(CART_POLE, crop=(100, 150, 400, 200))
    env = game.make(frame_skip=1)
    frame, _ = env.reset(seed=0)
    cropped = env.game.render()[150:350, 100:500]
    env.close()
    assert frame.shape == (112, 224, 3) and game.environment["frame_size"] == [112, 224]
    np.testing.assert_array_equal(frame, cv2.resize(cropped, (224, 112), interpolation=cv2.INTER_AREA))


def test_who_only_plays_sees_the_whole_picture(monkeypatch):
    """The window shows what the game draws; what a person records is what is shown."""
    shapes = []
    monkeypatch.setattr(
        view_mario_kart_env, "run_headless", lambda session, *_: shapes.append(session.frame_u8.shape)
    )
    view_mario_kart_env.main(view_mario_kart_env.parse_args(["--game", CART_POLE, "--headless"]))
    session = GameSession(CART_POLE)
    shapes.append(session.frame_u8.shape)
    session.env.close()
    assert shapes == [(400, 600, 3), (128, 192, 3)]


def test_invalid_sizes_are_refused(capsys):
    with pytest.raises(SystemExit):
        record_trajectories.parse_args(["--game", CART_POLE, "--frame-size", "8", "900"])
    assert "8: expected HEIGHT WIDTH" in capsys.readouterr().err


@pytest.mark.emulator
def test_emulator_frames(emulator):
    game = find_game("Airstriker-Genesis-v0")
    env = game.make(frame_skip=4)
    try:
        assert env.native_size == (224, 320) and env.reset()[0].shape == (144, 208, 3)
        assert env.step(0)[0].shape == env.observation_space.shape == (144, 208, 3)
    finally:
        env.close()


def test_a_strip_has_no_default_size():
    with pytest.raises(InputError, match="choose a part by --crop"):
        choose_frame_size(16, 4096)


def test_the_built_in_game_has_frames_of_any_size(tmp_path):
    """Small frames make a world model that is fast enough for an agent to learn in."""
    game = find_game("Mode7Kart-v0", frame_size=(56, 128))
    env = game.make(frame_skip=4)
    frame, _ = env.reset(seed=0)
    whole, _ = find_game("Mode7Kart-v0").make(frame_skip=4).reset(seed=0)
    assert frame.shape == (56, 128, 3) and env.observation_space.shape == frame.shape
    means = whole.reshape(56, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(frame - means).max() <= 1
    again = find_game(**{"name": "player:Mode7Kart-v0", "game_settings": game.environment["settings"]})
    assert again.frame_skip == 1  # as `play_sd.py --real` opens it


def test_frames_of_a_turn_based_environment_are_small(tmp_path):
    """Two environments, of which the first has told the size of all."""
    path = tmp_path / "a.npz"
    flags = ["--game", "FrozenLake-v1", "--policy", "random", "--frames", 40, "--n-envs", 2, "--output", path]
    record_trajectories.main(record_trajectories.parse_args([*map(str, flags)]))
    assert open_trajectories(path).frames.shape[2:] == (3, 64, 64)
    assert "frames of 256 x 256 are scaled to 64 x 64" in find_game("FrozenLake-v1").describe()
    assert "scaled to 128 x 128" in find_game("FrozenLake-v1", frame_size=(128, 128)).describe()
