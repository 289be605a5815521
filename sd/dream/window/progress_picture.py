"""Draws how far the training of a game has come: a heading, and pictures with captions. Needs no display."""

import os
from collections.abc import Sequence
from pathlib import Path

from dream.pipeline.progress import Preview
from dream.window.draw import ACCENT, BACKGROUND, BORDER, MUTED, TEXT, ellipsize, write

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

WIDTH, MARGIN = 1000, 20  # of the picture, pixels
NAMES_WIDTH = 110  # left of a grid, for the names of its rows
GRID_PADDING = 2  # white pixels between the pictures of a grid
MAX_HEIGHT = 1400


def draw_progress(title: str, line: str, fraction: float, pictures: Sequence[Preview]) -> pygame.Surface:
    """A heading, a bar of which `fraction` (0-1) is filled, and the pictures below each other."""
    blocks = [(preview, load_grid(preview.path)) for preview in pictures]
    heights = [30 + grid.get_height() + MARGIN for _, grid in blocks]
    surface = pygame.Surface((WIDTH, min(MAX_HEIGHT, 110 + sum(heights))))
    surface.fill(BACKGROUND)
    write(surface, title, 40, TEXT, topleft=(MARGIN, 18))
    write(surface, ellipsize(line, 24, WIDTH - 2 * MARGIN), 24, MUTED, topleft=(MARGIN, 54))
    bar = pygame.Rect(MARGIN, 80, WIDTH - 2 * MARGIN, 8)
    pygame.draw.rect(surface, BORDER, bar, border_radius=4)
    bar.width = max(8, round(bar.width * min(1.0, fraction)))
    pygame.draw.rect(surface, ACCENT, bar, border_radius=4)
    top = 106
    for (preview, grid), height in zip(blocks, heights, strict=True):
        write(surface, ellipsize(preview.caption, 22, WIDTH - 2 * MARGIN), 22, TEXT, topleft=(MARGIN, top))
        left = MARGIN + NAMES_WIDTH
        surface.blit(grid, (left, top + 24))
        step = grid.get_height() / max(1, len(preview.row_names))
        for row, name in enumerate(preview.row_names):
            middle = round(top + 24 + (row + 0.5) * step)
            text = ellipsize(name, 22, NAMES_WIDTH - 12)
            write(surface, text, 22, MUTED, midright=(left - 10, middle))
        top += height
    return surface


def load_grid(path: Path) -> pygame.Surface:
    """The picture, as wide as there is room for."""
    picture = pygame.image.load(str(path))
    width = WIDTH - 2 * MARGIN - NAMES_WIDTH
    height = round(picture.get_height() * width / picture.get_width())
    picture = pygame.Surface.convert(picture, 24) if picture.get_bitsize() not in (24, 32) else picture
    return pygame.transform.smoothscale(picture, (width, height))


def save_progress(surface: pygame.Surface, path: Path) -> None:
    """Writes the picture; a viewer that has it open never sees a part of it. Raises OSError."""
    part = path.with_name(f".{path.name}")
    try:
        pygame.image.save(surface, str(part))
        os.replace(part, path)
    except pygame.error as problem:
        raise OSError(None, str(problem), str(path)) from None
    finally:
        part.unlink(missing_ok=True)
