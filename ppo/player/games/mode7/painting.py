"""Paints a track's ground, seen from above, and its sky.

The ground's color and surface follow from each pixel's distance to the center line and its position along it. From the
center outwards: road, kerb, off-road, and a hazard (a ring of wall blocks, or water).
"""

from typing import Tuple

import numpy as np

from player.games.mode7.geometry import (
    BOOST,
    KERB_WIDTH,
    OFF_ROAD,
    OFF_ROAD_WIDTH,
    ROAD,
    ROAD_HALF_WIDTH,
    SIZE,
    WALL,
    WALL_WIDTH,
    WATER,
)
from player.games.mode7.themes import THEMES, Theme

SKY_ROWS = 28
PANORAMA_WIDTH = 1024  # columns of sky for a full turn
MIP_LEVELS = 6
# Cells of the ground's picture per pixel of its mip level, on each side. 1 would give the hard edges of the SNES, which
# jump by whole pixels and so cannot be predicted by a world model (sd/NOTES.md, 2026-11-25).
CELLS_PER_PIXEL = 2
BOOST_PADS = (0.3, 0.72)  # positions as fractions of a lap, on all tracks but the first theme's


def paint_ground(
    theme: Theme, distance: np.ndarray, lateral: np.ndarray, position: np.ndarray, length: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Paints the ground: colors 0xRRGGBB, uint32 (SIZE, SIZE), and surface types, uint8 (SIZE, SIZE).

    `distance`, `lateral` and `position`: of each pixel, (SIZE, SIZE), in pixels: its distance to the center line, its
    signed distance (positive on the right), and its position along the center line. `length`: of a lap, in pixels.
    """
    rows, columns = np.indices((SIZE, SIZE))
    darker = int(pack_rgb(unpack_color(theme.beyond)[::-1] * 0.92))  # packed as B, G, R, which gives 0xRRGGBB
    colors = np.where((rows // 64 + columns // 64) % 2 == 0, theme.beyond, darker).astype(np.uint32)
    surface = np.full((SIZE, SIZE), WALL if theme.hazard == "wall" else WATER, np.uint8)

    def paint(where: np.ndarray, pair: Tuple[int, int], pattern: np.ndarray, surface_type: int) -> None:
        colors[where] = np.where(pattern[where] % 2 == 0, pair[0], pair[1])
        surface[where] = surface_type

    off_road_edge = ROAD_HALF_WIDTH + KERB_WIDTH + OFF_ROAD_WIDTH
    hazard = WALL if theme.hazard == "wall" else WATER
    squares = rows // 8 + columns // 8 if hazard == WALL else (rows // 16 + columns // 32)
    paint(distance < off_road_edge + WALL_WIDTH, theme.hazard_colors, squares, hazard)
    paint(distance < off_road_edge, theme.off_road, rows // 32 + columns // 32, OFF_ROAD)
    paint(distance < ROAD_HALF_WIDTH + KERB_WIDTH, theme.kerb, (position // 12).astype(int), ROAD)
    paint(distance < ROAD_HALF_WIDTH, theme.road, (position // 48).astype(int), ROAD)
    colors[(np.abs(lateral) < 1.6) & (distance < ROAD_HALF_WIDTH) & (position % 40 < 20)] = theme.line
    start_line = (distance < ROAD_HALF_WIDTH) & (position < 16)
    checkers = (lateral // 8).astype(int) + (position // 8).astype(int)
    paint(start_line, (0xF8F8F8, 0x202020), checkers, ROAD)
    for fraction in () if theme is THEMES[0] else BOOST_PADS:
        pad = (
            (np.abs(lateral - 12) < 10)
            & (np.abs(position - fraction * length) < 16)
            & (distance < ROAD_HALF_WIDTH)
        )
        chevrons = ((position + np.abs(lateral - 12)) // 6).astype(int)
        paint(pad, (0xFFE040, 0xF07820), chevrons, BOOST)
    return colors, surface


def mip_chain(colors: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """All mip levels of a picture of 0xRRGGBB (SIZE, SIZE) as one flat array, and the offset of each level in it.

    Returns uint32 (total,) of 0x00BBGGRR (bytes in memory: R, G, B, 0) and int32 (MIP_LEVELS,). Each level has
    CELLS_PER_PIXEL (2) cells per pixel and side, interpolated linearly: reading one cell per screen pixel is then
    close to bilinear filtering, so edges do not jump.
    """
    level = np.stack([colors >> 16 & 255, colors >> 8 & 255, colors & 255], axis=-1).astype(np.float32)
    flat = []
    for _ in range(MIP_LEVELS):
        flat.append(pack_rgb(upsample_rows(upsample_rows(level).swapaxes(0, 1)).swapaxes(0, 1)).ravel())
        half = len(level) // 2
        level = level.reshape(half, 2, half, 2, 3).mean(axis=(1, 3))
    offsets = np.cumsum([0] + [len(part) for part in flat[:-1]])
    return np.concatenate(flat), offsets.astype(np.int32)


def upsample_rows(rows: np.ndarray) -> np.ndarray:
    """Linear interpolation (n, ...) -> (2 n, ...), half-pixel centers, edge rows repeated."""
    before, after = np.concatenate([rows[:1], rows[:-1]]), np.concatenate([rows[1:], rows[-1:]])
    pairs = np.stack([0.75 * rows + 0.25 * before, 0.75 * rows + 0.25 * after], axis=1)
    return pairs.reshape(-1, *rows.shape[1:])


def pack_rgb(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) in 0-255 -> uint32 (...) whose bytes in memory are R, G, B, 0."""
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return red | green << 8 | blue << 16


def unpack_color(color: int) -> np.ndarray:
    """0xRRGGBB -> float32 (3,): R, G, B in 0-255."""
    return np.array([color >> 16 & 255, color >> 8 & 255, color & 255], np.float32)


def paint_panorama(theme: Theme, random: np.random.Generator) -> np.ndarray:
    """Paints the sky and two ranges of hills for a full turn.

    Returns uint32 (SKY_ROWS, 2 * PANORAMA_WIDTH) of 0x00BBGGRR; the picture is repeated once, so that any window of up
    to PANORAMA_WIDTH columns is one slice. `random` places the clouds and hills.
    """
    rows = np.arange(SKY_ROWS)[:, None]
    columns = np.arange(PANORAMA_WIDTH)[None, :]
    blend = (rows / (SKY_ROWS - 1))[..., None]
    sky = unpack_color(theme.sky[0]) * (1 - blend) + unpack_color(theme.sky[1]) * blend
    sky = np.repeat(sky, PANORAMA_WIDTH, axis=1)

    def disc(x: float, y: float, width: float, height: float) -> np.ndarray:
        across = (columns - x + PANORAMA_WIDTH / 2) % PANORAMA_WIDTH - PANORAMA_WIDTH / 2
        return (across / width) ** 2 + ((rows - y) / height) ** 2 < 1

    if theme.decoration == "clouds":
        for x in np.arange(11) * PANORAMA_WIDTH / 11 + random.uniform(-25, 25, 11):
            y = random.uniform(4, 9)
            for step in (-1, 0, 1):
                cloud = disc(x + 9 * step, y + abs(step) * 1.5, 12 - 3 * abs(step), 4 - abs(step))
                sky[cloud] = (250, 252, 255)
    elif theme.decoration == "sun":
        sky[disc(300, 17, 26, 13)] = (255, 236, 150)
        sky[disc(300, 17, 20, 10)] = (255, 250, 214)
    elif theme.decoration == "aurora":
        wave = (
            8
            + 3 * np.sin(columns * 2 * np.pi * 5 / PANORAMA_WIDTH)
            + 2 * np.sin(columns * 2 * np.pi * 11 / 1024)
        )
        glow = np.exp(-(((rows - wave) / 3.0) ** 2))[..., None]
        sky = sky * (1 - 0.7 * glow) + np.array([90, 240, 170]) * 0.7 * glow
    else:  # "embers"
        for x in np.arange(9) * PANORAMA_WIDTH / 9 + random.uniform(-30, 30, 9):
            sky[disc(x, random.uniform(6, 12), random.uniform(8, 16), 2.2)] = (200, 70, 30)

    angle = columns * 2 * np.pi / PANORAMA_WIDTH
    for color, height, waves in ((theme.far_hills, 8.0, (5, 9, 14)), (theme.near_hills, 4.0, (4, 11, 17))):
        ridge = sum(np.sin(k * angle + random.uniform(0, 2 * np.pi)) / (1 + i) for i, k in enumerate(waves))
        hills = np.broadcast_to(rows > SKY_ROWS - height * (0.75 + 0.3 * ridge), sky.shape[:2])
        sky[hills] = unpack_color(color)
    return np.tile(pack_rgb(sky), (1, 2))
