"""Draws the game's frame, keys, panels and numbers on a pygame surface. Sizes and positions are in pixels.

sd/dream/window/draw.py has the same look; the two sides share no Python.
"""

import os
from functools import lru_cache
from typing import List, Sequence, Tuple

import numpy as np

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

BACKGROUND, BORDER, MUTED, TEXT = (18, 19, 28), (52, 54, 72), (139, 143, 163), (240, 237, 228)
ACCENT, WARNING = (255, 208, 84), (244, 92, 92)
BASE_SIZE = (
    1024,
    480,
)  # a window of this size has text of the sizes in the code; larger ones have larger text

Color = Tuple[int, int, int]
Row = Tuple[str, Sequence[str]]  # a text, and the keys in front of it; without keys it is a heading
KEY_LABELS = {"backspace": "Back", "escape": "Esc", "return": "Enter", "space": "Space", "tab": "Tab"}
ARROWS = {  # corners of the arrow in a key of height 18
    "up": ((0, -4), (-4, 3), (4, 3)),
    "left": ((-4, 0), (3, -4), (3, 4)),
    "down": ((0, 4), (-4, -3), (4, -3)),
    "right": ((4, 0), (-3, -4), (-3, 4)),
}


def text_scale(size: Tuple[int, int]) -> float:
    """By how much text is larger in a window of `size` (width, height) than in one of BASE_SIZE; at least 1."""
    return max(1.0, min(size[0] / BASE_SIZE[0], size[1] / BASE_SIZE[1]))


def font(size: float) -> pygame.font.Font:
    """pygame's built-in font, which needs no search through the system's fonts."""
    if not pygame.font.get_init():
        pygame.font.init()
    return _load_font(round(size))


@lru_cache(maxsize=64)
def _load_font(size: int) -> pygame.font.Font:
    pygame.register_quit(_load_font.cache_clear)  # a font from before a pygame.quit() crashes the process
    return pygame.font.Font(None, size)


def write(surface: pygame.Surface, text: str, size: float, color: Color, **position) -> pygame.Rect:
    """Draws one line of text; `position`: an attribute of pygame.Rect, such as midleft=(x, y)."""
    rendered = font(size).render(text, True, color)
    return surface.blit(rendered, rendered.get_rect(**position))


def draw_frame(screen: pygame.Surface, frame_u8: np.ndarray, area: pygame.Rect) -> pygame.Rect:
    """Draws a frame, uint8 (H, W, 3), as large as it fits; returns its rectangle.

    A scale just above a whole number is rounded down to it, so that all pixels have the same size; at other scales the
    picture is smoothed.
    """
    H, W, _ = frame_u8.shape
    scale = min(area.width / W, area.height / H)
    if scale >= 1 and int(scale) / scale > 0.95:
        scale = int(scale)
    rect = pygame.Rect(0, 0, max(1, round(W * scale)), max(1, round(H * scale)))
    rect.center = area.center
    frame = pygame.Surface((W, H), 0, screen)  # in the screen's format: convert() would need a display
    frame.blit(pygame.image.frombuffer(np.ascontiguousarray(frame_u8).tobytes(), (W, H), "RGB"), (0, 0))
    is_whole = rect.width % W == 0 and rect.height % H == 0
    resize = pygame.transform.scale if is_whole else pygame.transform.smoothscale
    screen.blit(resize(frame, rect.size), rect)
    return rect


def shade(screen: pygame.Surface, area: pygame.Rect, opacity: int) -> None:
    """Darkens an area; `opacity`: 0-255."""
    cover = pygame.Surface(area.size)
    cover.fill(BACKGROUND)
    cover.set_alpha(opacity)
    screen.blit(cover, area)


def key_width(key: str, size: float) -> int:
    """Width of a drawn key."""
    height = round(1.1 * size)
    return height if key in ARROWS else max(height, font(size).size(key_label(key))[0] + round(0.6 * size))


def key_label(key: str) -> str:
    """The label of a key of this name of pygame."""
    return KEY_LABELS.get(key, key.upper() if len(key) == 1 or key[1:].isdigit() else key)


def draw_key(surface: pygame.Surface, key: str, size: float, left: int, y: int, lit: bool = False) -> int:
    """Draws a key, centered at `y`; returns its right edge. `lit`: it is held down."""
    height = round(1.1 * size)
    rect = pygame.Rect(left, y - height // 2, key_width(key, size), height)
    pygame.draw.rect(surface, ACCENT if lit else BORDER, rect, border_radius=max(3, height // 4))
    color = BACKGROUND if lit else TEXT
    if key in ARROWS:
        corners = [(rect.centerx + x * size / 18, rect.centery + y * size / 18) for x, y in ARROWS[key]]
        pygame.draw.polygon(surface, color, corners)
    else:
        write(surface, key_label(key), size, color, center=rect.center)
    return rect.right


def row_width(row: Row, size: float, indent: int) -> int:
    """Width of a row; its text begins `indent` pixels after its left edge."""
    return (indent if row[1] else 0) + font(size).size(row[0])[0]


def keys_width(rows: Sequence[Row], size: float) -> int:
    """Width of the widest group of keys, with the space after it."""
    gap = round(0.2 * size)
    return max((sum(key_width(key, size) + gap for key in keys) for _, keys in rows), default=0) + round(
        0.5 * size
    )


def draw_rows(
    surface: pygame.Surface, rows: Sequence[Row], size: float, left: int, top: int, step: float
) -> None:
    """Draws rows of keys and texts below each other, `step` pixels apart."""
    indent, gap = keys_width(rows, size), round(0.2 * size)
    for i, (text, keys) in enumerate(rows):
        x, y = left, round(top + (i + 0.5) * step)
        for key in keys:
            x = draw_key(surface, key, size, x, y) + gap
        color = TEXT if keys else ACCENT if text.isupper() else MUTED
        write(surface, text, size, color, midleft=(left + (indent if keys else 0), y))


def draw_panel(
    screen: pygame.Surface, area: pygame.Rect, title: str, columns: List[Sequence[Row]], scale: float
) -> None:
    """Draws a panel in the middle of `area`: a title above columns of rows, in the largest text up to `scale` that
    fits, the columns below each other if that text is larger."""
    stacked = [[row for column in columns for row in [*column, ("", ())]][:-1]]
    best = max((_panel_scale(area, title, layout, scale), -i) for i, layout in enumerate((columns, stacked)))
    unit, columns = best[0], (columns, stacked)[-best[1]]
    size, step, margin = 22 * unit, 28 * unit, round(22 * unit)
    widths = [_column_width(column, size) for column in columns]
    width = max(sum(widths) + margin * (len(columns) + 1), font(40 * unit).size(title)[0] + 2 * margin)
    title_height = round(44 * unit)
    height = 2 * margin + title_height + round(step * max(map(len, columns)))
    panel = pygame.Surface((width, height), pygame.SRCALPHA)
    pygame.draw.rect(panel, (*BACKGROUND, 232), panel.get_rect(), border_radius=round(14 * unit))
    write(panel, title, 40 * unit, ACCENT, midtop=(width // 2, margin))
    x = (width - sum(widths) - margin * (len(columns) - 1)) // 2
    for column, column_width in zip(columns, widths):
        draw_rows(panel, column, size, x, margin + title_height, step)
        x += column_width + margin
    screen.blit(panel, panel.get_rect(center=area.center))


def _column_width(column: Sequence[Row], size: float) -> int:
    indent = keys_width(column, size)
    return max((row_width(row, size, indent) for row in column), default=0)


def _panel_scale(area: pygame.Rect, title: str, columns: List[Sequence[Row]], scale: float) -> float:
    """The largest scale of text up to `scale` with which a panel fits into `area`."""
    width = max(
        sum(_column_width(column, 22) for column in columns) + 22 * (len(columns) + 1),
        font(40).size(title)[0] + 44,
    )
    height = 88 + 28 * max(map(len, columns))
    return min(scale, 0.96 * area.width / width, 0.96 * area.height / height)


def draw_number(screen: pygame.Surface, area: pygame.Rect, text: str, progress: float, hint: str) -> None:
    """Draws a large number that shrinks as `progress` goes from 0 to 1, and a line of text below it."""
    height = area.height * (0.75 - 0.25 * progress)
    for offset, color in ((max(2, area.height // 90), BACKGROUND), (0, ACCENT)):
        center = (area.centerx + offset, area.centery + offset)
        write(screen, text, height, color, center=center)
    size = max(16, area.height / 22)
    width, height = font(size).size(hint)
    badge = pygame.Surface((width + round(size), height + round(0.6 * size)), pygame.SRCALPHA)
    pygame.draw.rect(badge, (*BACKGROUND, 215), badge.get_rect(), border_radius=badge.get_height() // 2)
    write(badge, hint, size, TEXT, center=badge.get_rect().center)
    screen.blit(badge, badge.get_rect(midbottom=(area.centerx, area.bottom - area.height // 24)))
