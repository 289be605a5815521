"""What the window shows, put together of overlays. It reads the window and changes nothing.

`window`: a DreamWindow.
"""

import pygame

from dream.window.draw import (
    AMBER,
    BAR_HEIGHT,
    DIM,
    LINE,
    NIGHT,
    PAPER,
    RED,
    draw_chart,
    draw_eyelids,
    draw_frames,
    draw_help,
    draw_keys,
    draw_pill,
    draw_row,
    pace_of,
    shortened,
    spelled,
)

IN_THE_BAR = ("help", "restart", "pause", "go back", "driver", "video", "quit")


def draw_window(window, screen: pygame.Surface) -> None:
    width, height = screen.get_size()
    bar_height = BAR_HEIGHT if window.show_bar and height > 2 * BAR_HEIGHT else 0
    screen.fill(NIGHT)
    draw_picture(window, screen, pygame.Rect(0, 0, width, height - bar_height))
    if bar_height:
        draw_bar(window, screen.subsurface((0, height - bar_height, width, bar_height)))


def draw_picture(window, screen: pygame.Surface, area: pygame.Rect) -> None:
    place = draw_frames(screen, window.frames(window.view), area, named=window.ride.real is not None)
    draw_eyelids(screen, place, (window.now() - window.started_at) / 0.7)
    if window.show_help:
        actions = dict(zip(window.dream.action_names, window.dream.action_keys, strict=True))
        footer = (window.knobs(), f"at the wheel: {window.ride.driver.name}", window.dream.backend)
        draw_help(screen, area, actions, window.command_keys, window.shown_keys, footer)
    elif window.waiting or window.paused:
        words = "press a key" if window.waiting else "paused"
        draw_pill(screen, words, PAPER, center=place.center)
    for recorded in window.recorder.running()[:1]:
        seconds = int(recorded.num_frames / window.fps)
        words = f"REC {seconds // 60}:{seconds % 60:02d}"
        draw_pill(screen, words, RED, midtop=(area.centerx, area.top + 10))
    if window.now() < window.message_until and not window.show_help:
        message = shortened(window.message, 20, area.width - 60)
        draw_pill(screen, message, PAPER, bottomleft=(area.left + 10, area.bottom - 10))


def draw_bar(window, bar: pygame.Surface) -> None:
    """Above: keys, action, pace. Below: help, what dreams, place."""
    pygame.draw.line(bar, LINE, (0, 0), (bar.get_width(), 0))
    left = draw_keys(bar, window.dream.action_keys, window.shown_keys, 16) + 18
    action = (window.dream.action_names[window.ride.action], 28, PAPER)
    right = draw_row(bar, 20, left, action, pace_of(window.times, window.pace(), window.paused))
    if right - 130 > left + 220:
        draw_chart(bar, window.times, window.pace(), right - 10)
    shown = ((command, window.command_keys[command]) for command in IN_THE_BAR)
    shown = "   ".join(f"{spelled(keys[0])} {command}" for command, keys in shown if keys)
    dreamed_by = f"{window.dream.backend}, {window.dream.steps} step{'s' * (window.dream.steps > 1)}"
    where = f"place {window.ride.start} of 0-{window.dream.num_starts - 1}, frame {window.ride.age}"
    lower = [(dreamed_by, 18, DIM), (where, 18, DIM)]
    if not window.ride.person_drives:
        lower = [(f"at the wheel: {window.ride.driver.name}", 18, AMBER), *lower]
    draw_row(bar, 46, left, (shown, 18, DIM), lower)
