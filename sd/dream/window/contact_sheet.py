"""Saves a contact sheet of a recording: a grid of frames, each with its action and its position. Needs no display."""

import os
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.common.files import make_folder
from dream.data.trajectories import Trajectories
from dream.window.dataset_index import evenly_spaced
from dream.window.draw import ACCENT, BACKGROUND, MUTED, TEXT, draw_frame, write

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

COLUMNS, ROWS = 5, 6
MARGIN, CAPTION_HEIGHT, HEAD_HEIGHT = 14, 26, 66  # pixels
START_COLOR = ACCENT  # border of the first frame of an episode


def save_sheet(trajectories: Trajectories, title: str, path: Path) -> None:
    """Writes a picture of COLUMNS x ROWS frames, with `title` above them, to `path`.

    Raises InputError if the file cannot be written."""
    tile_width, tile_height = tile_size(trajectories, 288)
    cell_width = max(tile_width, 200)  # room for the caption
    positions = sheet_positions(trajectories)
    num_rows = -(-len(positions) // COLUMNS)
    cell_height = tile_height + CAPTION_HEIGHT + MARGIN
    size = (MARGIN + COLUMNS * (cell_width + MARGIN), HEAD_HEIGHT + num_rows * cell_height)
    sheet = pygame.Surface(size)
    sheet.fill(BACKGROUND)
    write(sheet, title, 26, TEXT, topleft=(MARGIN, 12))
    N, T, _, H, W = trajectories.frames.shape
    game = trajectories.meta.get("game", "unknown game")
    summary = f"{game}   {N} rows x {T} steps   {W} x {H}   {trajectories.fps:g} frames/s"
    write(sheet, summary, 18, MUTED, topleft=(MARGIN, 40))
    for number, position in enumerate(positions):
        row, column = divmod(number, COLUMNS)
        corner = (MARGIN + column * (cell_width + MARGIN), HEAD_HEIGHT + row * cell_height)
        tile = pygame.Rect(*corner, tile_width, tile_height)
        draw_tile(sheet, trajectories, int(position), tile, cell_width)
    make_folder(path.parent)
    try:
        pygame.image.save(sheet, str(path))
    except pygame.error as problem:
        raise InputError(
            f"--save {path} cannot be written ({problem}): name a .png in a writable folder"
        ) from None
    print(f"saved       {path} ({size[0]} x {size[1]})")


def sheet_positions(trajectories: Trajectories) -> np.ndarray:
    """Returns evenly spaced positions, int64, ascending. In each row of the sheet that contains an episode start,
    the position before the first one is moved to it."""
    positions = evenly_spaced(trajectories.num_frames, COLUMNS * ROWS)
    starts = np.flatnonzero(trajectories.episode_starts)
    for first in range(0, len(positions), COLUMNS):
        row = positions[first : first + COLUMNS + 1]  # a view; its last position belongs to the next row
        starts_in_row = starts[(starts >= row[0]) & (starts < row[-1])]
        if len(starts_in_row):
            row[np.searchsorted(row, starts_in_row[0], side="right") - 1] = starts_in_row[0]
    return positions


def tile_size(trajectories: Trajectories, width: int) -> tuple[int, int]:
    """Returns width and height in pixels of a picture that fits into `width` x 3/4 `width`; a smaller frame is
    enlarged by an integer factor."""
    H, W = trajectories.height, trajectories.width
    scale = min(width / W, 0.75 * width / H)
    scale = int(scale) if scale >= 1 else scale
    return max(round(W * scale), 1), max(round(H * scale), 1)


def draw_tile(
    sheet: pygame.Surface, trajectories: Trajectories, position: int, tile: pygame.Rect, caption_width: int
) -> None:
    """Draws the frame at `position` in `tile`, and below it its action and its indices."""
    row, t = divmod(position, trajectories.num_steps)
    draw_frame(sheet, trajectories.frames[row, t].transpose(1, 2, 0), tile)
    left, y = tile.left, tile.bottom + 6
    if trajectories.episode_starts[row, t]:
        pygame.draw.rect(sheet, START_COLOR, tile.inflate(6, 6), 3)
        left = write(sheet, "START", 18, START_COLOR, topleft=(left, y)).right + 8
    write(sheet, trajectories.action_names[int(trajectories.actions[row, t])], 20, TEXT, topleft=(left, y))
    write(sheet, f"row {row}  t {t}", 18, MUTED, topright=(tile.left + caption_width, y + 1))
