"""The courses of the built-in game: a closed spline, painted once into a 1024 x 1024 picture seen from above.

Everything on the ground follows from two numbers at each pixel: the distance to the centre line and the place along it.
Road, kerb, off-road, and then a hazard (a ring of wall blocks, or water) stand one around the other.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Tuple

import numpy as np

SIZE = 1024  # pixels on a side; one pixel is the world's unit of length
ROAD, OFF_ROAD, WALL, WATER, BOOST = range(5)
ROAD_HALF_WIDTH, KERB_WIDTH, OFF_ROAD_WIDTH, WALL_WIDTH = 34, 5, 42, 12
SKY_ROWS = 28
PANORAMA_WIDTH = 1024  # columns of sky for a full turn
MIP_LEVELS = 6
# Of the ground's picture, on a side, for a pixel of its level of detail. One would be the SNES's own hard edges, which
# jump by whole pixels, so that nobody could foresee them (sd/NOTES.md, 2026-11-25).
CELLS_PER_PIXEL = 2
SAMPLE_SPACING = 4.0  # pixels between two samples of the centre line


@dataclass(frozen=True)
class Theme:
    """A look: colours as 0xRRGGBB, what lies beyond the off-road band, and how well tyres hold."""

    name: str
    road: Tuple[int, int]  # two shades in bands along the way, so that speed can be seen
    kerb: Tuple[int, int]
    line: int
    off_road: Tuple[int, int]  # a checkered lawn
    hazard: str  # "wall" or "water"
    hazard_colours: Tuple[int, int]
    beyond: int
    sky: Tuple[int, int]  # top, horizon
    far_hills: int
    near_hills: int
    decoration: str  # "clouds", "sun", "aurora" or "embers"
    grip: float  # share of sideways speed lost in a frame


THEMES = (
    Theme(
        name="Meadow Circuit",
        road=(0x84848C, 0x7C7C84),
        kerb=(0xE04038, 0xF4F0E8),
        line=0xF4F0D0,
        off_road=(0x58B848, 0x4CA83E),
        hazard="wall",
        hazard_colours=(0xF0C030, 0x3060C8),
        beyond=0x2F7F38,
        sky=(0x4898F0, 0xB8E0F8),
        far_hills=0x7CC0A0,
        near_hills=0x48A050,
        decoration="clouds",
        grip=0.22,
    ),
    Theme(
        name="Coral Cove",
        road=(0xE0B880, 0xD8AC74),
        kerb=(0xF8F4E8, 0x30A8A0),
        line=0xFFF8E0,
        off_road=(0xF4DCA0, 0xECD090),
        hazard="water",
        hazard_colours=(0x28A0C8, 0x2090BC),
        beyond=0x1878A8,
        sky=(0xF07858, 0xFCD890),
        far_hills=0xB86888,
        near_hills=0x2088B0,
        decoration="sun",
        grip=0.20,
    ),
    Theme(
        name="Aurora Lake",
        road=(0xA8C0E0, 0x9CB4D8),
        kerb=(0x5060C0, 0xF0F8FF),
        line=0x6070C8,
        off_road=(0xE8F0FC, 0xD8E4F4),
        hazard="wall",
        hazard_colours=(0x60C8E8, 0x4078C0),
        beyond=0x8898C0,
        sky=(0x141438, 0x4C3C88),
        far_hills=0x38346C,
        near_hills=0xC4D0EC,
        decoration="aurora",
        grip=0.07,
    ),
    Theme(
        name="Ember Keep",
        road=(0x706068, 0x665860),
        kerb=(0xF0A020, 0x382830),
        line=0xC8B8A0,
        off_road=(0x4C3C44, 0x44363E),
        hazard="water",
        hazard_colours=(0xF87018, 0xE85810),
        beyond=0xB83010,
        sky=(0x280810, 0x982018),
        far_hills=0x501018,
        near_hills=0x301420,
        decoration="embers",
        grip=0.24,
    ),
)

# Control points (x, y) of closed Catmull-Rom splines, in driving order from the start line.
COURSES = (
    ((170, 560), (170, 400), (215, 230), (370, 160), (520, 215), (590, 350), (715, 400), (840, 490), (850, 660),
     (740, 790), (570, 770), (440, 700), (330, 780), (215, 730)),
    ((840, 520), (850, 690), (740, 840), (560, 850), (470, 720), (350, 640), (190, 640), (150, 480), (240, 350),
     (400, 370), (500, 280), (560, 160), (730, 150), (830, 280)),
    ((500, 150), (680, 160), (840, 240), (860, 410), (730, 500), (620, 590), (690, 710), (660, 850), (480, 880),
     (330, 790), (170, 720), (160, 550), (290, 440), (310, 250)),
    ((150, 600), (150, 330), (250, 150), (450, 160), (530, 330), (640, 420), (700, 260), (840, 180), (890, 340),
     (860, 560), (860, 780), (690, 880), (500, 790), (330, 880), (180, 800)),
)  # fmt: skip


@dataclass(frozen=True)
class Track:
    """A course ready to race on. `ground` holds all mip levels, one after the other, as 0x00BBGGRR."""

    name: str
    theme: Theme
    centre: np.ndarray  # float64 (S, 2), x and y every `spacing` pixels
    direction: np.ndarray  # float64 (S,), radians; the x axis points right, the y axis down
    spacing: float
    nearest: np.ndarray  # int32 (256, 256), index of the nearest sample for each 4 x 4 cell
    surface: bytes  # ROAD .. BOOST at [y * SIZE + x]
    ground: np.ndarray  # uint32 (total,); CELLS_PER_PIXEL to a pixel
    mip_offsets: np.ndarray  # int32 (MIP_LEVELS,)
    panorama: np.ndarray  # uint32 (SKY_ROWS, 2 * PANORAMA_WIDTH), repeats once

    @property
    def length(self) -> float:
        return len(self.centre) * self.spacing


@lru_cache(maxsize=4)
def load_track(index: int) -> Track:
    """Course number `index`: four drawn by hand, then as many as one likes, drawn by a generator seeded with it."""
    theme = THEMES[index % len(THEMES)]
    points = np.array(COURSES[index], float) if index < len(COURSES) else random_course(index)
    centre, direction, spacing = sample_spline(points)
    distance, sample = distance_field(centre)
    offset_x = np.arange(SIZE)[None, :] - centre[sample, 0]
    offset_y = np.arange(SIZE)[:, None] - centre[sample, 1]
    lateral = (
        offset_y * np.cos(direction)[sample] - offset_x * np.sin(direction)[sample]
    )  # > 0 right of the line
    colours, surface = paint_ground(theme, distance, lateral, sample * spacing, len(centre) * spacing)
    ground, mip_offsets = mip_chain(colours)
    return Track(
        name=theme.name if index < len(COURSES) else f"{theme.name} {index}",
        theme=theme,
        centre=centre,
        direction=direction,
        spacing=spacing,
        nearest=nearest_everywhere(centre),
        surface=surface.tobytes(),
        ground=ground,
        mip_offsets=mip_offsets,
        panorama=paint_panorama(theme, np.random.default_rng(index)),
    )


def random_course(seed: int) -> np.ndarray:
    """Control points (12, 2) on a circle with two harmonics: it never crosses itself and never comes too near."""
    random = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    radius = 320 + sum(
        amplitude * np.cos(k * angle + random.uniform(0, 2 * np.pi))
        for k, amplitude in ((2, 55), (3, 45), (5, 22))
    )
    turn = random.choice((-1, 1))
    return 512 + radius[:, None] * np.stack([np.cos(turn * angle), np.sin(turn * angle)], axis=1)


def sample_spline(points: np.ndarray) -> Tuple[np.ndarray, np.ndarray, float]:
    """A closed uniform Catmull-Rom spline through `points`, sampled at equal steps of arc length."""
    before, after, after_next = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = np.linspace(0, 1, 100, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * points
        + (after - before) * t
        + (2 * before - 5 * points + 4 * after - after_next) * t**2
        + (3 * points - before - 3 * after + after_next) * t**3
    )  # (100, P, 2)
    curve = curve.transpose(1, 0, 2).reshape(
        -1, 2
    )  # (100, P, 2) -> (P, 100, 2) -> (P * 100, 2), in driving order
    closed = np.concatenate([curve, curve[:1]])
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    num_samples = int(along[-1] / SAMPLE_SPACING)
    spacing = along[-1] / num_samples
    places = np.arange(num_samples) * spacing
    centre = np.stack([np.interp(places, along, closed[:, axis]) for axis in (0, 1)], axis=1)
    ahead = np.roll(centre, -1, 0) - np.roll(centre, 1, 0)
    return centre, np.arctan2(ahead[:, 1], ahead[:, 0]), spacing


def distance_field(centre: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Distance to the centre line and index of its nearest sample, (SIZE, SIZE) each; exact near the line only."""
    reach = ROAD_HALF_WIDTH + KERB_WIDTH + OFF_ROAD_WIDTH + WALL_WIDTH + 4
    distance = np.full((SIZE, SIZE), float(reach), np.float32)
    sample = np.zeros((SIZE, SIZE), np.int32)
    for index, (x, y) in enumerate(centre):
        x0, x1 = max(0, int(x) - reach), min(SIZE, int(x) + reach)
        y0, y1 = max(0, int(y) - reach), min(SIZE, int(y) + reach)
        here = np.sqrt(
            (np.arange(x0, x1, dtype=np.float32) - x)[None, :] ** 2
            + (np.arange(y0, y1, dtype=np.float32) - y)[:, None] ** 2,
            dtype=np.float32,
        )
        nearer = here < distance[y0:y1, x0:x1]
        distance[y0:y1, x0:x1][nearer] = here[nearer]
        sample[y0:y1, x0:x1][nearer] = index
    return distance, sample


def nearest_everywhere(centre: np.ndarray) -> np.ndarray:
    """Index of the nearest sample for the middle of each 4 x 4 cell, int32 (256, 256)."""
    middle = np.arange(SIZE // 4) * 4 + 2.0
    squared_x = (middle[:, None] - centre[None, :, 0]) ** 2  # (256, S)
    squared_y = (middle[:, None] - centre[None, :, 1]) ** 2  # (256, S)
    return np.stack([np.argmin(squared_x + row, axis=1) for row in squared_y]).astype(np.int32)


def paint_ground(
    theme: Theme, distance: np.ndarray, lateral: np.ndarray, place: np.ndarray, length: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Colours 0xRRGGBB and surfaces, (SIZE, SIZE) each, from distance, side and place along the centre line."""
    rows, columns = np.indices((SIZE, SIZE))
    darker = int(pack_rgb(unpack_colour(theme.beyond)[::-1] * 0.92))  # 0xRRGGBB again, by packing B, G, R
    colours = np.where((rows // 64 + columns // 64) % 2 == 0, theme.beyond, darker).astype(np.uint32)
    surface = np.full((SIZE, SIZE), WALL if theme.hazard == "wall" else WATER, np.uint8)

    def paint(where: np.ndarray, pair: Tuple[int, int], pattern: np.ndarray, kind: int) -> None:
        colours[where] = np.where(pattern[where] % 2 == 0, pair[0], pair[1])
        surface[where] = kind

    off_road_edge = ROAD_HALF_WIDTH + KERB_WIDTH + OFF_ROAD_WIDTH
    hazard = WALL if theme.hazard == "wall" else WATER
    squares = rows // 8 + columns // 8 if hazard == WALL else (rows // 16 + columns // 32)
    paint(distance < off_road_edge + WALL_WIDTH, theme.hazard_colours, squares, hazard)
    paint(distance < off_road_edge, theme.off_road, rows // 32 + columns // 32, OFF_ROAD)
    paint(distance < ROAD_HALF_WIDTH + KERB_WIDTH, theme.kerb, (place // 12).astype(int), ROAD)
    paint(distance < ROAD_HALF_WIDTH, theme.road, (place // 48).astype(int), ROAD)
    colours[(np.abs(lateral) < 1.6) & (distance < ROAD_HALF_WIDTH) & (place % 40 < 20)] = theme.line
    start_line = (distance < ROAD_HALF_WIDTH) & (place < 16)
    paint(start_line, (0xF8F8F8, 0x202020), (lateral // 8).astype(int) + (place // 8).astype(int), ROAD)
    for share in () if theme is THEMES[0] else (0.3, 0.72):  # boost pads, on all courses but the first
        pad = (
            (np.abs(lateral - 12) < 10) & (np.abs(place - share * length) < 16) & (distance < ROAD_HALF_WIDTH)
        )
        paint(pad, (0xFFE040, 0xF07820), ((place + np.abs(lateral - 12)) // 6).astype(int), BOOST)
    return colours, surface


def mip_chain(colours: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """All levels of detail as one flat array of 0x00BBGGRR (so that its bytes read R, G, B), and where each begins.

    The CELLS_PER_PIXEL, two, are drawn smoothly between the pixels: so the one cell that a pixel of the screen reads is
    nearly what filtering would give, and edges do not jump.
    """
    level = np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=-1).astype(np.float32)
    flat = []
    for _ in range(MIP_LEVELS):
        flat.append(pack_rgb(twice_as_fine(twice_as_fine(level).swapaxes(0, 1)).swapaxes(0, 1)).ravel())
        half = len(level) // 2
        level = level.reshape(half, 2, half, 2, 3).mean(axis=(1, 3))
    offsets = np.cumsum([0] + [len(part) for part in flat[:-1]])
    return np.concatenate(flat), offsets.astype(np.int32)


def twice_as_fine(rows: np.ndarray) -> np.ndarray:
    """(n, ...) -> (2 n, ...), linear between the middles of the rows."""
    before, after = np.concatenate([rows[:1], rows[:-1]]), np.concatenate([rows[1:], rows[-1:]])
    pairs = np.stack([0.75 * rows + 0.25 * before, 0.75 * rows + 0.25 * after], axis=1)
    return pairs.reshape(-1, *rows.shape[1:])


def pack_rgb(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) of 0-255 -> uint32 (...) whose bytes in memory are R, G, B, 0."""
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return red | green << 8 | blue << 16


def unpack_colour(colour: int) -> np.ndarray:
    return np.array([colour >> 16 & 255, colour >> 8 & 255, colour & 255], np.float32)


def paint_panorama(theme: Theme, random: np.random.Generator) -> np.ndarray:
    """The sky and two ranges of hills all around, uint32 (SKY_ROWS, 2 * PANORAMA_WIDTH)."""
    rows = np.arange(SKY_ROWS)[:, None]
    columns = np.arange(PANORAMA_WIDTH)[None, :]
    blend = (rows / (SKY_ROWS - 1))[..., None]
    sky = unpack_colour(theme.sky[0]) * (1 - blend) + unpack_colour(theme.sky[1]) * blend
    sky = np.repeat(sky, PANORAMA_WIDTH, axis=1)

    def disc(x: float, y: float, width: float, height: float) -> np.ndarray:
        across = (columns - x + PANORAMA_WIDTH / 2) % PANORAMA_WIDTH - PANORAMA_WIDTH / 2
        return (across / width) ** 2 + ((rows - y) / height) ** 2 < 1

    if theme.decoration == "clouds":
        for x in np.arange(11) * PANORAMA_WIDTH / 11 + random.uniform(-25, 25, 11):
            y = random.uniform(4, 9)
            for step in (-1, 0, 1):
                sky[disc(x + 9 * step, y + abs(step) * 1.5, 12 - 3 * abs(step), 4 - abs(step))] = (
                    250,
                    252,
                    255,
                )
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
    else:
        for x in np.arange(9) * PANORAMA_WIDTH / 9 + random.uniform(-30, 30, 9):
            sky[disc(x, random.uniform(6, 12), random.uniform(8, 16), 2.2)] = (200, 70, 30)

    turn = columns * 2 * np.pi / PANORAMA_WIDTH
    for colour, height, waves in ((theme.far_hills, 8.0, (5, 9, 14)), (theme.near_hills, 4.0, (4, 11, 17))):
        ridge = sum(np.sin(k * turn + random.uniform(0, 2 * np.pi)) / (1 + i) for i, k in enumerate(waves))
        sky[np.broadcast_to(rows > SKY_ROWS - height * (0.75 + 0.3 * ridge), sky.shape[:2])] = unpack_colour(
            colour
        )
    return np.tile(pack_rgb(sky), (1, 2))
