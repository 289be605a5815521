"""A manoeuvre as one picture: frames of the game and of the world model at evenly spaced moments. Needs Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dream.common.files import atomic_write
from dream.evaluation.manoeuvres import Drive

NUM_MOMENTS = 8
MIN_WIDTH = 192  # pixels of a frame in the picture; smaller frames are enlarged by a whole number
GAP, MARGIN, LABEL_WIDTH, LINE_HEIGHT = 6, 16, 110, 40  # pixels
TITLE_SIZE, TEXT_SIZE = 28, 24
PAPER, INK, GREY = "#ffffff", "#1b1f24", "#5a6470"


def moments(num_frames: int) -> list[int]:
    """Numbers of NUM_MOMENTS evenly spaced frames from 0 to `num_frames`, both included; without repetitions, so
    fewer of a short manoeuvre."""
    return sorted(set(np.linspace(0, num_frames, NUM_MOMENTS).round().astype(int).tolist()))


def draw_film_strip(drive: Drive, fps: float, title: str) -> Image.Image:
    """The game's frames in the upper row, the model's in the lower one, and below each moment its time in seconds."""
    frames = moments(len(drive.game_frames) - 1)
    H, W = drive.game_frames.shape[1:3]
    scale = max(1, -(-MIN_WIDTH // W))
    H, W = H * scale, W * scale
    left, top = MARGIN + LABEL_WIDTH, MARGIN + LINE_HEIGHT
    size = (left + len(frames) * (W + GAP) - GAP + MARGIN, top + 2 * (H + GAP) + LINE_HEIGHT + MARGIN // 2)
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    title_font, font = (ImageFont.load_default(size=points) for points in (TITLE_SIZE, TEXT_SIZE))
    draw.text((left, MARGIN), title, INK, title_font, anchor="lt")
    for row, (label, row_frames) in enumerate((("game", drive.game_frames), ("model", drive.model_frames))):
        y = top + row * (H + GAP)
        draw.text((left - MARGIN, y + H // 2), label, INK, font, anchor="rm")
        for column, t in enumerate(frames):
            frame = Image.fromarray(row_frames[t]).resize((W, H), Image.Resampling.NEAREST)
            picture.paste(frame, (left + column * (W + GAP), y))
    for column, t in enumerate(frames):
        center = (left + column * (W + GAP) + W // 2, top + 2 * (H + GAP) + LINE_HEIGHT // 2)
        draw.text(center, f"{t / fps:.1f} s", GREY, font, anchor="mm")
    return picture


def save_film_strip(drive: Drive, fps: float, title: str, path: Path) -> None:
    """Writes `draw_film_strip` as a PNG file with an atomic replace; creates its folder if missing."""
    with atomic_write(path) as file:
        draw_film_strip(drive, fps, title).save(file, "PNG")
