"""import_video.py: frames and keys agree in time, whatever the video's rate, offset, gaps and container are."""

from pathlib import Path

import numpy as np
import pytest
from player.common.errors import InputError
from player.video.frame_times import Clip, _ascending_times, read_clip
from player.video.key_log import KeyLog
from player.video.steps import choose_steps
from video_helpers import agreement, encode, ffmpeg, import_folder, write_log, write_video

pytest.importorskip("cv2")
VARIABLE_RATE = (
    "-vf",
    r"select=lt(t\,12)+not(mod(n\,4))",
    "-fps_mode",
    "vfr",
)  # 60 frames/s, from 12 s on 15


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("column", ["time", "frame"])
def test_a_clip_of_two_frame_rates(folder, column):
    """Frame number / stated frame rate was taken for the time of a frame: chance level, 52.7 %, on this clip."""
    write_video(folder / "a.mp4", [(12 * 60, 1 / 60), (12 * 15, 1 / 15)])
    write_log(folder / "a.csv", 24)
    if column == "frame":
        lines = [f"{60 * s if s < 12 else 720 + 15 * (s - 12)},{'' if s % 2 else 'up'}\n" for s in range(24)]
        (folder / "a.csv").write_text("frame,keys\n" + "".join(lines))
    clip = read_clip(folder / "a.mp4", [])
    assert len(clip.times) == 900 and clip.times[720] == pytest.approx(12, abs=1e-3)
    assert clip.length == pytest.approx(24, abs=0.07)
    data = import_folder(folder)
    assert data.num_rows == 2 and agreement(data) == 1.0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", (*VARIABLE_RATE, "-bf", "3")),  # reordered frames
        ("a.mkv", VARIABLE_RATE),  # times in whole milliseconds
        ("a.mov", (*VARIABLE_RATE, "-c:v", "mjpeg")),
        (
            "a.webm",
            (*VARIABLE_RATE, "-c:v", "libvpx", "-deadline", "realtime", "-live", "1"),
        ),  # states no length
        ("a.avi", ("-vf", "fps=30", "-c:v", "mpeg4", "-bf", "2")),  # no display times, the last one missing
        ("a.mp4", ("-vf", "fps=60000/1001")),  # a frame is due 1 ms after each change of keys
        ("a.mp4", ("-vf", "select=gt(random(1)\\,0.4)", "-fps_mode", "vfr")),  # dropped frames
        ("a.mp4", ("-vf", "select=not(between(t\\,5\\,7.5))", "-fps_mode", "vfr")),  # a gap of 2.5 s
    ],
)
def test_times_of_many_containers(folder, name, options):
    encode(folder / name, 24, *options)
    write_log(folder / "a.csv", 24)
    assert agreement(import_folder(folder)) >= 0.98


def test_a_start_offset_and_a_wrong_frame_rate(folder, tmp_path):
    """Time 0 of a log is the first frame of its video, not time 0 of the file."""
    encode(tmp_path / "whole.mkv", 24, *VARIABLE_RATE)
    ffmpeg("-i", tmp_path / "whole.mkv", "-c", "copy", "-output_ts_offset", 5, folder / "a.mkv")
    encode(tmp_path / "raw.h264", 24)
    ffmpeg("-f", "h264", "-i", tmp_path / "raw.h264", "-c", "copy", folder / "b.avi")  # states 600 frames/s
    for name in "ab":
        write_log(folder / f"{name}.csv", 24)
    data = import_folder(folder)
    assert data.num_rows == 4 and agreement(data) == 1.0


def test_a_trimmed_clip(folder, tmp_path):
    """Cut without encoding again, an .mp4 contains frames that an edit list hides."""
    encode(tmp_path / "long.mp4", 40, "-g", "6000")
    ffmpeg("-ss", 10, "-i", tmp_path / "long.mp4", "-c", "copy", folder / "a.mp4")
    write_log(folder / "a.csv", 30)
    data = import_folder(folder)
    assert data.num_rows == 3 and agreement(data) == 1.0


def test_a_video_without_time_stamps_is_refused(folder, tmp_path):
    encode(tmp_path / "raw.h264", 12)
    (tmp_path / "raw.h264").rename(folder / "a.mp4")
    write_log(folder / "a.csv", 12)
    with pytest.raises(InputError, match=r"no ascending times .*ffmpeg -r 30 -i a\.mp4 -c:v libx264 a\.mkv"):
        import_folder(folder)
    ffmpeg("-r", 60, "-i", folder / "a.mp4", "-c:v", "libx264", folder / "a.mkv")  # what the message says
    data = import_folder(folder)  # the readable one of both is used
    assert data.meta["videos"] == ["a.mkv"] and agreement(data) == 1.0


def test_times_that_do_not_ascend():
    times, path = np.arange(300) / 30, Path("a.avi")
    missing = times + 1.0
    missing[-2:] = 0.0  # the decoder's last frames of an .avi
    np.testing.assert_allclose(_ascending_times(path, missing), times, atol=1e-9)
    equal = times.copy()
    equal[7] = equal[6]
    np.testing.assert_array_equal(_ascending_times(path, equal), equal)
    for wrong in (np.zeros(300), times[::-1], np.concatenate([times, times]), np.repeat(times, 2)):
        with pytest.raises(InputError, match="no ascending times from frame"):
            _ascending_times(path, wrong)


@pytest.mark.parametrize(
    ("press", "num_left_out"),
    [(5.9, 30), (7.9, 0), (4.0, 0), (None, 0)],  # in the gap, just before its end, before it, never
)
def test_a_gap_is_left_out_if_keys_are_pressed_in_it(press, num_left_out):
    """A recorder that stores only changes leaves gaps in which the picture is known; a press without an effect means
    that frames are missing."""
    times = np.concatenate([np.arange(0, 5, 1 / 30), np.arange(8, 12, 1 / 30)])
    clip = Clip(Path("a.mp4"), times, 12.0, (64, 32))
    log = KeyLog(np.array([0.0, press or 20.0]), [frozenset(), frozenset({"up"})])
    notes = []
    steps = choose_steps(clip, log, 10.0, notes)
    assert len(steps.frame_numbers) == pytest.approx(120 - num_left_out, abs=1)
    assert bool(notes) == bool(num_left_out) and steps.is_start.sum() == 1 + bool(num_left_out)
    assert np.all(np.diff(steps.frame_numbers) >= 0)
    if num_left_out:
        first = np.flatnonzero(steps.is_start)[1]
        assert times[steps.frame_numbers[first]] == 8.0 and "3.0 s without frames, from 5.0 s" in notes[0]


def test_a_jump_of_days_makes_no_days_of_steps():
    clip = Clip(Path("a.mp4"), np.array([0.0, 0.1, 1e6, 1e6 + 0.1]), 1e6 + 0.2, (64, 32))
    notes = []
    assert (
        len(choose_steps(clip, KeyLog(np.array([0.0]), [frozenset()]), 10.0, notes).key_times) < 10 and notes
    )
