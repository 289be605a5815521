"""The karts' sprites: a small point model, drawn from behind at NUM_VIEWS angles on first use."""

from functools import lru_cache
from typing import List, Tuple

import numpy as np

from player.games.mode7.painting import pack_rgb, unpack_color

NUM_VIEWS = 24  # angles per full turn; view 0 is from straight behind
SPRITE_SIZE = 36  # pixels per side
FEET_ROW = 31  # the row of a sprite that touches the ground
CAMERA_TILT = 0.42  # radians that the camera looks down
OUTLINE = 0x181820
LIVERIES = (  # colors of body and suit
    (0xE83030, 0x3058D8),
    (0x30A048, 0xF0C020),
    (0x8848C8, 0xF0F0F0),
    (0xF08828, 0x282830),
    (0x30A0D8, 0xE85898),
)

Part = Tuple[np.ndarray, int]  # points float64 (P, 3) as forward, right, up in pixels; color 0xRRGGBB


def box(
    forward: Tuple[float, float], right: Tuple[float, float], up: Tuple[float, float], color: int
) -> Part:
    """A solid box; the arguments are its extents (low, high) along each axis."""
    axes = [np.arange(low, high + 1e-6, 0.5) for low, high in (forward, right, up)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), color


def ball(middle: Tuple[float, float, float], radii: Tuple[float, float, float], color: int) -> Part:
    """A solid ellipsoid."""
    points, _ = box((-radii[0], radii[0]), (-radii[1], radii[1]), (-radii[2], radii[2]), color)
    inside = ((points / radii) ** 2).sum(axis=1) <= 1
    return points[inside] + middle, color


def wheel(forward: float, right: float, radius: float, width: float) -> List[Part]:
    """A tire and its hub, standing on the ground; `width` is half of the wheel's width."""
    tire, _ = box((-radius, radius), (-width, width), (-radius, radius), 0)
    tire = tire[tire[:, 0] ** 2 + tire[:, 2] ** 2 <= radius**2]
    hub, _ = box((-1.5, 1.5), (-width - 0.5, width + 0.5), (-1.5, 1.5), 0)
    middle = np.array((forward, right, radius))
    return [(tire + middle, 0x28282E), (hub + middle, 0xB0B0B8)]


def kart_parts(body: int, suit: int) -> List[Part]:
    """The model: 26 long, 25 wide and 27 high, in pixels of the sprite. `body`, `suit`: colors 0xRRGGBB."""
    parts = [
        box((-12, 12), (-6, 6), (2, 4), 0x505058),
        box((6, 14), (-4, 4), (2, 6.5), body),
        box((-8, 5), (-8.5, -5.5), (2, 6.5), body),
        box((-8, 5), (5.5, 8.5), (2, 6.5), body),
        box((-13, -8), (-7, 7), (4, 8), 0x989CA4),
        box((-14.5, -13), (-5.5, -2.5), (5, 8), 0x383840),
        box((-14.5, -13), (2.5, 5.5), (5, 8), 0x383840),
        box((-7.5, -5.5), (-5, 5), (4, 13), 0x303038),
        ball((-3, 0, 12), (4, 6, 6), suit),
        ball((0, -6, 11), (5, 2, 2), suit),
        ball((0, 6, 11), (5, 2, 2), suit),
        ball((-3, 0, 20), (6.5, 6.5, 6.5), body),
        box((-9.5, 2.5), (-1, 1), (20, 26), 0xF8F8F0),
        ball((0.5, 0, 19.5), (4.5, 5, 2.5), 0x202838),
    ]
    for forward, right, radius, width in ((-8, 10, 4.5, 2.2), (8, 9, 3.5, 1.8)):
        parts += wheel(forward, right, radius, width) + wheel(forward, -right, radius, width)
    return parts


@lru_cache(maxsize=None)
def kart_views(livery: int) -> np.ndarray:
    """Sprites uint32 (NUM_VIEWS, SPRITE_SIZE, SPRITE_SIZE) of 0x00BBGGRR, 0 where transparent.

    In view v the kart is turned right by v / NUM_VIEWS of a full turn.
    """
    parts = kart_parts(*LIVERIES[livery % len(LIVERIES)])
    points = np.concatenate([points for points, _ in parts])
    colors = np.concatenate([np.tile(unpack_color(color), (len(points), 1)) for points, color in parts])
    colors = colors * (0.78 + 0.22 * np.clip(points[:, 2:] / 22, 0, 1))  # light from above
    return np.stack([draw_view(points, colors, 2 * np.pi * view / NUM_VIEWS) for view in range(NUM_VIEWS)])


def draw_view(points: np.ndarray, colors: np.ndarray, angle: float) -> np.ndarray:
    """Projects colored points, turned right by `angle` radians: uint32 (SPRITE_SIZE, SPRITE_SIZE) with an outline."""
    forward = points[:, 0] * np.cos(angle) - points[:, 1] * np.sin(angle)
    right = points[:, 0] * np.sin(angle) + points[:, 1] * np.cos(angle)
    up = points[:, 2]
    column = np.round(SPRITE_SIZE / 2 - 0.5 + right).astype(int)
    row = np.round(FEET_ROW - 3 - up * np.cos(CAMERA_TILT) - forward * np.sin(CAMERA_TILT)).astype(int)
    nearness = -forward * np.cos(CAMERA_TILT) + up * np.sin(CAMERA_TILT)
    order = np.argsort(nearness, kind="stable")  # nearest points are drawn last
    column, row = column[order].clip(0, SPRITE_SIZE - 1), row[order].clip(0, SPRITE_SIZE - 1)
    picture = np.zeros((SPRITE_SIZE, SPRITE_SIZE), np.uint32)
    picture[row, column] = pack_rgb(colors[order])
    solid = np.zeros_like(picture, dtype=bool)
    solid[row, column] = True
    padded = np.pad(solid, 1)
    rim = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    picture[rim & ~solid] = pack_rgb(unpack_color(OUTLINE))
    return picture
