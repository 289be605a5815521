"""The play side with a dream that is none: video files, pace, the script."""

import errno
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import play_sd
import pytest
from dream.common.errors import InputError
from dream.common.video import VideoFile, free_path
from dream.data.trajectories import open_trajectories
from dream.play.timing import FrameTimes, Pacer, fit
from fakes import FakeClock, FakeDream
from PIL import Image

# ---------------------------------------------------------------------------------------------------- video files


@pytest.mark.parametrize("name", ["new/folder/film.mp4", "film.gif"])
def test_video_keeps_colours_size_and_pace(tmp_path, name):
    path = tmp_path / name
    with VideoFile(path, fps=15, frame_shape=(28, 64), scale=2) as video:
        for colour in [(255, 0, 0)] * 8 + [(0, 0, 255)] * 8:
            video.write(np.full((28, 64, 3), colour, np.uint8))
        assert not path.exists()
    if path.suffix == ".gif":
        film = Image.open(path)
        shown = []  # Pillow joins frames that are equal
        for number in range(film.n_frames):
            film.seek(number)
            shown.append((np.asarray(film.convert("RGB")), film.info["duration"]))
        assert sum(duration_ms for _, duration_ms in shown) == 1070  # 16 frames at 15 a second
        first, last = shown[0][0], shown[-1][0]
    else:
        film = cv2.VideoCapture(str(path))
        assert film.get(cv2.CAP_PROP_FPS) == 15
        frames = []
        while (frame_bgr := film.read()[1]) is not None:
            frames.append(frame_bgr[:, :, ::-1])
        assert len(frames) == 16
        first, last = frames[0], frames[-1]
    assert first.shape == last.shape == (56, 128, 3)
    np.testing.assert_allclose(first.mean(axis=(0, 1)), (255, 0, 0), atol=8)
    np.testing.assert_allclose(last.mean(axis=(0, 1)), (0, 0, 255), atol=8)
    assert os.listdir(path.parent) == [path.name]  # nothing left aside


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
    for path in (tmp_path / "film.avi", tmp_path / "file/film.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(InputError, match="cannot record to"):
            VideoFile(path, 15, (28, 64))
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.mp4"]


def test_free_path(tmp_path):
    (tmp_path / "dream_001.mp4").touch()
    (tmp_path / "dream_002.writing.mp4").touch()
    assert free_path(tmp_path, ".mp4").name == "dream_003.mp4"
    assert free_path(tmp_path, ".png").name == "dream_001.png"


# ---------------------------------------------------------------------------------------------------- pace


def begin_times(took_s, fps=10):
    """When each frame begins, from 0, if the dream takes these seconds for them."""
    clock = FakeClock()
    pacer, begins = Pacer(fps, clock), []
    for seconds in took_s:
        clock.time_s += pacer.wait_s()
        begins.append(clock.time_s - 100)
        pacer.begin_frame()
        clock.time_s += seconds
    return begins


def test_pace_does_not_drift():
    np.testing.assert_allclose(begin_times([0.03, 0.09, 0.0, 0.05]), [0, 0.1, 0.2, 0.3])


def test_one_late_frame_is_made_up_for():
    np.testing.assert_allclose(begin_times([0.13, 0.01, 0.01]), [0, 0.13, 0.2])


def test_a_long_wait_is_followed_by_no_burst():
    np.testing.assert_allclose(begin_times([5.0, 0.01, 0.01, 0.01]), [0, 5.0, 5.1, 5.2])


def test_a_slow_dream_plays_as_fast_as_it_can():
    np.testing.assert_allclose(begin_times([0.13] * 8), 0.13 * np.arange(8))


def test_frame_times_are_of_the_last_second():
    times = FrameTimes()
    assert times.fps() is None and times.mean_ms() == 0
    for frame in range(50):
        times.add(done_at=frame / 20, took_s=0.5 if frame == 3 else 0.01)
    assert times.fps() == pytest.approx(20) and times.worst_ms() == pytest.approx(10)
    assert times.worst_s == 0.5 and times.num_frames == 50  # those of all
    times.interrupt()
    assert times.fps() is None


def test_the_picture_fits_and_keeps_its_aspect():
    assert fit((256, 112), (1024, 448)) == (0, 0, 1024, 448)
    assert fit((256, 112), (1040, 460)) == (8, 6, 1024, 448)  # even pixels rather than a wider one
    assert fit((256, 112), (1000, 2000)) == (0, 781, 1000, 438)
    assert fit((256, 112), (128, 500)) == (0, 222, 128, 56)
    assert fit((256, 112), (3, 1)) == (0, 0, 2, 1) and fit((256, 112), (1, 1)) == (0, 0, 1, 1)


# ---------------------------------------------------------------------------------------------------- the script


@pytest.fixture
def dream(monkeypatch):
    dream = FakeDream()
    monkeypatch.setattr(play_sd, "load_dream", lambda args: dream)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    return dream


def play(*argv):
    play_sd.main(play_sd.parse_args([str(word) for word in argv]))


def test_headless_by_keys(dream, tmp_path, capsys):
    (tmp_path / "keys.txt").write_text("up+left 2\n- 1\n")
    film = tmp_path / "film.mp4"
    play("--headless", "--keys", tmp_path / "keys.txt", "--frames", 5, "--start", 2, "--record", film)
    assert dream.actions == [4, 4, 0, 0, 0] and dream.starts == [2]
    said = capsys.readouterr().out
    assert "seed 0" in said and "5 frames" in said and "ms a frame, worst" in said and str(film) in said
    assert "from taking a key to its frame" in said
    assert cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FRAME_COUNT) == 5


def test_headless_without_keys(dream, capsys):
    play("--headless")
    assert len(dream.actions) == 150 and set(dream.actions) == {1, 4}  # 2.5 seconds of the drive


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere there is always a screen to ask for"
)
def test_without_a_screen_ten_seconds_are_recorded(dream, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(play_sd, "OUTPUT_DIR", tmp_path / "output")
    play("--fps", 6, "--model-path", tmp_path / "model.pt")
    film = tmp_path / "output" / "dream.mp4"
    assert len(dream.actions) == 60 and cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FPS) == 6
    said = capsys.readouterr().out.splitlines()
    assert any("no screen" in line for line in said) and any(str(film) in line for line in said)
    monkeypatch.setenv("DISPLAY", ":9876")  # a screen is promised, and there is none
    play("--fps", 6, "--record", tmp_path / "promised.gif", "--model-path", tmp_path / "model.pt")
    assert sorted(os.listdir(tmp_path)) == ["output", "promised.gif"]


def test_without_a_screen_who_drives_goes_on_driving(dream, monkeypatch, tmp_path):
    """Somebody's keys were handed on to the agent, in silence."""
    monkeypatch.setattr(play_sd, "OUTPUT_DIR", tmp_path / "output")
    (tmp_path / "keys.txt").write_text("left 5\nright 5\n")
    play("--keys", tmp_path / "keys.txt", "--model-path", tmp_path / "model.pt")
    assert dream.actions == [2] * 5 + [3] * 5


def test_a_full_disk_keeps_what_was_recorded(dream, monkeypatch, tmp_path, capsys):
    import dream.play.recording as take

    usage = iter([10**9, 10**9, 1000])
    monkeypatch.setattr(take.shutil, "disk_usage", lambda path: SimpleNamespace(free=next(usage)))
    with pytest.raises(OSError, match="no room") as caught:
        play("--headless", "--record", tmp_path / "take.npz")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename.endswith("take.npz")
    assert "128 frames" in capsys.readouterr().out
    assert open_trajectories(tmp_path / "take.npz").num_frames == 128
    assert os.listdir(tmp_path) == ["take.npz"]


@pytest.mark.parametrize("beside", ["--record a.mp4", "--steps 2", "--keys a.txt", "--frames 9"])
def test_what_a_replay_would_ignore_is_refused(beside, capsys):
    with pytest.raises(SystemExit):
        play_sd.parse_args(["--headless", "--replay", "a.npz", *beside.split()])
    assert beside.split()[0] in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no such signals here")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_closed_terminal_loses_no_recording(tmp_path, name):
    process = subprocess.Popen(
        [sys.executable, play_sd.__file__, "--headless", "--frames", "1000000",
         "--record", str(tmp_path / "take.npz")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),  # nohup ignores one
    )  # fmt: skip
    aside, deadline = tmp_path / "take.writing.npz.frames", time.monotonic() + 120
    while not aside.exists() or aside.stat().st_size < 9 * 3 * 112 * 256:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    said, wrong = process.communicate(timeout=60)
    assert process.returncode == 1 and wrong.startswith("interrupted"), wrong
    assert f"recorded {tmp_path / 'take.npz'}" in said and os.listdir(tmp_path) == ["take.npz"]
    assert open_trajectories(tmp_path / "take.npz").num_steps >= 9


def test_a_drive_beside_the_model_is_what_is_recorded_without_a_screen(dream, monkeypatch, tmp_path):
    """Keys that suit another course leave the road, and the first video that somebody sees is of grass."""
    monkeypatch.setattr(play_sd, "OUTPUT_DIR", tmp_path / "output")
    (tmp_path / "drive.txt").write_text("up 3\nup+left 2\n")
    play("--model-path", tmp_path / "model.pt")
    assert dream.actions == [1, 1, 1, 4, 4]


def test_without_opencv_videos_are_gifs(dream, monkeypatch, tmp_path):
    """Whoever installed what playing needs has none."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr(play_sd, "OUTPUT_DIR", tmp_path / "output")
    play("--fps", 6, "--model-path", tmp_path / "model.pt")
    assert os.listdir(tmp_path / "output") == ["dream.gif"]
    with pytest.raises(InputError, match="opencv-python"):
        play("--headless", "--frames", 2, "--record", tmp_path / "film.mp4")
    assert os.listdir(tmp_path) == ["output"]


def test_interrupted_headless_play_keeps_the_video(dream, monkeypatch, tmp_path, capsys):
    step = dream.step
    monkeypatch.setattr(dream, "step", lambda action: step(action) if len(dream.actions) < 4 else interrupt())
    with pytest.raises(KeyboardInterrupt):
        play("--headless", "--record", tmp_path / "film.mp4")
    assert os.listdir(tmp_path) == ["film.mp4"] and "4 frames" in capsys.readouterr().out


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "argv",
    [
        "--frames 10",
        "--headless --frames 0",
        "--fps 0",
        "--scale 17",
        "--start -1",
        "--record a.avi",
        "--steps 0",
    ],
)
def test_options_out_of_range_are_refused(argv, capsys):
    with pytest.raises(SystemExit):
        play_sd.parse_args(argv.split())
    assert "error: --" in capsys.readouterr().err
