"""The play window on a virtual X display (Xvfb), with a fake environment and with the pretrained model."""

import itertools
import re
import time
from pathlib import Path

import numpy as np
from dream.data.trajectories import open_trajectories
from fakes import COLORS
from PIL import Image
from pretrained import moved_right
from window_helpers import wait_until

ROOT = Path(__file__).resolve().parent.parent
FAKE = "import sys, window_helpers; window_helpers.show_window(sys.argv[1])"


def test_a_real_window(screen, tmp_path):
    screen.start("-c", FAKE, tmp_path / "output")  # 512x288 in the middle of 800x500
    wait_until(lambda: screen.shows(COLORS[0]))
    screen.press("mousemove", "400", "200", "keydown", "Up", "keydown", "Left")
    wait_until(lambda: screen.shows(COLORS[4]))
    screen.press("key", "F12")
    wait_until(lambda: (tmp_path / "output/dream_001.png").exists())
    screen.press("keyup", "Left")
    wait_until(lambda: screen.shows(COLORS[1]))
    screen.press("key", "h")  # over all of the picture
    wait_until(lambda: not screen.shows(COLORS[1]))
    screen.press("key", "F1", "key", "F1")  # the second page, then none
    wait_until(lambda: screen.shows(COLORS[1]))
    screen.press("keyup", "Up", "key", "q")
    output, _ = screen.window.communicate(timeout=3600)
    assert screen.window.returncode == 0
    assert {"1", "4"} <= set(output.splitlines()[-1].split())
    picture = np.asarray(Image.open(tmp_path / "output/dream_001.png").convert("RGB"))
    assert picture.shape == (56 * 4 + 64, 128 * 4, 3)
    np.testing.assert_array_equal(picture[112, 256], COLORS[4])


def test_the_pretrained_model_on_a_display(screen, tmp_path):
    """Steering left moves the picture right, a pause shows a still picture, the printed times are plausible."""
    screen.start(ROOT / "sd" / "play_sd.py", "--scale", "2", "--start", "5", "--driver", "person")
    area = (slice(138, 362), slice(144, 656))  # 512 x 224 above the bar, in the middle of 800 x 500

    def frame_u8():
        return screen.picture()[area][::2, ::2]

    wait_until(lambda: screen.picture()[area].std() > 20)
    screen.press("mousemove", "400", "300")
    time.sleep(1.0)  # the fade-in
    waiting = frame_u8()
    screen.press("keydown", "Up", "keydown", "Left")
    wait_until(lambda: (frame_u8() != waiting).mean() > 0.5)
    frames = [frame_u8()]
    while len(frames) < 10:
        wait_until(lambda: (frame_u8() != frames[-1]).mean() > 0.05)
        frames.append(frame_u8())
    moved = [moved_right(*pair) for pair in itertools.pairwise(frames)]
    assert sum(moved) > 30, moved
    screen.press("key", "p", "keyup", "Up", "keyup", "Left")
    time.sleep(0.5)
    paused = frame_u8()
    time.sleep(0.5)
    np.testing.assert_array_equal(frame_u8(), paused)
    screen.press("key", "period")
    wait_until(lambda: (frame_u8() != paused).any())
    screen.press("key", "q")
    output, errors = screen.window.communicate(timeout=3600)
    assert (screen.window.returncode, errors) == (0, ""), errors
    num_frames, milliseconds = re.search(r"(\d+) frames, ([\d.]+) ms a frame", output).groups()
    assert int(num_frames) >= 10 and 0 < float(milliseconds) < 1000


def test_a_lost_display_loses_no_recording(screen, tmp_path):
    """Xlib ends the process in C code, without Python's cleanup."""
    script = ROOT / "sd" / "play_sd.py"
    (tmp_path / "keys.txt").write_text("up 150\n")
    screen.start(
        script,
        "--driver",
        "list",
        "--keys",
        tmp_path / "keys.txt",
        "--record",
        tmp_path / "all.npz",
    )
    tmp_frames = tmp_path / f"all.npz.{screen.window.pid}.frames"
    wait_until(lambda: tmp_frames.exists() and tmp_frames.stat().st_size > 10 * 3 * 112 * 256)
    screen.server.kill()
    _, errors = screen.window.communicate(timeout=3600)
    assert screen.window.returncode == 1 and errors.count("\n") == 1
    assert errors.startswith("error: lost the connection to the display; saved")
    assert open_trajectories(tmp_path / "all.npz").num_frames >= 10 and not tmp_frames.exists()
