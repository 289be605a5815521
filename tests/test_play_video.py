"""Video files and the frame limiter."""

import os

import cv2
import numpy as np
import pytest
from dream.common.errors import InputError
from dream.common.video import VideoFile, free_path
from dream.play.timing import FrameLimiter, FrameTimes
from fakes import FakeClock
from PIL import Image

# ---------------------------------------------------------------------------------------------------- video files


@pytest.mark.parametrize("name", ["new/folder/video.mp4", "video.gif"])
def test_video_keeps_colours_size_and_pace(tmp_path, name):
    path = tmp_path / name
    with VideoFile(path, fps=15, frame_shape=(28, 64), scale=2) as file:
        for color in [(255, 0, 0)] * 8 + [(0, 0, 255)] * 8:
            file.write(np.full((28, 64, 3), color, np.uint8))
        assert not path.exists()
    if path.suffix == ".gif":
        video = Image.open(path)
        pictures = []  # Pillow joins frames that are equal
        for number in range(video.n_frames):
            video.seek(number)
            pictures.append((np.asarray(video.convert("RGB")), video.info["duration"]))
        assert sum(duration_ms for _, duration_ms in pictures) == 1070  # 16 frames at 15 a second
        first, last = pictures[0][0], pictures[-1][0]
    else:
        video = cv2.VideoCapture(str(path))
        assert video.get(cv2.CAP_PROP_FPS) == 15
        frames = []
        while (frame_bgr := video.read()[1]) is not None:
            frames.append(frame_bgr[:, :, ::-1])
        assert len(frames) == 16
        first, last = frames[0], frames[-1]
    assert first.shape == last.shape == (56, 128, 3)
    np.testing.assert_allclose(first.mean(axis=(0, 1)), (255, 0, 0), atol=8)
    np.testing.assert_allclose(last.mean(axis=(0, 1)), (0, 0, 255), atol=8)
    assert os.listdir(path.parent) == [path.name]  # no temporary file is left


def test_video_keeps_what_was_recorded_before_an_interrupt(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoFile(tmp_path / "a.mp4", 15, (27, 63), scale=1) as video:
        video.write(np.zeros((27, 63, 3), np.uint8))  # odd sides: the codec alone would cut them
        raise KeyboardInterrupt
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).read()[1].shape == (28, 64, 3)
    with VideoFile(tmp_path / "b.mp4", 15, (28, 64)):
        pass  # no frame, no file
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_video_that_cannot_be_opened(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "video.avi", tmp_path / "file/video.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(InputError, match=r"cannot record to|is a file, not a folder"):
            VideoFile(path, 15, (28, 64))
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.mp4"]


def test_free_path(tmp_path):
    (tmp_path / "dream_001.mp4").touch()
    (tmp_path / "dream_002.mp4.123.writing.mp4").touch()
    assert free_path(tmp_path, ".mp4").name == "dream_003.mp4"
    assert free_path(tmp_path, ".png").name == "dream_001.png"


# ---------------------------------------------------------------------------------------------------- frame limiter


def begin_times(duration_s, fps=10):
    """Returns when each frame begins, from 0, if the environment takes these seconds per frame."""
    clock = FakeClock()
    limiter, begins = FrameLimiter(fps, clock), []
    for seconds in duration_s:
        clock.time_s += limiter.wait_s()
        begins.append(clock.time_s - 100)
        limiter.begin_frame()
        clock.time_s += seconds
    return begins


def test_frame_rate_does_not_drift():
    np.testing.assert_allclose(begin_times([0.03, 0.09, 0.0, 0.05]), [0, 0.1, 0.2, 0.3])


def test_one_late_frame_does_not_delay_the_next():
    np.testing.assert_allclose(begin_times([0.13, 0.01, 0.01]), [0, 0.13, 0.2])


def test_a_long_wait_is_followed_by_no_burst():
    np.testing.assert_allclose(begin_times([5.0, 0.01, 0.01, 0.01]), [0, 5.0, 5.1, 5.2])


def test_a_slow_env_plays_as_fast_as_it_can():
    np.testing.assert_allclose(begin_times([0.13] * 8), 0.13 * np.arange(8))


def test_frame_times_of_the_last_second():
    times = FrameTimes()
    assert times.fps() is None and times.mean_ms() == 0
    for frame in range(50):
        times.add(done_at=frame / 20, duration_s=0.5 if frame == 3 else 0.01)
    assert times.fps() == pytest.approx(20) and times.worst_ms() == pytest.approx(10)
    assert times.worst_s == 0.5 and times.num_frames == 50  # of the whole session
    times.reset_window()
    assert times.fps() is None
