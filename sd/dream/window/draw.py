"""Drawing functions for text, frames and keys.

They need pygame, but no display: each draws on a given surface. Positions are in screen pixels. Sizes of text and keys
are in pixels of a window of 820 x 420 or less, and grow with the window after `set_scale`.
"""

import os
from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

BAR_HEIGHT = 64
BASE_SIZE, MAX_SCALE = (820, 420), 5.0  # the largest window in which text has its base size
BACKGROUND, BORDER, MUTED, TEXT = (18, 19, 28), (52, 54, 72), (139, 143, 163), (240, 237, 228)
ACCENT, GREEN, AMBER, RED = (255, 208, 84), (104, 214, 140), (255, 168, 76), (244, 92, 92)

Color = tuple[int, int, int]
Label = tuple[str, int, Color]  # text, font size, color
ARROWS = {  # as on a keyboard: column, row, corners of the arrow
    "up": (1, 0, ((0, -4), (-4, 3), (4, 3))),
    "left": (0, 1, ((-4, 0), (3, -4), (3, 4))),
    "down": (1, 1, ((0, 4), (-4, -3), (4, -3))),
    "right": (2, 1, ((4, 0), (-3, -4), (-3, 4))),
}
KEY_LABELS = {
    "backspace": "Back",
    "end": "End",
    "escape": "Esc",
    "home": "Home",
    "page down": "PgDn",
    "page up": "PgUp",
    "return": "Enter",
    "space": "Space",
    "tab": "Tab",
}


# ------------------------------------------------------------------------------------------------ text

_scale = 1.0


def set_scale(size: tuple[int, int]) -> None:
    """Sets the size of everything that is drawn from now on to that of a window of `size` (width, height)."""
    global _scale
    _scale = min(max(1.0, min(size[0] / BASE_SIZE[0], size[1] / BASE_SIZE[1])), MAX_SCALE)


def px(size: float) -> int:
    """Screen pixels of a length that is given for a small window."""
    return round(size * _scale)


def font(size: int) -> pygame.font.Font:
    """pygame's built-in font, which needs no search through the system's fonts."""
    if not pygame.font.get_init():
        pygame.font.init()
    return _load_font(px(size))


@cache
def _load_font(size: int) -> pygame.font.Font:
    pygame.register_quit(_load_font.cache_clear)  # a font from before a pygame.quit() crashes the process
    return pygame.font.Font(None, size)


def write(surface: pygame.Surface, text: str, size: int, color: Color, **position) -> pygame.Rect:
    """Draws one line of text; `position`: an attribute of pygame.Rect, such as midleft=(x, y)."""
    rendered = font(size).render(text, True, color)
    return surface.blit(rendered, rendered.get_rect(**position))


def ellipsize(text: str, size: int, width: int) -> str:
    """Shortens the text to `width` pixels, with an ellipsis."""
    if font(size).size(text)[0] <= width:
        return text
    return next(
        (f"{text[:n]}…" for n in range(len(text), 0, -1) if font(size).size(f"{text[:n]}…")[0] <= width),
        "",
    )


# ------------------------------------------------------------------------------------------------ frames


def icon() -> pygame.Surface:
    """The window's icon: a crescent moon."""
    moon = pygame.Surface((32, 32), pygame.SRCALPHA)
    pygame.draw.circle(moon, ACCENT, (15, 16), 14)
    pygame.draw.circle(moon, (0, 0, 0, 0), (21, 11), 12)
    return moon


def letterbox(size: tuple[int, int], area: tuple[int, int]) -> tuple[int, int, int, int]:
    """Returns x, y, width, height of the largest centered picture of aspect `size` (width, height) in `area`.

    A scale just above an integer is rounded down to it, so that all pixels have the same size.
    """
    scale = min(area[0] / size[0], area[1] / size[1])
    if scale >= 1 and int(scale) / scale > 0.95:
        scale = int(scale)
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return (area[0] - width) // 2, (area[1] - height) // 2, width, height


def draw_frame(screen: pygame.Surface, frame_u8: np.ndarray, area: pygame.Rect) -> pygame.Rect:
    """Draws a frame, uint8 (H, W, 3), as large as it fits; returns its rectangle. It is smoothed only if
    the scale is not an integer."""
    H, W, _ = frame_u8.shape
    rect = pygame.Rect(letterbox((W, H), area.size)).move(area.topleft)
    frame = pygame.Surface((W, H), 0, screen)  # in the screen's format: convert() would need a display
    frame.blit(pygame.image.frombuffer(np.ascontiguousarray(frame_u8).tobytes(), (W, H), "RGB"), (0, 0))
    is_whole = rect.width % W == 0 and rect.height % H == 0
    scale = pygame.transform.scale if is_whole else pygame.transform.smoothscale
    screen.blit(scale(frame, rect.size), rect)
    return rect


class Grid(NamedTuple):
    columns: int
    rows: int
    scale: float  # screen pixels per frame pixel


def choose_grid(frame_shape: tuple[int, int], count: int, area: tuple[int, int]) -> Grid:
    """The grid that shows `count` frames of this shape (H, W) largest in an area of this (width, height)."""
    H, W = frame_shape
    shapes = [(columns, -(-count // columns)) for columns in range(1, count + 1)]
    return max(
        (Grid(columns, rows, min(area[0] // columns / W, area[1] // rows / H)) for columns, rows in shapes),
        key=lambda grid: grid.scale,
    )


def draw_frames(
    screen: pygame.Surface, frames: dict[str, np.ndarray], area: pygame.Rect
) -> dict[str, pygame.Rect]:
    """Draws frames in the grid that shows them largest, close to each other; returns the rectangle of each by its
    name."""
    H, W, _ = next(iter(frames.values())).shape
    columns, rows, _ = choose_grid((H, W), len(frames), area.size)
    cell = pygame.Rect(0, 0, area.width // columns, area.height // rows)
    _, _, width, height = letterbox((W, H), cell.size)
    cell.size = min(cell.width, width + px(6)), min(cell.height, height + px(6))
    left = area.left + (area.width - columns * cell.width) // 2
    top = area.top + (area.height - rows * cell.height) // 2
    rects = {}
    for i, (name, frame_u8) in enumerate(frames.items()):
        corner = (left + i % columns * cell.width, top + i // columns * cell.height)
        rects[name] = draw_frame(screen, frame_u8, cell.move(corner))
    return rects


def difference(first_u8: np.ndarray, second_u8: np.ndarray) -> np.ndarray:
    """Returns the difference of two frames, uint8 (H, W, 3), around gray; black if their sizes differ."""
    if first_u8.shape != second_u8.shape:
        return np.zeros_like(first_u8)
    return (128 + (first_u8.astype(np.int16) - second_u8) // 2).astype(np.uint8)


# ------------------------------------------------------------------------------------------------ keys


def key_label(key: str) -> str:
    """The label of a key of this name of pygame: "PgDn" for "page down"."""
    if key.startswith("shift+"):
        return f"Shift {key_label(key[6:])}"
    return KEY_LABELS.get(key, key.upper() if len(key) == 1 or key[1:].isdigit() else key)


def draw_key(surface: pygame.Surface, rect: pygame.Rect, lit: bool) -> Color:
    """Draws an empty key; returns the color to write on it with."""
    pygame.draw.rect(surface, ACCENT if lit else BORDER, rect, border_radius=px(5))
    return BACKGROUND if lit else TEXT


def draw_text_key(surface: pygame.Surface, text: str, lit: bool, left: int, y: int, size: int = 18) -> int:
    """Draws a key as wide as its text, centered at `y`; returns its right edge."""
    rect = pygame.Rect(0, 0, max(px(size + 1), font(size).size(text)[0] + px(10)), px(size + 1))
    rect.midleft = left, y
    write(surface, text, size, draw_key(surface, rect, lit), center=rect.center)
    return rect.right


def cap_width(key: str, size: int) -> int:
    """The width of the key that `draw_cap` draws."""
    text_width = 0 if key in ARROWS else font(size).size(key_label(key))[0] + px(10)
    return max(px(size + 1), text_width)


def draw_cap(surface: pygame.Surface, key: str, lit: bool, left: int, y: int, size: int) -> int:
    """Draws a key with its label, arrow keys with an arrow, centered at `y`; returns its right edge."""
    if key not in ARROWS:
        return draw_text_key(surface, key_label(key), lit, left, y, size)
    rect = pygame.Rect(0, 0, cap_width(key, size), px(size + 1))
    rect.midleft = left, y
    draw_arrow(surface, rect, key, draw_key(surface, rect, lit))
    return rect.right


def draw_arrow(surface: pygame.Surface, rect: pygame.Rect, key: str, color: Color) -> None:
    unit = rect.height / 19
    corners = [(rect.centerx + unit * x, rect.centery + unit * y) for x, y in ARROWS[key][2]]
    pygame.draw.polygon(surface, color, corners)


def draw_keys(
    surface: pygame.Surface, action_keys: Sequence[Collection[str]], lit: Collection[str], left: int, top: int = 0
) -> int:  # fmt: skip
    """Draws the game's keys, arrow keys as on a keyboard; returns their right edge. `lit`: keys to highlight."""
    game_keys = dict.fromkeys(key for keys in action_keys for key in keys)
    if game_keys.keys() & ARROWS.keys():
        for key, (column, row, _) in ARROWS.items():
            rect = pygame.Rect(left + px(21 * column), top + px(12 + 21 * row), px(19), px(19))
            color = draw_key(surface, rect, key in lit)
            if key in game_keys:
                draw_arrow(surface, rect, key, color)
        left += px(3 * 21 + 6)
    for key in [key for key in game_keys if key not in ARROWS]:
        left = draw_text_key(surface, key, key in lit, left, top + px(42)) + px(2)
    return left


def draw_row(surface: pygame.Surface, y: int, left: int, first: Label, others: list[Label]) -> int:
    """Draws the first label at the left and as many of the last of the others as fit at the right; returns the
    left edge of those."""
    right = surface.get_width() - px(16)
    if left + font(first[1]).size(first[0])[0] <= right:
        left = write(surface, *first, midleft=(left, y)).right + px(10)
    for text, size, color in reversed(others):
        if right - font(size).size(text)[0] < left:
            break
        right = write(surface, text, size, color, midright=(right, y)).left - px(10)
    return right
