"""Pictures and tables of the cartridge in the formats of the SNES: a limited number of tiles and colors, in bitplanes.

Tracks, karts and skies are those of the built-in game. Everything that selects tiles or colors is computed with exact
integers, so that the cartridge is identical wherever it is built.
"""

from dataclasses import dataclass
from typing import Tuple

import numpy as np

from player.games.mode7.geometry import (
    BOOST,
    CONTROL_POINTS,
    OFF_ROAD,
    ROAD,
    SIZE,
    WALL,
    WATER,
    distance_field,
    lateral_offset,
    sample_spline,
)
from player.games.mode7.painting import PANORAMA_WIDTH, SKY_ROWS, paint_ground, paint_panorama
from player.games.mode7.sprites import FEET_ROW, SPRITE_SIZE, kart_views
from player.games.mode7.themes import THEMES

TILE = 8  # pixels per side
MAX_TILES = 256  # tiles of the ground
SKY_LINES = 24
SKY_COLUMNS = 512  # pixels for a full turn
KART = 32  # pixels per side
KART_LEANS = (-2, -1, 0, 1, 2)  # views of the kart, left to right
CHECKPOINTS = 24
CELLS = 32  # per side of the checkpoint map
NO_CHECKPOINT = 255
START_DISTANCE = 32  # pixels before the line
SURFACES = {ROAD: 0x40, OFF_ROAD: 0x5A, WALL: 0x80, WATER: 0x22, BOOST: 0x16}  # -> Super Mario Kart's codes
START_LINE = 0x1E
FONT = {  # "." is the dot on the map
    "0": "0110 1001 1001 1001 0110",
    "1": "0010 0110 0010 0010 0111",
    "2": "1110 0001 0110 1000 1111",
    "3": "1110 0001 0110 0001 1110",
    "4": "1001 1001 1111 0001 0001",
    "5": "1111 1000 1110 0001 1110",
    "A": "0110 1001 1111 1001 1001",
    "C": "0111 1000 1000 1000 0111",
    "E": "1111 1000 1110 1000 1111",
    "L": "1000 1000 1000 1000 1111",
    "O": "0110 1001 1001 1001 0110",
    "P": "1110 1001 1110 1000 1000",
    "R": "1110 1001 1110 1010 1001",
    "S": "0111 1000 0110 0001 1110",
    "T": "1110 0100 0100 0100 0100",
    "U": "1001 1001 1001 1001 0110",
    "/": "0001 0010 0010 0100 1000",
    ".": "0000 0110 0110 0000 0000",
}


@dataclass(frozen=True)
class TrackArt:
    """Pictures and tables of one track."""

    name: str
    tile_map: np.ndarray  # uint8 (128, 128), tile number of each position
    tiles: np.ndarray  # uint8 (256, 8, 8), palette indices
    surfaces: np.ndarray  # uint8 (256,), surface code of each tile
    checkpoints: np.ndarray  # uint8 (32, 32), checkpoint of each cell
    headings: np.ndarray  # uint8 (24,), direction of the road at each checkpoint; 0 is up, 64 right
    start: Tuple[int, int, int]  # x, y, heading
    sky_map: np.ndarray  # uint16 (2, 32, 32), words of the sky's tile map
    sky_tiles: bytes
    palette: np.ndarray  # uint16 (256,), 15-bit colors


def track_art(index: int) -> TrackArt:
    """The pictures and tables of track number `index`, one of those drawn by hand."""
    theme = THEMES[index]
    center, direction, spacing = sample_spline(np.array(CONTROL_POINTS[index], float))
    distance, nearest = distance_field(center)
    lateral = lateral_offset(center, direction, nearest)
    position, length = nearest * spacing, len(center) * spacing
    colors, surface = paint_ground(theme, distance, lateral, position, length)
    codes = np.array([SURFACES[surface_type] for surface_type in sorted(SURFACES)], np.uint8)[surface]
    codes[(codes == SURFACES[ROAD]) & (position < 16) & (distance < 34)] = START_LINE
    palette = np.zeros(256, np.uint16)
    tile_map, tiles, surfaces = quantize_tiles(colors, codes, palette)
    sky_map, sky_tiles = sky_art(index, palette)
    kart_sprites(palette)
    start = len(center) - round(START_DISTANCE / spacing)
    middles = (np.arange(CHECKPOINTS) * len(center) + len(center) // 2) // CHECKPOINTS
    return TrackArt(
        theme.name, tile_map, tiles, surfaces, checkpoint_map(center), byte_angle(direction[middles]),
        (int(center[start, 0]), int(center[start, 1]), int(byte_angle(direction[start]))),
        sky_map, sky_tiles, palette,
    )  # fmt: skip


def byte_angle(radians: np.ndarray) -> np.ndarray:
    """Converts angles from radians (0 is right) to the cartridge's unit: 256 per turn, 0 is up."""
    return (np.round(radians / (2 * np.pi) * 256).astype(int) + 64).astype(np.uint8)


def checkpoint_map(center: np.ndarray) -> np.ndarray:
    """Checkpoint of each cell, uint8 (CELLS, CELLS); NO_CHECKPOINT more than 120 pixels away from the center line."""
    middle = np.arange(CELLS) * (SIZE // CELLS) + SIZE // CELLS // 2
    distance = np.hypot(
        middle[None, :, None] - center[None, None, :, 0], middle[:, None, None] - center[None, None, :, 1]
    )
    cells = distance.argmin(axis=-1) * CHECKPOINTS // len(center)
    return np.where(distance.min(axis=-1) > 120, NO_CHECKPOINT, cells).astype(np.uint8)


def quantize_tiles(
    colors: np.ndarray, surface_codes: np.ndarray, palette: np.ndarray
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reduces a painted ground, 0xRRGGBB (SIZE, SIZE), to at most MAX_TILES tiles: each tile is replaced by the most
    similar one of a selection.

    Returns tile_map, tiles and surfaces as in TrackArt, and writes the colors into `palette` from index 1 on.
    """
    distinct_colors, color_index = np.unique(colors, return_inverse=True)
    palette[1 : 1 + len(distinct_colors)] = [
        color15(color >> 16, color >> 8 & 255, color & 255) for color in distinct_colors.tolist()
    ]
    per_side = SIZE // TILE

    def as_tiles(picture: np.ndarray) -> np.ndarray:  # (SIZE, SIZE) -> (per_side * per_side, 64)
        return (
            picture.reshape(per_side, TILE, per_side, TILE)
            .swapaxes(1, 2)
            .reshape(per_side * per_side, TILE * TILE)
        )

    indices = as_tiles((1 + color_index.reshape(SIZE, SIZE)).astype(np.uint8))
    middle = as_tiles(surface_codes)[:, TILE * TILE // 2 + TILE // 2]  # surface in the middle of each tile
    distinct, inverse, count = np.unique(
        np.column_stack([indices, middle]), axis=0, return_inverse=True, return_counts=True
    )
    rgb = np.array(
        [(color >> 16, color >> 8 & 255, color & 255) for color in distinct_colors.tolist()], np.int64
    )
    rgb = rgb // 8
    surface = distinct[:, -1:].astype(np.int64)
    vectors = np.column_stack(
        [rgb[distinct[:, :-1] - 1].reshape(len(distinct), -1), (surface == np.unique(surface)) * 200]
    )
    # Tile 0 is the one at the top left, because the SNES repeats it outside of the map.
    chosen = select_representatives(vectors, count, MAX_TILES, first=int(inverse.ravel()[0]))
    code = nearest_code(vectors, vectors[chosen])
    tiles, surfaces = np.zeros((MAX_TILES, TILE, TILE), np.uint8), np.zeros(MAX_TILES, np.uint8)
    tiles[: len(chosen)] = distinct[chosen, :-1].reshape(-1, TILE, TILE)
    surfaces[: len(chosen)] = distinct[chosen, -1]
    return code[inverse.ravel()].reshape(per_side, per_side).astype(np.uint8), tiles, surfaces


def sky_art(index: int, palette: np.ndarray) -> Tuple[np.ndarray, bytes]:
    """The panorama as tile map and tiles of a background layer. Writes its colors into `palette` from 65 to 79."""
    picture = paint_panorama(THEMES[index], np.random.default_rng(index))
    picture = picture[SKY_ROWS - SKY_LINES :, : PANORAMA_WIDTH : PANORAMA_WIDTH // SKY_COLUMNS]
    quantized = quantize_colors(picture, palette, 64)
    columns = SKY_COLUMNS // TILE
    tiles = quantized.reshape(SKY_LINES // TILE, TILE, columns, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE)
    numbers = np.arange(len(tiles), dtype=np.uint16).reshape(-1, 2, columns // 2).swapaxes(0, 1)
    sky_map = np.zeros((2, 32, 32), np.uint16)
    sky_map[:, : numbers.shape[1]] = numbers | 4 << 10  # 4: the fifth palette of 16 colors
    return sky_map, bitplanes(tiles)


def kart_sprites(palette: np.ndarray) -> bytes:
    """Tiles of all sprites, 16 per row: the views of the kart, and the letters at `letter_tile`.

    Writes their colors into `palette` from 128 on.
    """
    views = kart_views(0)[list(KART_LEANS)]
    top, left = FEET_ROW - 28, (SPRITE_SIZE - KART) // 2
    quantized = quantize_colors(views[:, top : top + KART, left : left + KART], palette, 128)
    sheet = np.zeros((8 * TILE, 16 * TILE), np.uint8)
    for number, view in enumerate(quantized):
        y, x = divmod(number * KART, 16 * TILE)
        sheet[KART * y : KART * (y + 1), x : x + KART] = view
    for number, rows in enumerate(FONT.values()):
        y, x = (part * TILE for part in divmod(letter_tile(list(FONT)[number]), 16))
        ink = np.array([[int(dot) for dot in row] for row in rows.split()])
        glyph = np.zeros((TILE, TILE), np.uint8)
        for dy, dx in np.ndindex(3, 3):  # a dark outline
            glyph[dy : dy + 5, dx + 1 : dx + 5] |= ink.astype(np.uint8)
        glyph[1:6, 2:6][ink > 0] = 2
        sheet[y : y + TILE, x : x + TILE] = glyph
    palette[145], palette[146] = color15(24, 24, 40), color15(255, 255, 255)
    return bitplanes(sheet.reshape(8, TILE, 16, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE))


def letter_tile(letter: str) -> int:
    """Tile number of a letter; the letters are next to the fifth view of the kart, below the fourth."""
    row, column = divmod(list(FONT).index(letter), 12)
    return 64 + 16 * row + 4 + column


def quantize_colors(picture: np.ndarray, palette: np.ndarray, begin: int) -> np.ndarray:
    """Reduces a picture of 0x00BBGGRR (0 is transparent) to at most 15 colors.

    Returns uint8 of the same shape, from 0 (transparent) to 15, and writes the colors into `palette` after `begin`.
    """
    distinct, inverse, count = np.unique(picture, return_inverse=True, return_counts=True)
    vectors = np.column_stack([distinct & 255, distinct >> 8 & 255, distinct >> 16 & 255]).astype(np.int64)
    opaque = distinct != 0
    chosen = select_representatives(vectors[opaque], count[opaque], 15)
    selected = vectors[opaque][chosen]
    palette[begin + 1 : begin + 1 + len(selected)] = [color15(*rgb) for rgb in selected.tolist()]
    code = np.zeros(len(distinct), np.uint8)
    code[opaque] = 1 + nearest_code(vectors[opaque], selected)
    return code[inverse.reshape(picture.shape)]


def select_representatives(
    vectors: np.ndarray, count: np.ndarray, max_selected: int, first: int = 0
) -> np.ndarray:
    """Greedily selects at most `max_selected` of the integer `vectors` (U, D), which occur `count` times.

    It starts with index `first` and adds the vector with the largest squared distance to the selection, weighted by its
    count (at most 30). Returns the selected indices.
    """
    vectors = vectors.astype(np.float32)  # exact: no sum of these integers reaches 2 ** 24
    squared_norms, weight = (vectors**2).sum(axis=1), np.minimum(count, 30)
    chosen, distance = [first], np.full(len(vectors), np.inf)
    while True:
        code = vectors[chosen[-1]]
        distance = np.minimum(distance, squared_norms + code @ code - 2 * vectors @ code)
        if len(chosen) == min(max_selected, len(vectors)) or not distance.any():
            return np.array(chosen)
        chosen.append(int((distance * weight).argmax()))


def nearest_code(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Index of the nearest of `codes` (K, D) for each of `vectors` (U, D), int (U,)."""
    vectors, codes = vectors.astype(np.float64), codes.astype(np.float64)
    return ((codes**2).sum(axis=1) - 2 * vectors @ codes.T).argmin(axis=1)


def color15(red: int, green: int, blue: int) -> int:
    """A 15-bit SNES color from components in 0-255."""
    return red >> 3 | green >> 3 << 5 | blue >> 3 << 10


def bitplanes(tiles: np.ndarray) -> bytes:
    """Tiles (n, 8, 8) with values below 16 in the format of the SNES: four bitplanes, in interleaved pairs of rows."""
    bits = np.packbits(tiles[:, None] >> np.arange(4)[None, :, None, None] & 1, axis=-1)[..., 0]  # (n, 4, 8)
    return bits.reshape(-1, 2, 2, 8).swapaxes(2, 3).astype(np.uint8).tobytes()
