"""Draws the game's window: the frame, what is said over it, and the status bar. Does not change the window.

`window`: a Window.
"""

from pathlib import Path
from typing import Iterator, List, Tuple

import pygame

from player.games.game import BUILT_IN_GAME, DRIVING_ACTIONS
from player.window import draw
from player.window.controllers import ButtonController
from player.window.draw import ACCENT, BACKGROUND, MUTED, TEXT, WARNING, Color, Row

BAR_HEIGHT = 30  # height of the status bar, pixels, times draw.text_scale
MAX_ACTIONS = 12  # rows of actions in a panel


def format_time(seconds: float) -> str:
    """Minutes, seconds and hundredths: 75.5 -> "1:15.50"."""
    return f"{int(seconds) // 60}:{seconds % 60:05.2f}"


def ordinal(number: int) -> str:
    """1 -> "1st"; for numbers up to 13, the maximum number of karts."""
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(number, "th")


def draw_window(window, screen: pygame.Surface) -> None:
    """Draws all of the window."""
    session, scale = window.session, draw.text_scale(screen.get_size())
    bar_height = round(BAR_HEIGHT * scale)
    area = pygame.Rect(0, 0, screen.get_width(), max(1, screen.get_height() - bar_height))
    screen.fill(BACKGROUND)
    picture = draw.draw_frame(screen, session.frame_u8, area)
    if window.show_help:
        draw.shade(screen, area, 110)
        draw.draw_panel(screen, area, "KEYS", [game_rows(window), command_rows(window)], scale)
    elif window.waiting:
        draw.shade(screen, area, 110)
        rows = [*game_rows(window)[1:], ("", ()), ("all keys", window.keys_of("help")[:1])]
        draw.draw_panel(screen, area, session.invitation, [rows], scale)
    elif window.countdown():
        number, progress = window.countdown()
        draw.draw_number(screen, picture, str(number), progress, "any key skips")
    elif session.ended:
        draw_banner(screen, picture, *result(window), scale)
    elif window.paused:
        draw_banner(screen, picture, "PAUSED", "P continues", scale)
    draw_bar(window, screen, pygame.Rect(0, area.bottom, area.width, bar_height), scale)


def draw_bar(window, screen: pygame.Surface, bar: pygame.Rect, scale: float) -> None:
    """Draws the status at the left and, at the right, the first description of the keys that fits."""
    left, right = round(12 * scale), bar.right - round(12 * scale)
    for text, color in status_texts(window):
        if left + draw.font(20 * scale).size(text)[0] > right:
            break
        left = draw.write(screen, text, 20 * scale, color, midleft=(left, bar.centery)).right + round(
            18 * scale
        )
    for text in controls(window):
        if left + draw.font(20 * scale).size(text)[0] <= right:
            draw.write(screen, text, 20 * scale, MUTED, midright=(right, bar.centery))
            break


def draw_banner(screen: pygame.Surface, area: pygame.Rect, title: str, text: str, scale: float) -> None:
    """Draws a title and a line of text, as large as they fit, on a translucent band across `area`."""
    scale = min(scale, 0.92 * area.width / max(1, draw.font(30).size(text)[0]))
    height = round(104 * scale)
    band = pygame.Rect(area.left, area.centery - height // 2, area.width, height)
    draw.shade(screen, band, 205)
    draw.write(screen, title, 56 * scale, ACCENT, midtop=(band.centerx, band.top + round(14 * scale)))
    draw.write(screen, text, 30 * scale, TEXT, midbottom=(band.centerx, band.bottom - round(14 * scale)))


def result(window) -> Tuple[str, str]:
    """Title and text of the banner at the end of an episode."""
    session, position = window.session, window.session.position()
    if session.game.name != BUILT_IN_GAME:
        # round() without digits is an int: there is no -0
        text = f"reward {round(session.total_reward)}   {format_time(session.seconds())}   R plays again"
        return "GAME OVER", text
    title = "FINISH!" if session.ended == "finished" else "OUT OF TIME"
    rank = f"{ordinal(position[0])} of {position[1]}   " if position else ""
    next_track = ", T the next track" if session.has_more_tracks else ""
    return title, f"{rank}{format_time(session.seconds())}   R races again{next_track}"


def status_texts(window) -> Iterator[Tuple[str, Color]]:
    """Texts of the status bar and their colors, from left to right."""
    session = window.session
    yield session.name, ACCENT
    if session.status:
        yield session.status, WARNING
    laps = getattr(session.env.unwrapped, "laps", None)
    if "lap" in session.truth and laps:
        yield f"lap {round(session.truth['lap'])}/{laps}", TEXT
    if session.position():
        yield "{} of {}".format(*session.position()), TEXT
    yield format_time(session.seconds()), TEXT
    speed = next((value for name, value in session.truth.items() if name.endswith("speed")), None)
    if speed is not None:
        # Mode7Kart's unit is pixels per frame; its top speed, 2.0, is displayed as 100.
        yield f"speed {round(float(50 * speed if laps else speed))}", TEXT
    if session.policy:
        yield f"driven by {Path(session.policy).name}", TEXT


def controls(window) -> Iterator[str]:
    """Descriptions of the keys for the bar, from the most detailed to the shortest."""
    session = window.session
    names = ("help", "restart", "next track", "pause", "quit")
    keys = [(name, window.keys_of(name)) for name in names]
    texts = [f"{draw.key_label(keys[0])} {name.split()[-1]}" for name, keys in keys if keys]
    if session.game.actions == DRIVING_ACTIONS and isinstance(session.controller, ButtonController):
        yield "arrows drive, down brakes, space hops   " + "  ".join(texts)
    yield "  ".join(texts)
    yield texts[0]


def game_rows(window) -> List[Row]:
    """The game's keys for a panel, below a heading."""
    session = window.session
    if session.policy:
        return [("GAME", ()), (f"driven by {Path(session.policy).name}", ())]
    rows = [(name, keys) for name, keys in session.controller.key_rows() if keys]
    idle = [name for name, keys in session.controller.key_rows() if not keys]
    more = [(f"and {len(rows) - MAX_ACTIONS} more", ())] if len(rows) > MAX_ACTIONS else []
    rows = [("GAME", ()), *rows[:MAX_ACTIONS], *more]
    if idle:
        rows.append((f"no key: {idle[0]}", ()))
    if getattr(session.controller, "arrow_of_key", None):
        rows.append(("W A S D are arrows, too", ()))
    return rows


def command_rows(window) -> List[Row]:
    """The window's keys for a panel, below a heading."""
    rows = [(text, window.keys_of(name)[:2]) for name, (_, text) in window.commands().items()]
    return [("WINDOW", ()), *((text, keys) for text, keys in rows if keys)]
