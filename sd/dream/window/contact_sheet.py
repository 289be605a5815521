"""A picture sheet of a recording: frames from all over it, each with its action and its place. Needs no screen."""

import os
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.data.trajectories import Trajectories
from dream.window.dataset_commands import spread
from dream.window.draw import DIM, MOON, NIGHT, PAPER, draw_frame, write

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout

SHEET_COLUMNS, SHEET_ROWS = 5, 6
MARGIN, CAPTION_HEIGHT, HEAD_HEIGHT = 14, 26, 66  # pixels
MARK = MOON


def save_sheet(trajectories: Trajectories, title: str, path: Path) -> None:
    tile_width, tile_height = tile_size(trajectories, 288)
    cell_width = max(tile_width, 200)  # room for the caption
    positions = sheet_positions(trajectories)
    num_lines = -(-len(positions) // SHEET_COLUMNS)
    line_height = tile_height + CAPTION_HEIGHT + MARGIN
    size = (MARGIN + SHEET_COLUMNS * (cell_width + MARGIN), HEAD_HEIGHT + num_lines * line_height)
    sheet = pygame.Surface(size)
    sheet.fill(NIGHT)
    write(sheet, title, 26, PAPER, topleft=(MARGIN, 12))
    N, T, _, H, W = trajectories.frames.shape
    game = trajectories.meta.get("game", "unknown game")
    facts = f"{game}   {N} rows x {T} steps   {W} x {H}   {trajectories.fps:g} frames/s"
    write(sheet, facts, 18, DIM, topleft=(MARGIN, 40))
    for place, position in enumerate(positions):
        line, column = divmod(place, SHEET_COLUMNS)
        corner = (MARGIN + column * (cell_width + MARGIN), HEAD_HEIGHT + line * line_height)
        tile = pygame.Rect(*corner, tile_width, tile_height)
        draw_tile(sheet, trajectories, int(position), tile, cell_width)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        pygame.image.save(sheet, str(path))
    except pygame.error as problem:
        raise InputError(
            f"--save {path} cannot be written ({problem}): name a .png in a folder you may write"
        ) from None
    print(f"saved       {path} ({size[0]} x {size[1]})")


def sheet_positions(trajectories: Trajectories) -> np.ndarray:
    """Frames from across the recording. In each line of the sheet one of them moves on to the first episode start that
    comes before the next frame shown."""
    positions = spread(trajectories.num_frames, SHEET_COLUMNS * SHEET_ROWS)
    starts = np.flatnonzero(trajectories.episode_starts)
    for first in range(0, len(positions), SHEET_COLUMNS):
        line = positions[first : first + SHEET_COLUMNS + 1]  # a view; the last one belongs to the next line
        coming = starts[(starts >= line[0]) & (starts < line[-1])]
        if len(coming):
            line[np.searchsorted(line, coming[0], side="right") - 1] = coming[0]
    return positions


def tile_size(trajectories: Trajectories, width: int) -> tuple[int, int]:
    """Width and height in pixels of a picture that fits into `width` x 3/4 `width`: a whole multiple where it is larger
    than the frame."""
    H, W = trajectories.height, trajectories.width
    scale = min(width / W, 0.75 * width / H)
    scale = int(scale) if scale >= 1 else scale
    return max(round(W * scale), 1), max(round(H * scale), 1)


def draw_tile(
    sheet: pygame.Surface, trajectories: Trajectories, position: int, tile: pygame.Rect, caption_width: int
) -> None:
    """One frame; under it where it stands and what was chosen on seeing it."""
    row, t = divmod(position, trajectories.num_steps)
    draw_frame(sheet, trajectories.frames[row, t].transpose(1, 2, 0), tile)
    left, y = tile.left, tile.bottom + 6
    if trajectories.episode_starts[row, t]:
        pygame.draw.rect(sheet, MARK, tile.inflate(6, 6), 3)
        left = write(sheet, "START", 18, MARK, topleft=(left, y)).right + 8
    write(sheet, trajectories.action_names[int(trajectories.actions[row, t])], 20, PAPER, topleft=(left, y))
    write(sheet, f"row {row}  t {t}", 18, DIM, topright=(tile.left + caption_width, y + 1))
