"""Geometry of the built-in tracks: a closed spline as center line, and each ground pixel's distance to it.

The world is SIZE x SIZE pixels; the x axis points right, the y axis points down. Angles are in radians, 0 points right
and positive angles turn right.
"""

from typing import Tuple

import numpy as np

SIZE = 1024  # pixels per side of the world; one pixel is the world's unit of length
ROAD, OFF_ROAD, WALL, WATER, BOOST = range(5)  # surface types
ROAD_HALF_WIDTH, KERB_WIDTH, OFF_ROAD_WIDTH, WALL_WIDTH = 34, 5, 42, 12
SAMPLE_SPACING = 4.0  # approximate distance between two samples of the center line, pixels

# Control points (x, y) of closed Catmull-Rom splines, in driving order from the start line.
CONTROL_POINTS = (
    ((170, 560), (170, 400), (215, 230), (370, 160), (520, 215), (590, 350), (715, 400), (840, 490), (850, 660),
     (740, 790), (570, 770), (440, 700), (330, 780), (215, 730)),
    ((840, 520), (850, 690), (740, 840), (560, 850), (470, 720), (350, 640), (190, 640), (150, 480), (240, 350),
     (400, 370), (500, 280), (560, 160), (730, 150), (830, 280)),
    ((500, 150), (680, 160), (840, 240), (860, 410), (730, 500), (620, 590), (690, 710), (660, 850), (480, 880),
     (330, 790), (170, 720), (160, 550), (290, 440), (310, 250)),
    ((150, 600), (150, 330), (250, 150), (450, 160), (530, 330), (640, 420), (700, 260), (840, 180), (890, 340),
     (860, 560), (860, 780), (690, 880), (500, 790), (330, 880), (180, 800)),
)  # fmt: skip


def control_points(index: int) -> np.ndarray:
    """Control points of track number `index`, float64 (P, 2): drawn by hand if there are any, otherwise random."""
    if index < len(CONTROL_POINTS):
        return np.array(CONTROL_POINTS[index], float)
    return random_control_points(index)


def random_control_points(seed: int) -> np.ndarray:
    """Control points float64 (14, 2) on a circle whose radius varies by three harmonics, seeded with `seed`.

    The radius is a function of the angle, so the track never crosses itself.
    """
    random = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    radius = 320 + sum(
        amplitude * np.cos(k * angle + random.uniform(0, 2 * np.pi))
        for k, amplitude in ((2, 55), (3, 45), (5, 22))
    )
    turn = random.choice((-1, 1))
    return 512 + radius[:, None] * np.stack([np.cos(turn * angle), np.sin(turn * angle)], axis=1)


def sample_spline(points: np.ndarray) -> Tuple[np.ndarray, np.ndarray, float]:
    """Samples a closed uniform Catmull-Rom spline through `points` (P, 2) at equal steps of arc length.

    Returns the center line float64 (S, 2), its direction float64 (S,) in radians, and the step in pixels.
    """
    before, after, after_next = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = np.linspace(0, 1, 100, endpoint=False)[:, None, None]
    # curve: float64 (100, P, 2)
    curve = 0.5 * (
        2 * points
        + (after - before) * t
        + (2 * before - 5 * points + 4 * after - after_next) * t**2
        + (3 * points - before - 3 * after + after_next) * t**3
    )
    curve = curve.transpose(1, 0, 2).reshape(-1, 2)  # -> (P, 100, 2) -> (P * 100, 2), in driving order
    closed = np.concatenate([curve, curve[:1]])
    arc_length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    num_samples = int(arc_length[-1] / SAMPLE_SPACING)
    spacing = arc_length[-1] / num_samples
    positions = np.arange(num_samples) * spacing
    center = np.stack([np.interp(positions, arc_length, closed[:, axis]) for axis in (0, 1)], axis=1)
    tangent = np.roll(center, -1, 0) - np.roll(center, 1, 0)
    return center, np.arctan2(tangent[:, 1], tangent[:, 0]), spacing


def distance_field(center: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Distance to the center line, float32 (SIZE, SIZE), and index of its nearest sample, int32 (SIZE, SIZE).

    Both are exact up to the outer edge of the walls; farther away the distance is a constant and the index is 0.
    """
    reach = ROAD_HALF_WIDTH + KERB_WIDTH + OFF_ROAD_WIDTH + WALL_WIDTH + 4
    distance = np.full((SIZE, SIZE), float(reach), np.float32)
    nearest = np.zeros((SIZE, SIZE), np.int32)
    for index, (x, y) in enumerate(center):
        x0, x1 = max(0, int(x) - reach), min(SIZE, int(x) + reach)
        y0, y1 = max(0, int(y) - reach), min(SIZE, int(y) + reach)
        to_sample = np.sqrt(
            (np.arange(x0, x1, dtype=np.float32) - x)[None, :] ** 2
            + (np.arange(y0, y1, dtype=np.float32) - y)[:, None] ** 2,
            dtype=np.float32,
        )
        nearer = to_sample < distance[y0:y1, x0:x1]
        distance[y0:y1, x0:x1][nearer] = to_sample[nearer]
        nearest[y0:y1, x0:x1][nearer] = index
    return distance, nearest


def lateral_offset(center: np.ndarray, direction: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Signed distance of each pixel from the center line, float64 (SIZE, SIZE); positive on the right of it.

    `nearest`: index of the nearest sample for each pixel, from `distance_field`.
    """
    offset_x = np.arange(SIZE)[None, :] - center[nearest, 0]
    offset_y = np.arange(SIZE)[:, None] - center[nearest, 1]
    return offset_y * np.cos(direction)[nearest] - offset_x * np.sin(direction)[nearest]


def nearest_sample_grid(center: np.ndarray) -> np.ndarray:
    """Index of the center line's nearest sample for the middle of each 4 x 4 cell, int32 (SIZE / 4, SIZE / 4)."""
    middle = np.arange(SIZE // 4) * 4 + 2.0
    squared_x = (middle[:, None] - center[None, :, 0]) ** 2  # (256, S)
    squared_y = (middle[:, None] - center[None, :, 1]) ** 2  # (256, S)
    return np.stack([np.argmin(squared_x + row, axis=1) for row in squared_y]).astype(np.int32)
