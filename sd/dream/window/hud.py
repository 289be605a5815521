"""Draws the play window: the frames, the messages over them, and the bar below. Does not change the window.

`window`: a PlayWindow.
"""

import os

from dream.window.commands import COMMANDS
from dream.window.draw import (
    AMBER,
    BACKGROUND,
    BAR_HEIGHT,
    BORDER,
    MUTED,
    RED,
    TEXT,
    draw_badge,
    draw_chart,
    draw_fade_in,
    draw_frames,
    draw_help,
    draw_keys,
    draw_row,
    ellipsize,
    fps_labels,
    key_label,
)

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

BAR_COMMANDS = ("help", "restart", "pause", "rewind", "driver", "video", "quit")
FADE_IN_S = 0.7  # duration of the fade-in after a restart


def draw_window(window, screen: pygame.Surface) -> None:
    width, height = screen.get_size()
    bar_height = BAR_HEIGHT if window.show_bar and height > 2 * BAR_HEIGHT else 0
    screen.fill(BACKGROUND)
    draw_picture(window, screen, pygame.Rect(0, 0, width, height - bar_height))
    if bar_height:
        draw_bar(window, screen.subsurface((0, height - bar_height, width, bar_height)))


def draw_picture(window, screen: pygame.Surface, area: pygame.Rect) -> None:
    rect = draw_frames(screen, window.frames(window.view), area, named=window.session.real is not None)
    draw_fade_in(screen, rect, (window.now() - window.started_at) / FADE_IN_S)
    if window.show_help:
        actions = dict(zip(window.env.action_names, window.env.action_keys, strict=True))
        commands = [(command.help, window.command_keys[name]) for name, command in COMMANDS.items()]
        footer = (window.settings(), f"driver: {window.session.controller.name}", window.env.backend_name)
        draw_help(screen, area, actions, commands, window.shown_keys, footer)
    elif window.waiting or window.paused:
        draw_badge(screen, "press a key" if window.waiting else "paused", TEXT, center=rect.center)
    for recording in window.recorder.active()[:1]:
        seconds = int(recording.num_frames / window.fps)
        text = f"REC {seconds // 60}:{seconds % 60:02d}"
        draw_badge(screen, text, RED, midtop=(area.centerx, area.top + 10))
    if window.now() < window.message_until and not window.show_help:
        message = ellipsize(window.message, 20, area.width - 60)
        draw_badge(screen, message, TEXT, bottomleft=(area.left + 10, area.bottom - 10))


def draw_bar(window, bar: pygame.Surface) -> None:
    """First row: keys, action, frame rate. Second row: commands, backend, position, driver."""
    env, session = window.env, window.session
    pygame.draw.line(bar, BORDER, (0, 0), (bar.get_width(), 0))
    left = draw_keys(bar, env.action_keys, window.shown_keys, 16) + 18
    action = (env.action_names[session.action], 28, TEXT)
    right = draw_row(bar, 20, left, action, fps_labels(window.times, window.target_fps(), window.paused))
    if right - 130 > left + 200:
        draw_chart(bar, window.times, window.target_fps(), right - 10)
    commands = [(name, window.command_keys[name]) for name in BAR_COMMANDS]
    commands = "   ".join(f"{key_label(keys[0])} {name}" for name, keys in commands if keys)
    backend = f"{env.backend_name}, {env.steps} step{'s' * (env.steps > 1)}"
    position = f"start {session.start} of 0-{env.num_starts - 1}, frame {session.num_frames}"
    labels = [(backend, 18, MUTED), (position, 18, MUTED)]
    if not session.human_controls:
        labels.append((f"driver: {session.controller.name}", 18, AMBER))
    draw_row(bar, 46, left, (commands, 18, MUTED), labels)
