"""The play side with a dream that is none: video files, pace, the window without and with a real screen, the script."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import play_sd
import pytest
from dream.errors import BadInput
from dream.playing import FrameTimes, Pacer, fit
from dream.video import VideoFile, free_path
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
COLOURS = np.array(
    [(20, 20, 20), (200, 0, 0), (0, 0, 200), (0, 200, 0), (250, 120, 10), (10, 120, 250)], np.uint8
)


class FakeDream:
    """A frame is the colour of the last action, with a white stripe at the left as wide as the start's number."""

    action_names = ("nothing", "forward", "left", "right", "forward+left", "forward+right")
    action_keys = ((), ("up",), ("left",), ("right",), ("up", "left"), ("up", "right"))
    fps, num_starts, frame_shape = 60.0, 3, (28, 64)

    def __init__(self):
        self.actions, self.starts = [], []

    def reset(self, start=0):
        self.starts.append(start)
        return self.frame(0)

    def step(self, action):
        self.actions.append(action)
        return self.frame(action)

    def frame(self, action):
        frame_u8 = np.full((*self.frame_shape, 3), COLOURS[action], np.uint8)
        frame_u8[:, : 4 * self.starts[-1]] = 255
        return frame_u8


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
        with pytest.raises(BadInput, match="cannot record to"):
            VideoFile(path, 15, (28, 64))
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.mp4"]


def test_free_path(tmp_path):
    (tmp_path / "dream_001.mp4").touch()
    (tmp_path / "dream_002.writing.mp4").touch()
    assert free_path(tmp_path, ".mp4").name == "dream_003.mp4"
    assert free_path(tmp_path, ".png").name == "dream_001.png"


# ---------------------------------------------------------------------------------------------------- pace


class FakeClock:
    def __init__(self):
        self.time_s = 100.0

    def __call__(self):
        return self.time_s


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


# ---------------------------------------------------------------------------------------------------- the window


@pytest.fixture
def make_window(monkeypatch, tmp_path):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from dream.window import DreamWindow

    windows = []

    def make(dream, **options):
        windows.append(DreamWindow(dream, output_dir=tmp_path / "output", **options))
        return windows[-1]

    yield make
    for window in windows:
        window.close()


def send(window, *names, up=False):
    import pygame

    for name in names:
        event = pygame.KEYUP if up else pygame.KEYDOWN
        pygame.event.post(pygame.event.Event(event, key=pygame.key.key_code(name)))
    window.handle_events(0)


def test_held_keys_reach_the_dream(make_window):
    dream = FakeDream()
    window = make_window(dream)
    window.step()
    send(window, "up", "left")
    window.step()
    window.step()
    send(window, "left", up=True)
    window.step()
    send(window, "up", up=True)
    window.step()
    assert dream.actions == [0, 4, 4, 1, 0]
    send(window, "right")
    send(window, "right", up=True)
    window.step()  # a tap between two frames is not lost
    window.step()
    assert dream.actions[5:] == [3, 0] and window.frames_since_start == window.times.num_frames == 7


def test_how_long_a_key_waits_for_its_frame(make_window):
    """From when it is taken, through the wait for the frame's turn and the dreaming, until it is on the screen."""
    clock, dream = FakeClock(), FakeDream()
    dream.fps = 10.0
    window = make_window(dream, now=clock)
    wait, step = window.handle_events, dream.step

    def press_half_way(wait_s):
        if wait_s > 0:
            clock.time_s += wait_s / 2
            send(window, "up")
            clock.time_s += wait_s / 2
        wait(0)

    def dream_for_20_ms(action):
        clock.time_s += 0.02
        if len(dream.actions) == 5:
            window.running = False
        return step(action)

    window.handle_events, dream.step = press_half_way, dream_for_20_ms
    window.run()
    np.testing.assert_allclose(window.times.key_to_frame_s[1:], (0.1 - 0.02) / 2 + 0.02)
    assert len(window.times.key_to_frame_s) >= 4
    window = make_window(dream)
    send(window, "up", "p")
    assert window.paused and window.pressed_at is None  # a pause is not the dream's


def test_no_key_stays_down_when_the_window_loses_the_keyboard(make_window):
    import pygame

    dream = FakeDream()
    window = make_window(dream)
    send(window, "up")
    window.step()
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    window.handle_events(0)
    window.step()
    assert dream.actions == [1, 0]


def test_restart_and_next_place(make_window):
    dream = FakeDream()
    window = make_window(dream, start=1)
    window.step()
    send(window, "r")
    assert window.frames_since_start == 0
    send(window, "return", "n", "n")
    assert dream.starts == [1, 1, 1, 2, 0]


def run_for(window, num_draws, keys_before_draw):
    """Runs the real loop; before draw number i presses keys_before_draw[i]; quits after the last."""
    draw, draws = window.draw, []

    def draw_and_press():
        draws.append(window.times.num_frames)
        draw()
        send(window, *keys_before_draw.get(len(draws), ()))
        if len(draws) >= num_draws:
            send(window, "q")

    window.draw = draw_and_press
    window.run()
    return draws


def test_loop_pauses_steps_and_quits(make_window):
    dream = FakeDream()
    dream.fps = 500.0
    window = make_window(dream)
    frames = run_for(window, 10, {2: ["space"], 4: ["p"], 6: ["."], 8: ["space", "up"]})
    assert frames == [
        0,
        0,
        1,
        2,
        2,
        2,
        3,
        3,
        4,
        5,
    ]  # frames dreamed by each draw; it waits for a key to begin
    assert dream.actions == [0, 0, 0, 1, 1] and not window.running


def test_a_start_waits_for_a_key_and_drives_on_with_one_that_is_held(make_window):
    """Somebody who held a key through a restart sat before "press a key" for as long as he held it."""
    dream = FakeDream()
    dream.fps = 500.0
    window = make_window(dream)
    frames = run_for(window, 8, {2: ["left"], 3: ["n"], 5: ["up"], 6: ["r"]})
    assert frames == [0, 0, 1, 2, 3, 4, 5, 6]
    assert dream.actions == [2, 2, 2, 4, 4, 4] and dream.starts == [0, 1, 1]
    window.held.clear()
    window.restart()
    assert window.waiting


def test_the_game_has_its_keys_first(make_window):
    dream = FakeDream()
    dream.action_names, dream.action_keys = ("nothing", "shoot"), ((), ("space",))
    window = make_window(dream)
    send(window, "space")
    window.step()
    window.draw()
    assert dream.actions == [1] and not window.paused
    send(window, "p")
    assert window.paused


def test_picture_video_and_bar(make_window, tmp_path):
    dream = FakeDream()
    window = make_window(dream, start=2)
    window.started_at -= 10  # the eyes are open
    send(window, "v", "up")
    for _ in range(6):
        window.step()
    send(window, "v", "f12", "h", "s")
    assert sorted(os.listdir(tmp_path / "output")) == ["dream_001.mp4", "dream_001.png", "dream_002.png"]
    film = cv2.VideoCapture(str(tmp_path / "output/dream_001.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    picture = np.asarray(Image.open(tmp_path / "output/dream_001.png").convert("RGB"))
    assert picture.shape == (28 * 4 + 64, 64 * 4, 3)
    np.testing.assert_array_equal(picture[40, 10], (255, 255, 255))  # the stripe of start 2
    np.testing.assert_array_equal(picture[40, 60], COLOURS[1])


def test_video_from_the_first_frame_survives_quitting(make_window, tmp_path):
    dream = FakeDream()
    dream.fps = 500.0
    run_for(make_window(dream, record_path=tmp_path / "all.gif"), 4, {1: ["up"]})
    assert os.listdir(tmp_path) == ["all.gif"]


def test_drawn_at_any_size(make_window):
    import pygame

    window = make_window(FakeDream())
    for size in ((1, 1), (90, 140), (300, 80), (1500, 300)):
        pygame.display.set_mode(size, pygame.RESIZABLE)
        window.paused = not window.paused
        window.say("hello")
        window.draw()


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
    with pytest.raises(BadInput, match="opencv-python"):
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


# ---------------------------------------------------------------------------------------------------- a real window


def show_window(folder):
    """Runs in a process of its own, on the screen that DISPLAY names: FakeDream until a key quits."""
    from dream.window import DreamWindow

    dream = FakeDream()
    dream.frame_shape = (56, 128)
    DreamWindow(dream, scale=4, output_dir=Path(folder)).run()
    print(*sorted(set(dream.actions)))


def read_screen(path):
    """The screen's picture, uint8 (H, W, 3), from the memory of Xvfb, which is in the XWD format."""
    data = path.read_bytes()
    header_size, _, _, _, width, height = np.frombuffer(data, ">u4", 6)
    bytes_per_line, num_colours = np.frombuffer(data, ">u4", 20)[[12, 19]]
    pixels = np.frombuffer(data, np.uint8, height * bytes_per_line, header_size + 12 * num_colours)
    return pixels.reshape(height, bytes_per_line // 4, 4)[:, :width, 2::-1]  # BGRx -> RGB


def wait_until(what, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)


@pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool (Linux packages)"
)
def test_a_real_window(tmp_path):
    told, tell = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(tell), "-screen", "0", "800x500x24", "-fbdir", str(tmp_path), "-nolisten", "tcp"],
        pass_fds=[tell],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    window = None
    try:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("SDL_", "WAYLAND_"))}
        env |= {"DISPLAY": f":{os.read(told, 16).decode().strip()}", "PYTHONPATH": f"{ROOT}/sd:{ROOT}/tests"}
        code = "import sys, test_play; test_play.show_window(sys.argv[1])"
        window = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "output")], env=env, stdout=subprocess.PIPE, text=True
        )

        def shows(colour):  # in the dream, as a person at this screen sees it
            x, y = place
            return np.array_equal(read_screen(tmp_path / "Xvfb_screen0")[y, x], colour)

        def press(*words):
            subprocess.run(["xdotool", *words], env=env, check=True, stdout=subprocess.DEVNULL)

        place = (300, 200)  # SDL puts the window of 512x288 into the middle of 800x500
        wait_until(lambda: shows(COLOURS[0]))
        press("mousemove", "400", "200", "keydown", "Up", "keydown", "Left")
        wait_until(lambda: shows(COLOURS[4]))
        press("key", "F12")
        wait_until(lambda: (tmp_path / "output/dream_001.png").exists())
        press("keyup", "Left")
        wait_until(lambda: shows(COLOURS[1]))
        press("keyup", "Up", "key", "q")
        said, _ = window.communicate(timeout=20)
        assert window.returncode == 0
        assert {"1", "4"} <= set(said.splitlines()[-1].split())
        picture = np.asarray(Image.open(tmp_path / "output/dream_001.png").convert("RGB"))
        assert picture.shape == (56 * 4 + 64, 128 * 4, 3)
        np.testing.assert_array_equal(picture[112, 256], COLOURS[4])
    finally:
        for process in (window, screen):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        os.close(told)
        os.close(tell)
