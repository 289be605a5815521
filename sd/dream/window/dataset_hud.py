"""Draws the dataset viewer: the frame, the panels over it, and the bar with the timeline. Does not change the viewer.

`viewer`: a DatasetViewer. `row`, `t`: the frame's indices in the recording.
"""

import os
from collections.abc import Sequence

import numpy as np

from dream.window.dataset_commands import COMMANDS
from dream.window.dataset_index import column_fractions, format_time, frame_values, timeline_column
from dream.window.draw import (
    ACCENT,
    BACKGROUND,
    BAR_HEIGHT,
    BORDER,
    GREEN,
    MUTED,
    TEXT,
    draw_frame,
    draw_keys,
    draw_row,
    ellipsize,
    font,
    key_label,
    set_scale,
    write,
)
from dream.window.help import draw_help
from dream.window.overlays import draw_badge

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

BAR_COMMANDS = ("help", "play", "actions", "select", "next run", "quit")
MAX_KEYS = 12  # if the game has more, only the keys that are held are drawn


def draw_viewer(viewer, screen: pygame.Surface) -> pygame.Rect:
    """Draws all of the window; returns the rectangle of the frame."""
    width, height = screen.get_size()
    bar_height = viewer.bar_height if viewer.has_bar() else 0
    row, t = divmod(viewer.position, viewer.recording.num_steps)
    set_scale((1, 1))
    screen.fill(BACKGROUND)
    rect = draw_picture(viewer, screen, pygame.Rect(0, 0, width, height - bar_height), row, t)
    if bar_height:
        draw_bar(viewer, screen.subsurface((0, height - bar_height, width, bar_height)), row, t)
        draw_timeline(viewer, screen, viewer.timeline())
    return rect


def draw_picture(viewer, screen: pygame.Surface, area: pygame.Rect, row: int, t: int) -> pygame.Rect:
    """Draws the frame with panels and messages over it; returns the rectangle of the frame."""
    recording = viewer.recording
    rect = draw_frame(screen, recording.frames[row, t].transpose(1, 2, 0), area)
    if viewer.help_page:
        commands = [(command.help, command.keys) for command in COMMANDS.values()]
        footer = (
            "drag the mouse along the timeline",
            "counts and % are of the action chosen at each step,",
            "not of the keys held: up+left is an action of its own",
            "",
            f"{viewer.name}, {recording.meta.get('game', 'unknown game')}",
            f"{recording.num_rows} rows x {recording.num_steps} steps",
            f"{recording.width} x {recording.height} pixels, {recording.fps:g} frames/s",
        )
        draw_help(screen, area, {"WINDOW": commands}, (), footer)
        return rect
    if viewer.show_actions:
        action = int(recording.actions[row, t])
        draw_actions(
            screen, area, recording.action_names, viewer.counts, viewer.order, action, viewer.selected
        )
    if recording.episode_starts[row, t]:
        draw_badge(screen, "episode start", ACCENT, bottomright=(area.right - 10, area.bottom - 10))
    if viewer.now() < viewer.message_until:
        draw_badge(screen, viewer.message, TEXT, bottomleft=(area.left + 10, area.bottom - 10))
    return rect


def draw_bar(viewer, bar: pygame.Surface, row: int, t: int) -> None:
    """First row: keys, action, time. Second row: commands, position. Third row: other recorded values."""
    recording = viewer.recording
    action = int(recording.actions[row, t])
    keys = recording.action_keys[action]
    pygame.draw.line(bar, BORDER, (0, 0), (bar.get_width(), 0))
    too_many = len({key for keys in recording.action_keys for key in keys}) > MAX_KEYS
    left = draw_keys(bar, (keys,) if too_many else recording.action_keys, keys, 16) + 18
    duration = format_time(recording.num_frames / recording.fps)
    elapsed = (format_time(viewer.position / recording.fps), 28, GREEN if viewer.playing else TEXT)
    count = viewer.counts[viewer.selected]
    fraction = count / viewer.counts.sum()
    runs = f"{len(viewer.runs)} run{'s' * (len(viewer.runs) != 1)}"
    selected = (
        f"{viewer.selected_name}: {runs}, chosen in {count} step{'s' * bool(count != 1)}, {fraction:.1%}"
    )
    draw_row(bar, 20, left, (recording.action_names[action], 28, TEXT),
             [(selected, 18, GREEN), elapsed, (f"of {duration}", 18, MUTED)])  # fmt: skip
    commands = "   ".join(f"{key_label(COMMANDS[name].keys[0])} {name}" for name in BAR_COMMANDS)
    position = [(f"row {row}, t {t}, frame {viewer.position}", 18, MUTED)]
    draw_row(bar, 46, left, (commands, 18, MUTED), position)
    x, y = 16, BAR_HEIGHT + 6
    for name, value in frame_values(recording.extras, row, t):
        if x + font(18).size(f"{name} {value}")[0] > bar.get_width() - 16:
            break
        x = write(bar, name, 18, MUTED, midleft=(x, y)).right + 5
        x = write(bar, value, 18, TEXT, midleft=(x, y)).right + 16


def draw_timeline(viewer, screen: pygame.Surface, rect: pygame.Rect) -> None:
    """Green where the selected action was chosen, ticks above at episode starts, a marker at the position."""
    num_frames = viewer.recording.num_frames
    fractions = column_fractions(viewer.selected_counts, rect.width)
    brightness = np.where(fractions > 0, 0.3 + 0.7 * np.sqrt(fractions), 0.0)  # a single frame is visible too
    colors = np.array(BORDER) + brightness[:, None] * (np.array(GREEN) - BORDER)  # (width, 3)
    line = pygame.surfarray.make_surface(colors.round().astype(np.uint8)[:, None])
    screen.blit(pygame.transform.scale(line, rect.size), rect)
    for column in {timeline_column(int(start), rect.width, num_frames) for start in viewer.episodes}:
        x = rect.left + column
        pygame.draw.line(screen, MUTED, (x, rect.top - 5), (x, rect.top - 2))
    x = rect.left + timeline_column(viewer.position, rect.width, num_frames)
    pygame.draw.rect(screen, ACCENT, (x - 1, rect.top - 6, 3, rect.height + 10))
    pygame.draw.polygon(screen, ACCENT, [(x - 5, rect.top - 8), (x + 5, rect.top - 8), (x, rect.top - 2)])


def draw_actions(
    screen: pygame.Surface, area: pygame.Rect, names: Sequence[str], counts: np.ndarray, order: Sequence[int],
    current: int, selected: int,
) -> None:  # fmt: skip
    """Draws a histogram of the chosen actions, `counts` int (A,), in the given order; the current action is in the
    accent color, the selected one in green."""
    row_height = 22
    num_rows = max(1, min(len(order), (area.height - 60) // row_height))
    first = min(max(order.index(selected) - num_rows // 2, 0), len(order) - num_rows)
    panel = pygame.Surface((max(1, min(480, area.width - 20)), num_rows * row_height + 38), pygame.SRCALPHA)
    panel.fill((*BACKGROUND, 225))
    width = panel.get_width()
    write(panel, "ACTIONS CHOSEN", 18, ACCENT, midleft=(14, 18))
    write(panel, "steps", 18, MUTED, midright=(width - 66, 18))
    write(panel, "%", 18, MUTED, midright=(width - 12, 18))
    name_width = min(max(font(18).size(name)[0] for name in names), width // 3)
    left = 26 + name_width + 10
    max_length = max(0, width - 130 - left)
    for i, action in enumerate(order[first : first + num_rows]):
        y = 32 + i * row_height + row_height // 2
        color = ACCENT if action == current else GREEN if action == selected else TEXT
        if action == selected:
            pygame.draw.polygon(panel, GREEN, [(12, y - 5), (12, y + 5), (19, y)])
        write(panel, ellipsize(names[action], 18, name_width), 18, color, midleft=(26, y))
        length = round(max_length * counts[action] / counts.max())
        if counts[action]:
            bar = (left, y - 6, max(length, 1), 12)
            pygame.draw.rect(panel, MUTED if color == TEXT else color, bar, border_radius=3)
        write(panel, str(counts[action]), 18, color, midright=(width - 66, y))
        write(panel, f"{counts[action] / counts.sum():.1%}", 18, color, midright=(width - 12, y))
    screen.blit(panel, (area.left + 10, area.top + 10))
