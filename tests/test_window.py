"""The play window without and with an X display, on a fake environment and on the pretrained world model."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from dream.data.trajectories import open_trajectories
from dream.play.controllers import make_controllers
from dream.play.session import PlaySession
from dream.window import dataset_commands
from dream.window.commands import COMMANDS, SPEEDS, VIEWS, Command, command_keys
from dream.window.gamepad import BUTTON_COMMANDS
from fakes import COLORS, FakeClock, FakeEnv, FakeRealEnv
from PIL import Image
from test_world_model_env import moved_right

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def make_window(monkeypatch, tmp_path):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from dream.window.window import PlayWindow

    windows = []

    def make(env, start=0, real=None, keys=None, **options):
        session = PlaySession(env, start, make_controllers(env, keys), real)
        windows.append(PlayWindow(session, output_dir=tmp_path / "output", **options))
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


def test_held_keys_reach_the_env(make_window):
    env = FakeEnv()
    window = make_window(env)
    window.step()
    send(window, "up", "left")
    window.step()
    window.step()
    send(window, "left", up=True)
    window.step()
    send(window, "up", up=True)
    window.step()
    assert env.actions == [0, 4, 4, 1, 0]
    send(window, "right")
    send(window, "right", up=True)
    window.step()  # a press between two frames is not lost
    window.step()
    assert env.actions[5:] == [3, 0] and window.session.num_frames == window.times.num_frames == 7


def test_latency_from_key_press_to_frame(make_window):
    """It includes the wait until the frame is due and the time to generate and draw it."""
    clock, env = FakeClock(), FakeEnv()
    env.fps = 10.0
    window = make_window(env, now=clock)
    wait, step = window.handle_events, env.step

    def press_half_way(wait_s):
        if wait_s > 0:
            clock.time_s += wait_s / 2
            send(window, "up")
            clock.time_s += wait_s / 2
        wait(0)

    def step_for_20_ms(action):
        clock.time_s += 0.02
        if len(env.actions) == 5:
            window.running = False
        return step(action)

    window.handle_events, env.step = press_half_way, step_for_20_ms
    window.run()
    np.testing.assert_allclose(window.times.key_to_frame_s[1:], (0.1 - 0.02) / 2 + 0.02)
    assert len(window.times.key_to_frame_s) >= 4
    window = make_window(env)
    send(window, "up", "p")
    assert window.paused and window.pressed_at is None  # a pause is no latency


def test_no_key_stays_down_when_the_window_loses_the_keyboard(make_window):
    import pygame

    env = FakeEnv()
    window = make_window(env)
    send(window, "up")
    window.step()
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    window.handle_events(0)
    window.step()
    assert env.actions == [1, 0]


def test_restart_and_next_start_state(make_window):
    env = FakeEnv()
    window = make_window(env, start=1)
    window.step()
    send(window, "r")
    assert window.session.num_frames == 0
    send(window, "return", "n", "n")
    assert env.starts == [1, 1, 1, 2, 0]


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
    env = FakeEnv()
    env.fps = 500.0
    window = make_window(env)
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
    ]  # frames generated before each draw; the start waits for a key
    assert env.actions == [0, 0, 0, 1, 1] and not window.running


def test_a_restart_waits_for_a_key_unless_one_is_held(make_window):
    """A key that was held through a restart once left the window at "press a key" until it was released."""
    env = FakeEnv()
    env.fps = 500.0
    window = make_window(env)
    frames = run_for(window, 8, {2: ["left"], 3: ["n"], 5: ["up"], 6: ["r"]})
    assert frames == [0, 0, 1, 2, 3, 4, 5, 6]
    assert env.actions == [2, 2, 2, 4, 4, 4] and env.starts == [0, 1, 1]
    window.keyboard.clear()
    COMMANDS["restart"].function(window)
    assert window.waiting


def test_a_key_of_the_game_is_no_command(make_window):
    env = FakeEnv()
    env.action_names, env.action_keys = ("nothing", "shoot"), ((), ("space",))
    window = make_window(env)
    send(window, "space")
    window.step()
    window.draw()
    assert env.actions == [1] and not window.paused
    send(window, "p")
    assert window.paused


def test_picture_video_and_bar(make_window, tmp_path):
    env = FakeEnv()
    window = make_window(env, start=2)
    window.started_at -= 10  # skips the fade-in
    send(window, "v", "up")
    for _ in range(6):
        window.step()
    send(window, "v", "f12", "i", "s")
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


def test_drawn_at_any_size(make_window):
    import pygame

    window = make_window(FakeEnv())
    for size in ((1, 1), (90, 140), (300, 80), (1500, 300)):
        pygame.display.set_mode(size, pygame.RESIZABLE)
        window.paused = not window.paused
        window.say("hello")
        window.draw()


def test_unknown_commands_raise_key_error():
    """Commands were once looked up in globals(), where "Callable" was one too."""
    assert all(isinstance(command, Command) and callable(command.function) for command in COMMANDS.values())
    from dream.window.hud import BAR_COMMANDS

    assert set(BAR_COMMANDS) | set(BUTTON_COMMANDS.values()) <= set(COMMANDS)
    for table in (COMMANDS, dataset_commands.COMMANDS):
        for name in ("Callable", "toggle_recording", "fewer steps"):
            with pytest.raises(KeyError):
                table[name]


def test_the_game_s_keys_are_no_commands():
    keys = command_keys((("s",), ("p",), ("space",), ()))
    assert keys["picture"] == ("f12",) and keys["pause"] == () and keys["restart"] == ("r", "return")


def test_each_command_has_keys_of_its_own_and_can_be_called(make_window):
    window = make_window(FakeEnv())
    assert all(window.command_keys.values())
    assert len(window.command_of_key) == sum(
        len(command.keys) for command in COMMANDS.values()
    )  # no key twice
    for command in COMMANDS.values():
        command.function(window)
        window.draw()
    assert not window.running


def test_rewind_while_held_and_continue(make_window):
    env = FakeEnv()
    env.fps = 500.0
    window = make_window(env)
    send(window, "up")
    for _ in range(6):
        window.step()
    send(window, "up", up=True)
    send(window, "right", "backspace")
    assert window.rewinding
    for _ in range(4):
        window.rewind_frame()
    assert window.session.num_frames == 2 and (window.session.frame_u8[0, 0] == COLORS[1]).all()
    send(window, "backspace", up=True)
    assert not window.rewinding
    window.step()
    assert env.actions[6:] == [3] and window.session.num_frames == 3
    send(window, "z")
    for _ in range(9):  # to the start state and no further, while the key is held
        window.rewind_frame()
    assert (
        window.session.num_frames == 0
        and window.rewinding
        and (window.session.frame_u8[0, 0] == COLORS[0]).all()
    )


def test_rewinding_ends_when_the_keyboard_focus_is_lost(make_window):
    import pygame

    window = make_window(FakeEnv())
    window.step()
    send(window, "z")
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    window.handle_events(0)
    assert not window.rewinding


def test_the_driver_is_switched_and_its_keys_are_highlighted(make_window):
    env = FakeEnv()
    window = make_window(env, keys=("my list", [4, 4, 2, 1]))
    window.step()
    send(window, "tab")
    window.step()  # the list counts from the start state, so its first action is past
    window.step()
    assert window.shown_keys == {"left"}
    send(window, "right")  # a person's key changes nothing now
    window.step()
    window.step()
    send(window, "tab")
    window.step()
    assert env.actions == [0, 4, 2, 1, 0, 3]


def test_saved_start_states(make_window, tmp_path):
    env = FakeEnv()
    window = make_window(env)
    send(window, "k", "b")
    assert (tmp_path / "output/start_states_001.npz").exists() and env.starts[-1] == 3
    send(window, "k")
    assert os.listdir(tmp_path / "output") == ["start_states_001.npz"]  # one file per window
    again = make_window(env)
    send(again, "k")  # the first file is not overwritten
    assert sorted(os.listdir(tmp_path / "output")) == ["start_states_001.npz", "start_states_002.npz"]
    other = make_window(env)
    other.output_dir = tmp_path / "output/start_states_001.npz"  # a file, no folder
    send(other, "k")
    assert "not saved" in other.message


def test_seed_and_speed_change_within_bounds(make_window):
    env = FakeEnv()
    window = make_window(env)
    send(window, "x", "-", "-", "=")
    assert env.seed == 1 and "seed 1, speed 0.5x" in window.message
    assert window.speed == 0.5 and window.limiter.period_s == pytest.approx(1 / 30)
    send(window, *["="] * 9)
    assert window.speed == SPEEDS[-1]
    send(window, *["-"] * 12)
    assert window.speed == SPEEDS[0]
    window.draw()


def test_in_a_pause_a_new_seed_shows_at_once(make_window):
    env = FakeEnv()
    window = make_window(env)
    send(window, "left")
    window.step()
    send(window, "x")
    assert env.actions == [2]
    send(window, "p", "x")
    assert env.actions == [2, 2] and window.session.num_frames == 1


def test_views_of_the_real_game(make_window):
    env, game = FakeEnv(), FakeRealEnv()
    window = make_window(env, real=game)
    assert game.game_states == [{"x": 0.0}] and window.view == "both"
    send(window, "up")
    window.step()
    assert env.actions == game.actions == [1]
    seen = {}
    for view in VIEWS:
        seen[view] = list(window.frames(view))
        window.draw()
        assert window.view in VIEWS
        send(window, "t")
    assert seen == {
        "world model": ["world model"],
        "game": ["game"],
        "both": ["game", "world model"],
        "difference": ["game", "world model", "difference"],
    }
    frames = window.frames("difference")
    np.testing.assert_array_equal(
        frames["difference"][0, 0], 128 + (COLORS[1] // 2 - COLORS[1].astype(int)) // 2
    )
    send(window, "b")  # a start state without game state
    assert game.game_states[-1] is None and "game (not in sync)" in window.frames("game")
    send(window, "n")
    window.step()
    window.step()
    window.rewind_frame()
    assert (game.frame_u8 == COLORS[1] // 2).all()  # it rewinds too
    send(make_window(env), "t")  # without a game: only a message


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
    from dream.play import recording

    env, usage = FakeEnv(), shutil.disk_usage(tmp_path)
    window = make_window(env)
    send(window, "c")
    for _ in range(70):
        window.step()
    monkeypatch.setattr(recording.shutil, "disk_usage", lambda path: usage._replace(free=1000))
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


def test_frames_are_drawn_unchanged(make_window, tmp_path):
    """Swapped channels, a gamma or smoothing would go unnoticed by a user who does not know the game."""
    env = FakeEnv()
    frame_u8 = np.random.default_rng(0).integers(256, size=(28, 64, 3)).astype(np.uint8)
    env.step = lambda action: frame_u8
    window = make_window(env, scale=3)
    window.started_at -= 10
    window.waiting = False
    window.step()
    send(window, "s")
    picture = np.asarray(Image.open(tmp_path / "output/dream_001.png").convert("RGB"))
    np.testing.assert_array_equal(picture[: 3 * 28], frame_u8.repeat(3, axis=0).repeat(3, axis=1))


def test_the_bar_hides_and_full_screen_toggles(make_window):
    import pygame

    window = make_window(FakeEnv())
    window.started_at -= 10
    size = pygame.display.get_surface().get_size()
    window.draw()
    before = pygame.surfarray.array3d(pygame.display.get_surface())
    send(window, "f2")
    window.draw()
    assert (before != pygame.surfarray.array3d(pygame.display.get_surface())).any()
    send(window, "f11")
    assert pygame.display.get_surface().get_flags() & pygame.FULLSCREEN
    window.draw()
    send(window, "f")
    assert pygame.display.get_surface().get_size() == size
    assert not pygame.display.get_surface().get_flags() & pygame.FULLSCREEN


GAMES = {
    "the kart": (FakeEnv.action_names, FakeEnv.action_keys),
    "one with many buttons": (
        tuple(f"a long name of action {number}" for number in range(20)),
        tuple((key,) for key in "zxcvbnmasdfghjklqwer"),
    ),
}


@pytest.mark.parametrize("size", [(1024, 512), (512, 288), (1500, 300)])
@pytest.mark.parametrize("game", GAMES)
def test_help_is_readable(make_window, monkeypatch, size, game):
    """All text is inside the area, no two lines overlap, and held keys are highlighted."""
    import pygame
    from dream.window import draw as drawing

    names, keys = GAMES[game]
    window = make_window(FakeEnv())
    written, write = [], drawing.write

    def spy(surface, text, size, color, **position):
        rect = write(surface, text, size, color, **position)
        written.append((text, rect, drawing.font(size).size(text)))
        return rect

    monkeypatch.setattr(drawing, "write", spy)
    screen = pygame.display.set_mode(size, pygame.RESIZABLE)
    area = pygame.Rect(0, 0, size[0], size[1] - drawing.BAR_HEIGHT)
    actions = dict(zip(names, keys, strict=True))
    commands = [(command.help, window.command_keys[name]) for name, command in COMMANDS.items()]
    drawing.draw_help(screen, area, actions, commands, {keys[1][0]}, ("one line", "another", "a third"))
    said = [words for words, _, _ in written]
    for wanted in (*names, *(command.help for command in COMMANDS.values()), "one line"):
        assert any(wanted.startswith(words.rstrip("…")) and words for words in said), wanted
    for number, (words, place, (width, _)) in enumerate(written):
        assert area.contains(place) and place.width == width, words
        for other, elsewhere, _ in written[:number]:
            assert not place.inflate(0, -6).colliderect(elsewhere.inflate(0, -6)), (words, other)
    footer = [
        place.left for words, place, _ in written if words.rstrip("…") in ("one line", "another", "a third")
    ]
    assert len(set(footer)) == 1, footer  # not split over columns
    picture = pygame.surfarray.array3d(screen)
    assert (picture == drawing.ACCENT).all(axis=2).any()


def test_a_gamepad_plays(make_window):
    """By pygame's events: a test machine has no gamepad."""
    import pygame

    env = FakeEnv()
    window = make_window(env)

    def pad(kind, **what):
        pygame.event.post(pygame.event.Event(kind, instance_id=3, **what))
        window.handle_events(0)

    pad(pygame.JOYBUTTONDOWN, button=0)  # the kart uses arrow keys only: the first button is up
    pad(pygame.JOYAXISMOTION, axis=0, value=-0.9)
    window.step()
    pad(pygame.JOYAXISMOTION, axis=0, value=0.1)  # within the dead zone
    window.step()
    pad(pygame.JOYHATMOTION, hat=0, value=(1, 0))
    window.step()
    pad(pygame.JOYBUTTONDOWN, button=7)
    assert window.paused
    pad(pygame.JOYBUTTONDOWN, button=7)
    send(window, "left")  # left on the keyboard and right on the gamepad cancel
    window.step()
    pad(pygame.JOYDEVICEREMOVED)  # unplugged with up and right held
    window.step()
    assert env.actions == [4, 1, 5, 1, 2]


def test_letterbox_keeps_the_aspect():
    from dream.window.draw import letterbox

    assert letterbox((256, 112), (1024, 448)) == (0, 0, 1024, 448)
    assert letterbox((256, 112), (1040, 460)) == (
        8,
        6,
        1024,
        448,
    )  # a whole scale rather than a larger picture
    assert letterbox((256, 112), (1000, 2000)) == (0, 781, 1000, 438)
    assert letterbox((256, 112), (128, 500)) == (0, 222, 128, 56)
    assert letterbox((256, 112), (3, 1)) == (0, 0, 2, 1) and letterbox((256, 112), (1, 1)) == (0, 0, 1, 1)


# ---------------------------------------------------------------------------------------------------- with an X display


def show_window(folder):
    """Runs in a process of its own, on the display of DISPLAY, until a key quits."""
    from dream.window.window import PlayWindow

    env = FakeEnv()
    env.frame_shape = (56, 128)
    PlayWindow(PlaySession(env), scale=4, output_dir=Path(folder)).run()
    print(*sorted(set(env.actions)))


class Screen:
    """A virtual display (Xvfb), and a process with a window on it."""

    def __init__(self, folder, size="800x500x24"):
        told, tell = os.pipe()
        command = [
            "Xvfb",
            "-displayfd",
            str(tell),
            "-screen",
            "0",
            size,
            "-fbdir",
            str(folder),
            "-nolisten",
            "tcp",
        ]
        self.server = subprocess.Popen(command, pass_fds=[tell], stderr=subprocess.DEVNULL)
        os.close(tell)
        with os.fdopen(told) as file:
            display = f":{file.readline().strip()}"
        self.env = {
            key: value for key, value in os.environ.items() if not key.startswith(("SDL_", "WAYLAND_"))
        }
        self.env |= {"DISPLAY": display, "PYTHONPATH": f"{ROOT}/sd:{ROOT}/tests"}
        self.memory, self.window = folder / "Xvfb_screen0", None

    def start(self, *command):
        self.window = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def press(self, *words):
        subprocess.run(["xdotool", *words], env=self.env, check=True, stdout=subprocess.DEVNULL)

    def picture(self):
        """The display's pixels, uint8 (H, W, 3), from the memory of Xvfb in XWD format."""
        data = self.memory.read_bytes()
        header_size, _, _, _, width, height = np.frombuffer(data, ">u4", 6)
        bytes_per_line, num_colors = np.frombuffer(data, ">u4", 20)[[12, 19]]
        pixels = np.frombuffer(data, np.uint8, height * bytes_per_line, header_size + 12 * num_colors)
        return pixels.reshape(height, bytes_per_line // 4, 4)[:, :width, 2::-1]  # BGRx -> RGB

    def shows(self, color, x=300, y=200):
        """Whether the pixel at x, y has this color; SDL centers the window."""
        return np.array_equal(self.picture()[y, x], color)

    def close(self):
        for process in (self.window, self.server):
            if process and process.poll() is None:
                process.kill()
                process.wait()


def wait_until(what, timeout_s=3600):
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)


@pytest.fixture
def screen(tmp_path):
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("needs Xvfb and xdotool (Linux packages)")
    screen = Screen(tmp_path)
    yield screen
    screen.close()


FAKE = "import sys, test_window; test_window.show_window(sys.argv[1])"


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
    screen.press("key", "F1")
    wait_until(lambda: screen.shows(COLORS[1]))
    screen.press("keyup", "Up", "key", "q")
    said, _ = screen.window.communicate(timeout=3600)
    assert screen.window.returncode == 0
    assert {"1", "4"} <= set(said.splitlines()[-1].split())
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
    said, complained = screen.window.communicate(timeout=3600)
    assert (screen.window.returncode, complained) == (0, ""), complained
    played, milliseconds = re.search(r"(\d+) frames, ([\d.]+) ms a frame", said).groups()
    assert int(played) >= 10 and 0 < float(milliseconds) < 1000


def test_a_lost_display_loses_no_recording(screen, tmp_path):
    """Xlib ends the process in C code, without Python's cleanup."""
    script = ROOT / "sd" / "play_sd.py"
    screen.start(
        script,
        "--driver",
        "list",
        "--keys",
        ROOT / "sd/pretrained/drive.txt",
        "--record",
        tmp_path / "all.npz",
    )
    aside = tmp_path / "all.writing.npz.frames"
    wait_until(lambda: aside.exists() and aside.stat().st_size > 10 * 3 * 112 * 256)
    screen.server.kill()
    _, complained = screen.window.communicate(timeout=3600)
    assert screen.window.returncode == 1 and complained.count("\n") == 1
    assert complained.startswith("error: lost the connection to the display; saved")
    assert open_trajectories(tmp_path / "all.npz").num_frames >= 10 and not aside.exists()
