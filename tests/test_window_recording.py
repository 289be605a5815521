"""Pictures, videos and recordings made in the play window."""

import os
import shutil

import cv2
import numpy as np
from fakes import COLORS, FakeEnv, FakeRealEnv
from PIL import Image
from window_helpers import run_for, send


def test_picture_video_and_bar(make_window, tmp_path):
    env = FakeEnv()
    window = make_window(env, start=2)
    window.started_at -= 10  # skips the fade-in
    send(window, "v", "up")
    for _ in range(6):
        window.step()
    send(window, "v", "f12", "i", "o")
    assert sorted(os.listdir(tmp_path / "output")) == ["dream_001.mp4", "dream_001.png", "dream_002.png"]
    video = cv2.VideoCapture(str(tmp_path / "output/dream_001.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    picture = np.asarray(Image.open(tmp_path / "output/dream_001.png").convert("RGB"))
    assert picture.shape == (28 * 4 + 64, 64 * 4, 3)
    np.testing.assert_array_equal(picture[40, 10], (255, 255, 255))  # the stripe of start state 2
    np.testing.assert_array_equal(picture[40, 60], COLORS[1])


def test_video_from_the_first_frame_survives_quitting(make_window, tmp_path):
    env = FakeEnv()
    env.fps = 500.0
    run_for(make_window(env, record_path=tmp_path / "all.gif"), 4, {1: ["up"]})
    assert os.listdir(tmp_path) == ["all.gif"]


def test_a_video_keeps_its_view(make_window, tmp_path):
    window = make_window(FakeEnv(), real=FakeRealEnv())
    send(window, "v", "up")
    window.step()
    send(window, "t", "t")
    window.step()
    send(window, "v")
    video = cv2.VideoCapture(str(tmp_path / "output/dream_001.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 2 and video.get(cv2.CAP_PROP_FRAME_WIDTH) == 2 * 2 * 64


def test_a_full_disk_ends_the_recording_not_the_session(make_window, monkeypatch, tmp_path):
    env, usage = FakeEnv(), shutil.disk_usage(tmp_path)
    window = make_window(env)
    send(window, "c")
    for _ in range(70):
        window.step()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    for _ in range(80):
        window.step()
    assert window.session.recording is None and len(env.actions) == window.session.num_frames == 150
    assert "disk is full" in window.message and "saved" in window.message
    with np.load(tmp_path / "output/dream_001.npz") as file:
        assert file["actions"].shape == (1, 128)
    assert os.listdir(tmp_path / "output") == ["dream_001.npz"]
    send(window, "c")
    window.step()
    assert window.session.recording is None  # no room for a first frame either
