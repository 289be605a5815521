"""What the cartridge shows, as a SNES wants it: few tiles of few colours, in planes of bits.

Courses, karts and skies are the built-in game's. All numbers are integers where they decide, so that a cartridge is the
same to the last bit wherever it is built.
"""

from dataclasses import dataclass
from typing import Tuple

import numpy as np

from player.games.mode7.sprites import FEET_ROW, SPRITE, kart_views
from player.games.mode7.tracks import (
    BOOST,
    COURSES,
    OFF_ROAD,
    PANORAMA_WIDTH,
    ROAD,
    SIZE,
    SKY_ROWS,
    THEMES,
    WALL,
    WATER,
    distance_field,
    paint_ground,
    paint_panorama,
    sample_spline,
)

TILE = 8  # pixels on a side
MAX_TILES = 256  # of the ground
SKY_LINES = 24
SKY_COLUMNS = 512  # for a full turn
KART = 32  # pixels on a side
KART_LEANS = (-2, -1, 0, 1, 2)  # views of it, left to right
CHECKPOINTS = 24
CELLS = 32  # on a side, of the map of checkpoints
NO_CHECKPOINT = 255
START_DISTANCE = 32  # pixels before the line
# Super Mario Kart's names for the ground
SURFACES = {ROAD: 0x40, OFF_ROAD: 0x5A, WALL: 0x80, WATER: 0x22, BOOST: 0x16}
START_LINE = 0x1E
FONT = {
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
}  # fmt: skip  "." is the dot on the map


@dataclass(frozen=True)
class CourseArt:
    name: str
    tile_map: np.ndarray  # uint8 (128, 128), which tile
    tiles: np.ndarray  # uint8 (256, 8, 8), colours of the palette
    surfaces: np.ndarray  # uint8 (256,), of each tile
    checkpoints: np.ndarray  # uint8 (32, 32), of each cell
    headings: np.ndarray  # uint8 (24,), along the road at each checkpoint; 0 is up, 64 right
    start: Tuple[int, int, int]  # x, y, heading
    sky_map: np.ndarray  # uint16 (2, 32, 32), words of the sky's map
    sky_tiles: bytes
    palette: np.ndarray  # uint16 (256,), 15-bit colours


def course_art(index: int) -> CourseArt:
    theme = THEMES[index]
    centre, direction, spacing = sample_spline(np.array(COURSES[index], float))
    distance, sample = distance_field(centre)
    offset_x = np.arange(SIZE)[None, :] - centre[sample, 0]
    offset_y = np.arange(SIZE)[:, None] - centre[sample, 1]
    lateral = offset_y * np.cos(direction)[sample] - offset_x * np.sin(direction)[sample]
    place, length = sample * spacing, len(centre) * spacing
    colours, surface = paint_ground(theme, distance, lateral, place, length)
    kinds = np.array([SURFACES[kind] for kind in sorted(SURFACES)], np.uint8)[surface]
    kinds[(kinds == SURFACES[ROAD]) & (place < 16) & (distance < 34)] = START_LINE
    palette = np.zeros(256, np.uint16)
    tile_map, tiles, surfaces = few_tiles(colours, kinds, palette)
    sky_map, sky_tiles = sky(index, palette)
    kart_sprites(palette)
    start = len(centre) - round(START_DISTANCE / spacing)
    middles = (np.arange(CHECKPOINTS) * len(centre) + len(centre) // 2) // CHECKPOINTS
    return CourseArt(
        theme.name, tile_map, tiles, surfaces, checkpoint_cells(centre), turn(direction[middles]),
        (int(centre[start, 0]), int(centre[start, 1]), int(turn(direction[start]))),
        sky_map, sky_tiles, palette,
    )  # fmt: skip


def turn(radians: np.ndarray) -> np.ndarray:
    """The tracks' angles (0 is right) as the cartridge's: 256 to a turn, 0 is up."""
    return (np.round(radians / (2 * np.pi) * 256).astype(int) + 64).astype(np.uint8)


def checkpoint_cells(centre: np.ndarray) -> np.ndarray:
    middle = np.arange(CELLS) * (SIZE // CELLS) + SIZE // CELLS // 2
    far = np.hypot(
        middle[None, :, None] - centre[None, None, :, 0], middle[:, None, None] - centre[None, None, :, 1]
    )
    cells = far.argmin(axis=-1) * CHECKPOINTS // len(centre)
    return np.where(far.min(axis=-1) > 120, NO_CHECKPOINT, cells).astype(np.uint8)


def few_tiles(
    colours: np.ndarray, kinds: np.ndarray, palette: np.ndarray
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A painted ground (0xRRGGBB, SIZE x SIZE) from MAX_TILES tiles at the most: the nearest of the frequent ones. Puts
    its colours into `palette` from 1 on."""
    known, which = np.unique(colours, return_inverse=True)
    palette[1 : 1 + len(known)] = [
        colour15(colour >> 16, colour >> 8 & 255, colour & 255) for colour in known.tolist()
    ]
    cut = SIZE // TILE

    def as_tiles(picture: np.ndarray) -> np.ndarray:  # (SIZE, SIZE) -> (cut * cut, 64)
        return picture.reshape(cut, TILE, cut, TILE).swapaxes(1, 2).reshape(cut * cut, TILE * TILE)

    indices, kind_of = as_tiles((1 + which.reshape(SIZE, SIZE)).astype(np.uint8)), as_tiles(kinds)
    middle = kind_of[:, TILE * TILE // 2 + TILE // 2]  # what a kart there drives on
    distinct, back, count = np.unique(
        np.column_stack([indices, middle]), axis=0, return_inverse=True, return_counts=True
    )
    rgb = (
        np.array([(colour >> 16, colour >> 8 & 255, colour & 255) for colour in known.tolist()], np.int64)
        // 8
    )
    ground = distinct[:, -1:].astype(np.int64)
    vectors = np.column_stack(
        [rgb[distinct[:, :-1] - 1].reshape(len(distinct), -1), (ground == np.unique(ground)) * 200]
    )
    chosen = choose(
        vectors, count, MAX_TILES, always=int(back.ravel()[0])
    )  # tile 0 lies outside of the map too
    code = nearest(vectors, vectors[chosen])
    tiles, surfaces = np.zeros((MAX_TILES, TILE, TILE), np.uint8), np.zeros(MAX_TILES, np.uint8)
    tiles[: len(chosen)] = distinct[chosen, :-1].reshape(-1, TILE, TILE)
    surfaces[: len(chosen)] = distinct[chosen, -1]
    return code[back.ravel()].reshape(cut, cut).astype(np.uint8), tiles, surfaces


def sky(index: int, palette: np.ndarray) -> Tuple[np.ndarray, bytes]:
    """The panorama as the map and tiles of a background; its colours are the palette's 65 to 79."""
    picture = paint_panorama(THEMES[index], np.random.default_rng(index))
    picture = picture[SKY_ROWS - SKY_LINES :, : PANORAMA_WIDTH : PANORAMA_WIDTH // SKY_COLUMNS]
    drawn = in_few_colours(picture, palette, 64)
    columns = SKY_COLUMNS // TILE
    tiles = drawn.reshape(SKY_LINES // TILE, TILE, columns, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE)
    numbers = np.arange(len(tiles), dtype=np.uint16).reshape(-1, 2, columns // 2).swapaxes(0, 1)
    sky_map = np.zeros((2, 32, 32), np.uint16)
    sky_map[:, : numbers.shape[1]] = numbers | 4 << 10  # the fifth palette of 16
    return sky_map, planes(tiles)


def kart_sprites(palette: np.ndarray) -> bytes:
    """Tiles of all sprites, 16 to a row: the kart's views, and at `letter_tile` letters. Their colours from 128 on."""
    views = kart_views(0)[list(KART_LEANS)]
    top, left = FEET_ROW - 28, (SPRITE - KART) // 2
    drawn = in_few_colours(views[:, top : top + KART, left : left + KART], palette, 128)
    sheet = np.zeros((8 * TILE, 16 * TILE), np.uint8)
    for number, view in enumerate(drawn):
        y, x = divmod(number * KART, 16 * TILE)
        sheet[KART * y : KART * (y + 1), x : x + KART] = view
    for number, rows in enumerate(FONT.values()):
        y, x = (part * TILE for part in divmod(letter_tile(list(FONT)[number]), 16))
        lit = np.array([[int(dot) for dot in row] for row in rows.split()])
        glyph = np.zeros((TILE, TILE), np.uint8)
        for dy, dx in np.ndindex(3, 3):  # a dark rim
            glyph[dy : dy + 5, dx + 1 : dx + 5] |= lit.astype(np.uint8)
        glyph[1:6, 2:6][lit > 0] = 2
        sheet[y : y + TILE, x : x + TILE] = glyph
    palette[145], palette[146] = colour15(24, 24, 40), colour15(255, 255, 255)
    return planes(sheet.reshape(8, TILE, 16, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE))


def letter_tile(letter: str) -> int:
    """Below the fourth view of the kart, beside the fifth."""
    row, column = divmod(list(FONT).index(letter), 12)
    return 64 + 16 * row + 4 + column


def in_few_colours(picture: np.ndarray, palette: np.ndarray, begin: int) -> np.ndarray:
    """uint32 0x00BBGGRR (0 is seen through) as numbers from 1 to 15 of the sixteen colours at `begin`."""
    known, which, count = np.unique(picture, return_inverse=True, return_counts=True)
    vectors = np.column_stack([known & 255, known >> 8 & 255, known >> 16 & 255]).astype(np.int64)
    seen = known != 0
    chosen = choose(vectors[seen], count[seen], 15)
    kept = vectors[seen][chosen]
    palette[begin + 1 : begin + 1 + len(kept)] = [colour15(*rgb) for rgb in kept.tolist()]
    code = np.zeros(len(known), np.uint8)
    code[seen] = 1 + nearest(vectors[seen], kept)
    return code[which.reshape(picture.shape)]


def choose(vectors: np.ndarray, count: np.ndarray, most: int, always: int = 0) -> np.ndarray:
    """Which of integer `vectors` (U, D), that occur `count` times, may stand for all: `always` first, then again and
    again the one that leaves the most behind."""
    vectors = vectors.astype(np.float32)  # exact: no sum of these whole numbers reaches 2 ** 24
    lengths, weight = (vectors**2).sum(axis=1), np.minimum(count, 30)
    chosen, left = [always], np.full(len(vectors), np.inf)
    while True:
        code = vectors[chosen[-1]]
        left = np.minimum(left, lengths + code @ code - 2 * vectors @ code)
        if len(chosen) == min(most, len(vectors)) or not left.any():
            return np.array(chosen)
        chosen.append(int((left * weight).argmax()))


def nearest(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    vectors, codes = vectors.astype(np.float64), codes.astype(np.float64)
    return ((codes**2).sum(axis=1) - 2 * vectors @ codes.T).argmin(axis=1)


def colour15(red: int, green: int, blue: int) -> int:
    return red >> 3 | green >> 3 << 5 | blue >> 3 << 10


def planes(tiles: np.ndarray) -> bytes:
    """Tiles (n, 8, 8) of numbers below 16: four planes of bits, two and two, row by row."""
    bits = np.packbits(tiles[:, None] >> np.arange(4)[None, :, None, None] & 1, axis=-1)[..., 0]  # (n, 4, 8)
    return bits.reshape(-1, 2, 2, 8).swapaxes(2, 3).astype(np.uint8).tobytes()
