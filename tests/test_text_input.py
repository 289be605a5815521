"""Text input is off in every window: with it, an input method for Chinese or Japanese, for example, keeps the letters
that are keys of the window, until a word is complete."""

import ctypes
import sys
from pathlib import Path

import pytest
from fakes import FakeEnv

pygame = pytest.importorskip("pygame")


@pytest.fixture
def is_text_input_active(monkeypatch):
    """SDL's own function, from the library that pygame has loaded."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    if not sys.platform.startswith("linux"):
        pytest.skip("the library is looked up in /proc")
    pygame.display.init()
    lines = Path("/proc/self/maps").read_text().splitlines()
    paths = {line.split()[-1] for line in lines if "libSDL2-2" in line}
    if len(paths) != 1:
        pytest.skip("SDL is not a library of its own here")
    yield ctypes.CDLL(paths.pop()).SDL_IsTextInputActive
    pygame.quit()


def test_sdl_starts_text_input(is_text_input_active):
    """The reason for the calls; if this fails, they may be removed."""
    pygame.display.set_mode((100, 100))
    assert is_text_input_active()


def test_the_play_window(is_text_input_active, make_window):
    window = make_window(FakeEnv())
    assert not is_text_input_active()
    for _ in range(2):
        window.toggle_full_screen()
        assert not is_text_input_active()


def test_the_dataset_viewer(is_text_input_active, make_viewer, tmp_path):
    from small import save_moving_square

    make_viewer(save_moving_square(tmp_path / "recording.npz"))
    assert not is_text_input_active()


def test_the_window_of_the_games(is_text_input_active):
    from player.window.controllers import GameSession
    from player.window.window import Window

    Window(GameSession(), scale=1)
    assert not is_text_input_active()
