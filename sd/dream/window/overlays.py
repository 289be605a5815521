"""What is drawn over the frames: fade-in, badges, hints, the sign of a rewind. Positions and sizes as in draw.py."""

import os
from collections.abc import Sequence

from dream.window.draw import ACCENT, BACKGROUND, TEXT, Color, cap_width, draw_cap, font, px, write

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout


def draw_fade_in(screen: pygame.Surface, rect: pygame.Rect, progress: float) -> None:
    """Reveals the picture in `rect` through a growing ellipse; `progress` 0 hides it, from 1 on it is visible."""
    if progress >= 1:
        return
    cover = pygame.Surface(rect.size)
    cover.fill(BACKGROUND)
    cover.set_colorkey(ACCENT)
    ellipse = pygame.Rect(0, 0, 1.6 * rect.width, 1.6 * rect.height * max(0.0, progress) ** 1.5)
    ellipse.center = cover.get_rect().center
    pygame.draw.ellipse(cover, ACCENT, ellipse)
    screen.blit(cover, rect)


def draw_badge(
    screen: pygame.Surface, text: str, color: Color, size: int = 20, **position: tuple[int, int]
) -> None:
    """Draws a text on a dark rounded rectangle; `position`: as in `write`."""
    rendered = font(size).render(text, True, color)
    badge = draw_box((rendered.get_width() + px(24), rendered.get_height() + px(12)))
    badge.blit(rendered, (px(12), px(6)))
    screen.blit(badge, badge.get_rect(**position))


def draw_box(size: tuple[int, int]) -> pygame.Surface:
    """A dark rounded rectangle of `size` (width, height), through which the picture can be seen a little."""
    box = pygame.Surface(size, pygame.SRCALPHA)
    pygame.draw.rect(box, (*BACKGROUND, 215), box.get_rect(), border_radius=px(13))
    return box


def draw_hint(
    screen: pygame.Surface, rect: pygame.Rect, rows: Sequence[Sequence[tuple[Sequence[str], str]]]
) -> None:
    """Draws rows of keys, each with what they do, on a dark box over the upper half of `rect`, smaller if `rect` is
    small. `rows`: of (names of keys, text)."""
    size = 22
    while size > 12 and (
        max(_hint_width(row, size) for row in rows) + px(36) > rect.width
        or px(1.75 * size) * len(rows) + px(14) > 0.45 * rect.height
    ):
        size -= 1
    height = px(1.75 * size)
    box = draw_box((max(_hint_width(row, size) for row in rows) + px(36), height * len(rows) + px(14)))
    for i, row in enumerate(rows):
        left, y = (box.get_width() - _hint_width(row, size)) // 2, px(7) + height * i + height // 2
        for keys, text in row:
            for key in keys:
                left = draw_cap(box, key, True, left, y, size) + px(3)
            left = write(box, text, size, TEXT, midleft=(left + px(5), y)).right + px(20)
    place = box.get_rect(center=(rect.centerx, rect.top + round(0.3 * rect.height)))
    screen.blit(box, place.move(0, max(0, rect.top - place.top)))


def _hint_width(row: Sequence[tuple[Sequence[str], str]], size: int) -> int:
    """The width of a row of `draw_hint` in screen pixels."""
    width = sum(cap_width(key, size) + px(3) for keys, _ in row for key in keys)
    return width + sum(px(5) + font(size).size(text)[0] for _, text in row) + px(20) * (len(row) - 1)


def draw_rewind(screen: pygame.Surface, rect: pygame.Rect, fraction: float) -> None:
    """Draws << over the picture in `rect`, and the part of the history that is left (0-1) along its lower edge."""
    height = rect.height / 5
    for side in (-1, 0):
        left, y = rect.centerx + side * 0.85 * height, rect.top + 0.32 * rect.height
        corners = [(left, y), (left + 0.85 * height, y - height / 2), (left + 0.85 * height, y + height / 2)]
        pygame.draw.polygon(screen, ACCENT, corners)
        pygame.draw.polygon(screen, BACKGROUND, corners, width=max(1, px(2)))
    line = pygame.Rect(rect.left, rect.bottom - px(5), rect.width, px(5))
    screen.fill(BACKGROUND, line)
    screen.fill(ACCENT, (*line.topleft, round(fraction * line.width), line.height))
