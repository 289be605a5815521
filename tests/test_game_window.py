"""view_mario_kart_env.py: the window with SDL's dummy driver, and the keyboard."""

import importlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import view_mario_kart_env as view
from player.common.errors import InputError
from player.games.game import Action, Game
from player.games.registry import find_game
from player.window.controllers import ButtonController, GameSession


@pytest.fixture
def pygame(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    module = pytest.importorskip("pygame")
    yield module
    module.quit()


@pytest.fixture
def window(pygame):
    """A window in which the game runs: its wait and its countdown are over."""
    from player.window.window import Window

    window = Window(GameSession(), scale=2)
    window.waiting = False
    return window


def post(pygame, kind: str, *keys: str) -> None:
    for key in keys:
        pygame.event.post(pygame.event.Event(getattr(pygame, kind), key=pygame.key.key_code(key)))


def run_frames(window, number: int) -> None:
    for _ in range(number):
        window.run_frame()


def test_keyboard_drives_the_kart(window, pygame):
    x, y = window.session.truth["x"], window.session.truth["y"]
    run_frames(window, 5)
    assert (window.session.truth["x"], window.session.truth["y"]) == (x, y)
    post(pygame, "KEYDOWN", "up")
    run_frames(window, 60)
    assert np.hypot(window.session.truth["x"] - x, window.session.truth["y"] - y) > 30
    heading = window.session.truth["heading"]
    post(pygame, "KEYDOWN", "right")
    run_frames(window, 10)
    assert 0.1 < window.session.truth["heading"] - heading < 0.5
    post(pygame, "KEYUP", "up", "right")
    post(pygame, "KEYDOWN", "down")
    run_frames(window, 120)
    assert window.session.truth["speed"] < 0  # braking reverses


def test_press_shorter_than_a_frame_counts(window, pygame):
    post(pygame, "KEYDOWN", "space")
    post(pygame, "KEYUP", "space")
    run_frames(window, 3)
    assert window.session.env.unwrapped.state["hop"] > 0 and not window.held


def test_pause_restart_and_next_track(window, pygame):
    post(pygame, "KEYDOWN", "up")
    run_frames(window, 10)
    post(pygame, "KEYDOWN", "p")
    run_frames(window, 10)
    assert window.session.num_frames == 10
    post(pygame, "KEYDOWN", "p")
    run_frames(window, 5)
    assert window.session.num_frames == 15
    post(pygame, "KEYDOWN", "r")
    run_frames(window, 3)
    assert window.session.num_frames == 0 and window.waiting
    post(pygame, "KEYDOWN", "t")
    run_frames(window, 3)
    assert window.session.name == "Coral Cove" and window.session.num_frames == 0


def test_frame_is_scaled_and_centered(window, pygame):
    screen = pygame.display.set_mode((530, 400))
    run_frames(window, 1)
    pixels = pygame.surfarray.array3d(screen).transpose(1, 0, 2)  # (W, H, 3) -> (H, W, 3)
    # the scale just above 2 is rounded down, so that all pixels have the same size
    frame = window.session.frame_u8.repeat(2, axis=0).repeat(2, axis=1)
    top, left = (400 - 30 - 224) // 2, (530 - 512) // 2
    np.testing.assert_array_equal(pixels[top : top + 224, left : left + 512], frame)
    assert len(np.unique(pixels[:top])) <= 3  # only background above
    assert pixels[370:].max() > 150  # the status bar
    screen = pygame.display.set_mode((700, 400))  # 2.7 times: the width is used
    run_frames(window, 1)
    assert (pygame.surfarray.array3d(screen)[[2, -3], 180] > 60).any(axis=1).all()


def test_finished_race_waits_for_restart(window, pygame):
    from player.window.hud import result

    run_frames(window, 1)
    without_banner = pygame.surfarray.array3d(pygame.display.get_surface())
    window.session.env.unwrapped.state["progress"] = 4 * window.session.env.unwrapped.track.length
    run_frames(window, 5)
    assert (window.session.ended, window.session.num_frames) == ("finished", 2)
    title, text = result(window)
    assert title == "FINISH!" and text.startswith("0:00.03")
    with_banner = pygame.surfarray.array3d(pygame.display.get_surface())
    assert (without_banner != with_banner).any(axis=2).mean() > 0.1
    post(pygame, "KEYDOWN", "r")
    run_frames(window, 1)
    assert window.session.ended == "" and window.session.num_frames == 0 and window.waiting


def test_position_among_rivals(pygame):
    session = GameSession(rivals=3)
    assert session.position() == (4, 4)  # the rivals start ahead
    for rival in session.env.unwrapped.state["rivals"][:2]:
        rival[0] -= 500
    assert session.position() == (2, 4)
    assert GameSession().position() is None


@pytest.mark.parametrize("close", ["q", "escape", None])
def test_window_closes_and_keeps_the_frame_rate(pygame, close):
    """Runs the whole script: it plays at most 60 frames per second."""
    frames = []

    def close_later() -> None:
        while not pygame.display.get_init() or pygame.display.get_surface() is None:
            time.sleep(0.01)
        time.sleep(0.7)
        if close:
            post(pygame, "KEYDOWN", close)
        else:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    step = GameSession.step

    def counted_step(session, held=frozenset()):
        frames.append(time.perf_counter())
        step(session, held)

    closer = threading.Thread(target=close_later)
    closer.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GameSession, "step", counted_step)
        view.main(view.parse_args(["--rivals", "0", "--policy", "random"]))
    closer.join()
    # No faster than the game's frame rate; a busy machine may be slower.
    assert 5 <= len(frames) <= 1 + 60 * (frames[-1] - frames[0]) + 7


def test_keys_press_the_console_s_buttons():
    def down(controller: ButtonController, *keys: str) -> set:
        bits = controller.choose(np.zeros((1, 1, 3), np.uint8), False, frozenset(keys))
        return {button for button, bit in zip(controller.buttons, bits, strict=True) if bit}

    pad = ("B", "Y", "SELECT", "START", "UP", "DOWN", "LEFT", "RIGHT", "A", "X", "L", "R")
    kart = ButtonController(find_game("Mode7Kart-v0"), pad)
    assert down(kart, "up", "left", "space") == down(kart, "w", "a", "x") == {"B", "LEFT", "R"}
    assert down(kart, "down", "return", "f5") == down(kart, "s") == {"Y"}  # it has no menus
    assert down(kart, "left", "right", "up") == {"B"}
    console = ButtonController(replace(find_game("Mode7Kart-v0"), name="Kart-Snes"), pad)
    assert down(console, "down", "return", "w") == {"Y", "START", "UP"}
    actions = (Action("nothing"), Action("fire", ("B",), ("space",)), Action("left", ("LEFT",), ("left",)))
    shooter = ButtonController(Game("Shooter", actions, 60, GameSession), ("B", None, "LEFT", "UP"))
    assert down(shooter, "space", "up", "s") == {"B", "UP"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_missing_display_is_one_line():
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    bare = {name: value for name, value in os.environ.items() if name not in screens}
    done = subprocess.run([sys.executable, view.__file__], env=bare, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "--headless" in done.stderr


@pytest.mark.parametrize("script", ["view_mario_kart_env", "record_trajectories", "make_state"])
def test_pygame_that_cannot_be_loaded_is_one_line(script, tmp_path, monkeypatch):
    """A missing library was a traceback in two of three scripts, and one hid the reason."""
    monkeypatch.delitem(sys.modules, "player.window.window", raising=False)
    monkeypatch.delitem(sys.modules, "pygame", raising=False)
    (tmp_path / "pygame.py").write_text("raise OSError('libSDL2.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    module, argv = importlib.import_module(script), []
    if script == "record_trajectories":
        argv = ["--policy", "person", "--frames", "200", "--output", str(tmp_path / "mine.npz")]
    elif script == "make_state":
        argv = ["--game", "Mode7Kart-v1", "--name", "Start"]
        monkeypatch.setattr(module, "register_integrations", lambda _: None)
        monkeypatch.setattr(module, "state_path", lambda *_: tmp_path / "none.state")
        monkeypatch.setattr(module, "SavestateSession", lambda args: GameSession())
    with pytest.raises(
        InputError, match=r"a window needs pygame \(libSDL2.so: cannot open .*, or (add|choose|give)"
    ):
        module.main(module.parse_args(argv))
    assert not (tmp_path / "mine.npz").exists()
