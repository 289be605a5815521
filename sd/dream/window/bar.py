"""The bar below the frames, or at their right in a wide window: keys, laps, time of the drive, commands; and the
technical line. Does not change the window.

`window`: a PlayWindow.
"""

import os
from typing import NamedTuple

from dream.play.timing import FrameTimes
from dream.window.draw import (
    ACCENT,
    AMBER,
    BAR_HEIGHT,
    BORDER,
    GREEN,
    MUTED,
    TEXT,
    Color,
    cap_width,
    draw_cap,
    draw_keys,
    font,
    px,
    write,
)

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

PANEL_WIDTH, NUMBERS_HEIGHT = 220, 24  # of a bar at the right; of the technical line
COMMAND_WORDS = {
    "help": "help",
    "restart": "again",
    "rewind": "back",
    "driver": "driver",
    "clip": "GIF",
    "pause": "pause",
    "quit": "quit",
}


class Item(NamedTuple):
    """A value with its name."""

    name: str
    value: str
    size: int = 26
    color: Color = TEXT


def bar_height(window) -> int:
    """Height of a bar below the frames, in screen pixels of the current scale."""
    return px(BAR_HEIGHT) + window.show_numbers * px(NUMBERS_HEIGHT)


def format_time(seconds: float, decimals: int = 0) -> str:
    """Minutes and seconds: 0:07, or 0:07.3 with a decimal."""
    units = int(seconds * 10**decimals)  # truncated, as a clock does
    seconds = units / 10**decimals
    width = 3 + decimals if decimals else 2
    return f"{int(seconds // 60)}:{seconds % 60:0{width}.{decimals}f}"


def status_items(window) -> list[Item]:
    """What a person wants to know of the drive, the most important first."""
    session, drive, items = window.session, window.drive, []
    laps = getattr(session, "lap_timer", None)
    if laps:
        items.append(Item("lap", str(laps.laps + 1), color=ACCENT))
        if laps.lap_s is not None:
            items.append(Item("", format_time(laps.lap_s, 1)))
        if laps.last_lap_s is not None:
            items.append(Item("last lap", format_time(laps.last_lap_s, 1), 20))
        if laps.best_lap_s is not None:
            items.append(Item("best lap", format_time(laps.best_lap_s, 1), 20, GREEN))
    if not session.human_controls:
        return [*items, Item("driver", session.controller.name, 20, AMBER)]
    items.append(Item("drive", format_time(drive.seconds), 20 if laps else 26))
    if drive.best_s >= 1:
        items.append(Item("longest", format_time(drive.best_s), 20, GREEN))
    return items


def slow_text(window) -> str:
    """The warning if the machine is too slow for the game's speed, else an empty text."""
    fps = window.times.fps()
    is_slow = fps is not None and not window.paused and fps < 0.9 * window.target_fps()
    return f"slow: {fps:.0f} of {window.target_fps():.3g} frames/s" if is_slow else ""


def bar_commands(window) -> list[tuple[str, str]]:
    """(key, word) of the commands that the bar names."""
    keys = {name: window.command_keys[name] for name in COMMAND_WORDS}
    return [(keys[name][0], word) for name, word in COMMAND_WORDS.items() if keys[name]]


def draw_bar(window, bar: pygame.Surface) -> None:
    """First row: keys, drive. Second row: commands. Third row, if wanted: the technical line."""
    env, right = window.env, bar.get_width() - px(16)
    pygame.draw.line(bar, BORDER, (0, 0), (bar.get_width(), 0))
    left = draw_keys(bar, env.action_keys, window.shown_keys, px(16)) + px(18)
    x, slow = left, slow_text(window)
    if slow:
        right = write(bar, slow, 24, AMBER, midright=(right, px(20))).left - px(14)
    for item in status_items(window):
        name_width = font(18).size(item.name)[0] + px(6) if item.name else 0
        if x + name_width + font(item.size).size(item.value)[0] > right:
            break
        if item.name:
            write(bar, item.name, 18, MUTED, midleft=(x, px(21)))
        x = write(bar, item.value, item.size, item.color, midleft=(x + name_width, px(20))).right + px(18)
    x = left
    for key, word in bar_commands(window):
        width = cap_width(key, 16) + px(5) + font(18).size(word)[0]
        if x + width > bar.get_width() - px(12):
            break
        draw_cap(bar, key, False, x, px(46), 16)
        write(bar, word, 18, MUTED, midright=(x + width, px(46)))
        x += width + px(14)
    if window.show_numbers:
        row = pygame.Rect(px(16), px(BAR_HEIGHT - 4), bar.get_width() - px(32), px(NUMBERS_HEIGHT))
        draw_numbers(window, bar, row)


def draw_panel(window, panel: pygame.Surface) -> None:
    """The same at the right of the frames, one item a row."""
    width, height = panel.get_size()
    pygame.draw.line(panel, BORDER, (0, 0), (0, height))
    left, y = px(18), px(84)
    draw_keys(panel, window.env.action_keys, window.shown_keys, left)
    for item in status_items(window):
        write(panel, item.name or "time", 18, MUTED, midleft=(left, y))
        write(panel, item.value, item.size, item.color, midright=(width - px(18), y))
        y += px(28)
    if slow := slow_text(window):
        write(panel, slow, 20, AMBER, midleft=(left, y))
    commands = bar_commands(window)
    rows = -(-len(commands) // 2)
    for i, (key, word) in enumerate(commands):  # in two columns, from top to bottom
        x, y = left + i // rows * (width // 2 - px(4)), height - px(24) * (rows - i % rows) + px(4)
        write(panel, word, 18, MUTED, midleft=(draw_cap(panel, key, False, x, y, 16) + px(6), y))


def number_texts(window) -> list[str]:
    """The technical line: frame rate and times, backend, sampling, position."""
    env, session, times = window.env, window.session, window.times
    fps = "-" if times.fps() is None else f"{times.fps():.1f}"
    return [
        f"{fps} of {window.target_fps():.3g} frames/s",
        f"{times.mean_ms():.1f} ms/frame, max {times.worst_ms():.1f}",
        f"{env.backend_name}, {env.steps} step{'s' * (env.steps > 1)}",
        f"start {session.start} of 0-{env.num_starts - 1}, frame {session.num_frames}",
        f"{env.action_names[session.action]}, {window.settings()}",
    ]


def draw_numbers(window, surface: pygame.Surface, rect: pygame.Rect) -> None:
    """Draws the technical line in `rect`: as many of its texts as fit, and the frame time chart at the right."""
    chart_left, texts, x = rect.right - px(120), number_texts(window), rect.left
    total = {size: sum(font(size).size(text)[0] + px(14) for text in texts) for size in (18, 16, 14)}
    size = next((size for size, width in total.items() if x + width < chart_left), 14)
    for text in texts:
        if x + font(size).size(text)[0] > chart_left - px(12):
            break
        x = write(surface, text, size, MUTED, midleft=(x, rect.centery)).right + px(14)
    if rect.width > px(200):
        draw_chart(surface, window.times, window.target_fps(), rect.right, rect.bottom - px(4))


def draw_chart(
    surface: pygame.Surface, times: FrameTimes, target_fps: float, right: int, bottom: int
) -> None:
    """Draws the time of each recent frame as a bar; the horizontal line is the game's time per frame."""
    for number, duration_s in enumerate(reversed(times.recent_s)):
        height = px(min(18, max(1, 10 * duration_s * target_fps)))
        color = GREEN if duration_s * target_fps <= 1 else AMBER
        pygame.draw.rect(surface, color, (right - px(3) * (number + 1), bottom - height, px(2), height))
    pygame.draw.line(surface, MUTED, (right - px(120), bottom - px(10)), (right, bottom - px(10)))
