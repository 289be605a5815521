"""The tracks of the built-in game, ready to race on: four drawn by hand, then any number of generated ones."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from player.games.mode7.geometry import (
    CONTROL_POINTS,
    control_points,
    distance_field,
    lateral_offset,
    nearest_sample_grid,
    sample_spline,
)
from player.games.mode7.painting import mip_chain, paint_ground, paint_panorama
from player.games.mode7.themes import THEMES, Theme


@dataclass(frozen=True)
class Track:
    """One track: its center line, its surfaces and its pictures."""

    name: str
    theme: Theme
    center: np.ndarray  # float64 (S, 2), x and y every `spacing` pixels
    direction: np.ndarray  # float64 (S,), radians; the x axis points right, the y axis down
    spacing: float  # pixels between two samples
    nearest: np.ndarray  # int32 (256, 256), index of the nearest sample for each 4 x 4 cell
    surface: bytes  # surface type, ROAD to BOOST, at [y * SIZE + x]
    ground: np.ndarray  # uint32 (total,), all mip levels one after the other, 0x00BBGGRR
    mip_offsets: np.ndarray  # int32 (MIP_LEVELS,), where each level begins in `ground`
    panorama: np.ndarray  # uint32 (SKY_ROWS, 2 * PANORAMA_WIDTH), the sky, repeated once

    @property
    def length(self) -> float:
        """Length of a lap in pixels."""
        return len(self.center) * self.spacing


@lru_cache(maxsize=4)
def load_track(index: int) -> Track:
    """Makes track number `index` (from 0). From the fifth on, a generator seeded with `index` draws it."""
    theme = THEMES[index % len(THEMES)]
    center, direction, spacing = sample_spline(control_points(index))
    distance, nearest = distance_field(center)
    lateral = lateral_offset(center, direction, nearest)
    colors, surface = paint_ground(theme, distance, lateral, nearest * spacing, len(center) * spacing)
    ground, mip_offsets = mip_chain(colors)
    return Track(
        name=theme.name if index < len(CONTROL_POINTS) else f"{theme.name} {index}",
        theme=theme,
        center=center,
        direction=direction,
        spacing=spacing,
        nearest=nearest_sample_grid(center),
        surface=surface.tobytes(),
        ground=ground,
        mip_offsets=mip_offsets,
        panorama=paint_panorama(theme, np.random.default_rng(index)),
    )
