"""Opens a pygame window that fits the desktop, and toggles full screen."""

import os

from dream.window.display import has_display
from dream.window.draw import icon

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout


class NoDisplay(Exception):
    """No window can be opened here; the message says why."""


def init_display() -> tuple[int, int]:
    """Returns the desktop's width and height in pixels. Raises pygame.error if there is no display."""
    if not has_display():
        raise pygame.error("neither DISPLAY nor WAYLAND_DISPLAY is set")
    pygame.display.init()
    # SDL falls back to these drivers, which show nothing; tests select one by the environment variable
    if pygame.display.get_driver() in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
        raise pygame.error("no display")
    return pygame.display.get_desktop_sizes()[0]


def open_window(size: tuple[int, int]) -> None:
    """Opens a window of `size` (width, height) in pixels, which the user can resize. Raises pygame.error."""
    pygame.display.set_icon(icon())
    set_mode(size, pygame.RESIZABLE)


def set_mode(size: tuple[int, int], flags: int) -> None:
    """Opens or changes the window. Text input is off: SDL starts it with a window, and an input method for Chinese or
    Japanese, for example, would keep the letters that the window's keys are. Raises pygame.error."""
    pygame.display.set_mode(size, flags)
    pygame.key.stop_text_input()


def toggle_full_screen(window_size: tuple[int, int]) -> tuple[int, int]:
    """Switches between full screen and a window of `window_size`; returns the size of the window to go back to.
    Raises pygame.error."""
    screen = pygame.display.get_surface()
    if not screen.get_flags() & pygame.FULLSCREEN:
        window_size = screen.get_size()
        set_mode((0, 0), pygame.FULLSCREEN)
        return window_size
    for _ in range(2):  # the first call ends full screen; some drivers apply the size on the second only
        set_mode(window_size, pygame.RESIZABLE)
    return window_size
