"""Draws the play window: the frames, what is over them, and the bar. Does not change the window.

`window`: a PlayWindow.
"""

import os

from dream.play.keys import has_gas
from dream.window.bar import NUMBERS_HEIGHT, PANEL_WIDTH, bar_height, draw_bar, draw_numbers, draw_panel
from dream.window.draw import (
    BACKGROUND,
    BAR_HEIGHT,
    RED,
    TEXT,
    choose_grid,
    draw_frames,
    ellipsize,
    font,
    px,
    set_scale,
)
from dream.window.help import draw_help, help_page
from dream.window.overlays import draw_badge, draw_fade_in, draw_hint, draw_rewind

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

FADE_IN_S = 0.7  # duration of the fade-in after a restart
MIN_PANEL_HEIGHT = 330  # a lower window has no room for the panel's rows
MAX_HINT_KEYS = 4  # of the game, before a drive


def draw_window(window, screen: pygame.Surface) -> None:
    width, height = screen.get_size()
    set_scale((width, height))
    frames = window.frames(window.view)
    screen.fill(BACKGROUND)
    bar, panel = bar_height(window), px(PANEL_WIDTH)
    if not window.show_bar or height <= 2 * BAR_HEIGHT:
        draw_picture(window, screen, frames, pygame.Rect(0, 0, width, height))
        return
    numbers = px(NUMBERS_HEIGHT) * window.show_numbers
    below, beside = (
        choose_grid(window.env.frame_shape, len(frames), area)
        for area in ((width, height - bar), (width - panel, height - numbers))
    )
    if beside.scale <= 1.05 * below.scale or height < px(MIN_PANEL_HEIGHT):
        draw_picture(window, screen, frames, pygame.Rect(0, 0, width, height - bar))
        draw_bar(window, screen.subsurface((0, height - bar, width, bar)))
        return
    picture_width = min(width - panel, round(beside.columns * beside.scale * window.env.frame_shape[1]))
    left = (width - panel - picture_width) // 2  # frames and panel are centered together
    draw_picture(window, screen, frames, pygame.Rect(left, 0, picture_width, height - numbers))
    draw_panel(window, screen.subsurface((left + picture_width, 0, panel, height - numbers)))
    if numbers:
        row = pygame.Rect(px(16), height - numbers, width - px(32), numbers)
        draw_numbers(window, screen, row)


def draw_picture(window, screen: pygame.Surface, frames: dict, area: pygame.Rect) -> None:
    """Draws the frames, uint8 (H, W, 3) by name, in `area`, and what is over them."""
    rects = draw_frames(screen, frames, area)
    first = next(iter(rects.values()))
    picture = first.unionall(list(rects.values()))
    for rect in rects.values():
        draw_fade_in(screen, rect, (window.now() - window.started_at) / FADE_IN_S)
    if window.session.real is not None:
        for name, rect in rects.items():
            draw_badge(screen, name, TEXT, bottomright=(rect.right - px(8), rect.bottom - px(8)))
    if window.help_page:
        sections, footer = help_page(window)
        draw_help(screen, area, sections, window.shown_keys, footer)
        return
    if window.rewinding:
        for rect in rects.values():
            draw_rewind(screen, rect, len(window.session.history) / window.session.history.maxlen)
    elif window.waiting:
        draw_hint(screen, picture, start_hint(window))
    elif window.paused:
        draw_badge(screen, "paused", TEXT, 26, center=(picture.centerx, picture.top + picture.height // 3))
    elif window.drive.is_standing():
        draw_hint(screen, picture, [standing_hint(window)])
    for recording in window.recorder.active()[:1]:
        seconds = int(recording.num_frames / window.fps)
        text = f"REC {seconds // 60}:{seconds % 60:02d}"
        draw_badge(screen, text, RED, midtop=(picture.centerx, picture.top + px(10)))
    if window.now() < window.message_until:
        room = picture.width - px(44)
        size = next((size for size in (20, 18, 16) if font(size).size(window.message)[0] <= room), 16)
        message = ellipsize(window.message, size, room)
        draw_badge(screen, message, TEXT, size, bottomleft=(picture.left + px(10), picture.bottom - px(10)))


def start_hint(window) -> list:
    """Rows of keys, for draw_hint: how to begin."""
    game_keys = list(dict.fromkeys(key for keys in window.env.action_keys for key in keys))
    verb = "drive" if has_gas(window.env.action_keys) else "play"
    first = (game_keys, verb) if 0 < len(game_keys) <= MAX_HINT_KEYS else ((), "press a key of the game")
    others = [("driver", "agent drives" if verb == "drive" else "agent plays"), ("help", "help")]
    if len(window.session.controllers) < 2:
        del others[0]
    return [[first], [(window.command_keys[name][:1], text) for name, text in others]]


def standing_hint(window) -> list:
    """A row of keys, for draw_hint: what helps if the picture stands still although keys are held."""
    row = [(window.command_keys["restart"][:1], "again"), (window.command_keys["rewind"][:1], "back")]
    gas = has_gas(window.env.action_keys)
    return [*row, (("up", "right"), "steer with gas") if gas else ((), "or another key")]
