"""Drawing functions for frames, keys, the bar, the help and badges.

They need pygame, but no display: each draws on a given surface. Sizes and positions are in pixels.
"""

import os
from collections.abc import Collection, Sequence
from functools import cache

import numpy as np

from dream.play.timing import FrameTimes

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

BAR_HEIGHT = 64
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


def font(size: int) -> pygame.font.Font:
    """pygame's built-in font, which needs no search through the system's fonts."""
    if not pygame.font.get_init():
        pygame.font.init()
        _load_font.cache_clear()  # fonts from before a pygame.quit() are invalid
    return _load_font(size)


@cache
def _load_font(size: int) -> pygame.font.Font:
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


def draw_frames(
    screen: pygame.Surface, frames: dict[str, np.ndarray], area: pygame.Rect, named: bool
) -> pygame.Rect:
    """Draws frames in the grid that shows them largest, with their names if `named`; returns the rectangle of the
    first one."""
    H, W, _ = next(iter(frames.values())).shape
    grids = [(columns, -(-len(frames) // columns)) for columns in range(1, len(frames) + 1)]
    columns, rows = max(grids, key=lambda grid: min(area.width // grid[0] / W, area.height // grid[1] / H))
    cell, rects = pygame.Rect(0, 0, area.width // columns, area.height // rows), []
    for i, (name, frame_u8) in enumerate(frames.items()):
        corner = (area.left + i % columns * cell.width, area.top + i // columns * cell.height)
        rects.append(draw_frame(screen, frame_u8, cell.move(corner)))
        if named:
            draw_badge(screen, name, TEXT, bottomright=(rects[i].right - 8, rects[i].bottom - 8))
    return rects[0]


def difference(first_u8: np.ndarray, second_u8: np.ndarray) -> np.ndarray:
    """Returns the difference of two frames, uint8 (H, W, 3), around gray; black if their sizes differ."""
    if first_u8.shape != second_u8.shape:
        return np.zeros_like(first_u8)
    return (128 + (first_u8.astype(np.int16) - second_u8) // 2).astype(np.uint8)


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


def draw_badge(screen: pygame.Surface, text: str, color: Color, **position: tuple[int, int]) -> None:
    """Draws a text on a dark rounded rectangle; `position`: as in `write`."""
    rendered = font(20).render(text, True, color)
    badge = pygame.Surface((rendered.get_width() + 24, rendered.get_height() + 12), pygame.SRCALPHA)
    pygame.draw.rect(badge, (*BACKGROUND, 215), badge.get_rect(), border_radius=13)
    badge.blit(rendered, (12, 6))
    screen.blit(badge, badge.get_rect(**position))


# ------------------------------------------------------------------------------------------------ keys


def key_label(key: str) -> str:
    """The label of a key of this name of pygame: "PgDn" for "page down"."""
    if key.startswith("shift+"):
        return f"Shift {key_label(key[6:])}"
    return KEY_LABELS.get(key, key.upper() if len(key) == 1 or key[1:].isdigit() else key)


def draw_key(surface: pygame.Surface, rect: pygame.Rect, lit: bool) -> Color:
    """Draws an empty key; returns the color to write on it with."""
    pygame.draw.rect(surface, ACCENT if lit else BORDER, rect, border_radius=5)
    return BACKGROUND if lit else TEXT


def draw_text_key(surface: pygame.Surface, text: str, lit: bool, left: int, y: int, size: int = 18) -> int:
    """Draws a key as wide as its text, centered at `y`; returns its right edge."""
    rect = pygame.Rect(left, y - (size + 1) // 2, max(size + 1, font(size).size(text)[0] + 10), size + 1)
    write(surface, text, size, draw_key(surface, rect, lit), center=rect.center)
    return rect.right


def draw_keys(
    surface: pygame.Surface, action_keys: Sequence[Collection[str]], lit: Collection[str], left: int
) -> int:
    """Draws the game's keys, arrow keys as on a keyboard; returns their right edge. `lit`: keys to highlight."""
    game_keys = dict.fromkeys(key for keys in action_keys for key in keys)
    if game_keys.keys() & ARROWS.keys():
        for key, (column, row, points) in ARROWS.items():
            rect = pygame.Rect(left + 21 * column, 12 + 21 * row, 19, 19)
            color = draw_key(surface, rect, key in lit)
            if key in game_keys:
                pygame.draw.polygon(surface, color, [(rect.centerx + x, rect.centery + y) for x, y in points])
        left += 3 * 21 + 6
    for key in [key for key in game_keys if key not in ARROWS]:
        left = draw_text_key(surface, key, key in lit, left, 42) + 2
    return left


# ------------------------------------------------------------------------------------------------ the bar


def draw_row(surface: pygame.Surface, y: int, left: int, first: Label, others: list[Label]) -> int:
    """Draws the first label at the left and as many of the last of the others as fit at the right; returns the
    left edge of those."""
    right = surface.get_width() - 16
    if left + font(first[1]).size(first[0])[0] <= right:
        left = write(surface, *first, midleft=(left, y)).right + 10
    for text, size, color in reversed(others):
        if right - font(size).size(text)[0] < left:
            break
        right = write(surface, text, size, color, midright=(right, y)).left - 10
    return right


def fps_labels(times: FrameTimes, target_fps: float, paused: bool) -> list[Label]:
    """The measured and the target frame rate, amber if the machine is too slow."""
    fps = times.fps()
    too_slow = fps is not None and fps < 0.97 * target_fps
    color = MUTED if paused or fps is None else AMBER if too_slow else GREEN
    text = "paused" if paused else "-" if fps is None else f"{fps:.1f}"
    labels = [(text, 28, color), (f"of {target_fps:.3g} frames/s", 18, MUTED)]
    if fps is not None:
        labels = [(f"{times.mean_ms():.1f} ms/frame, max {times.worst_ms():.1f}", 18, MUTED), *labels]
    return labels


def draw_chart(surface: pygame.Surface, times: FrameTimes, target_fps: float, right: int) -> None:
    """Draws the time of each recent frame as a bar; the horizontal line is the game's time per frame."""
    for number, duration_s in enumerate(reversed(times.recent_s)):
        height = min(26, max(1, round(14 * duration_s * target_fps)))
        color = GREEN if duration_s * target_fps <= 1 else AMBER
        pygame.draw.rect(surface, color, (right - 3 * number - 2, 32 - height, 2, height))
    pygame.draw.line(surface, MUTED, (right - 120, 17), (right, 17))


# ------------------------------------------------------------------------------------------------ help


def draw_help(
    screen: pygame.Surface, area: pygame.Rect, actions: dict[str, Sequence[str]],
    commands: Sequence[tuple[str, Sequence[str]]], lit: Collection[str], footer: Sequence[str],
) -> None:  # fmt: skip
    """Draws a panel over `area`: the keys of each action by its name, each command's line of help and keys, and the
    lines of the footer. `lit`: keys to highlight."""
    rows = [("GAME", ())] + [(name, keys or ("no key",)) for name, keys in actions.items()] + [("", ())]
    rows = (rows if actions else []) + [("WINDOW", ())]
    rows += [(text, keys[:2]) for text, keys in commands if keys]
    rows += [("", ()), *((line, ()) for line in footer)]
    panel = pygame.Surface(area.size, pygame.SRCALPHA)
    panel.fill((*BACKGROUND, 225))
    # the highest rows that leave the columns wide enough and do not split the footer over two columns
    for row_height in range(24, 13, -1):
        per_column = max(1, (area.height - 16) // row_height)
        columns = -(-len(rows) // per_column)
        split_badly = columns > 1 and len(rows) - (columns - 1) * per_column <= len(footer)
        if area.width // columns >= 300 and not split_badly:
            break
    width, size = area.width // columns, 18 if row_height > 16 else 15
    for i, (text, keys) in enumerate(rows):
        left, y = i // per_column * width + 12, 8 + i % per_column * row_height + row_height // 2
        text_left, right = left, (i // per_column + 1) * width - 4
        for key in keys:
            label = key_label(key) if key != "no key" else key
            text_left = draw_text_key(panel, label, key in lit, text_left, y, size) + 3
        text_left = max(text_left + 4, left + (92 if width > 220 else 0)) if keys else left
        color = ACCENT if text.isupper() else TEXT if keys else MUTED
        write(panel, ellipsize(text, size, right - text_left), size, color, midleft=(text_left, y))
    screen.blit(panel, area)
