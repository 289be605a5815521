"""The four looks of the built-in tracks: colors, hazard, sky and grip."""

from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Theme:
    """The look of a track, and how well tires grip on it. Colors are 0xRRGGBB."""

    name: str
    road: Tuple[int, int]  # two shades, alternating along the road, which make speed visible
    kerb: Tuple[int, int]
    line: int
    off_road: Tuple[int, int]  # two shades of a checkerboard
    hazard: str  # what surrounds the off-road band: "wall" or "water"
    hazard_colors: Tuple[int, int]
    beyond: int  # the ground outside of the hazard
    sky: Tuple[int, int]  # top, horizon
    far_hills: int
    near_hills: int
    decoration: str  # "clouds", "sun", "aurora" or "embers"
    grip: float  # fraction of the sideways speed lost per frame


THEMES = (
    Theme(
        name="Meadow Circuit",
        road=(0x84848C, 0x7C7C84),
        kerb=(0xE04038, 0xF4F0E8),
        line=0xF4F0D0,
        off_road=(0x58B848, 0x4CA83E),
        hazard="wall",
        hazard_colors=(0xF0C030, 0x3060C8),
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
        hazard_colors=(0x28A0C8, 0x2090BC),
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
        hazard_colors=(0x60C8E8, 0x4078C0),
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
        hazard_colors=(0xF87018, 0xE85810),
        beyond=0xB83010,
        sky=(0x280810, 0x982018),
        far_hills=0x501018,
        near_hills=0x301420,
        decoration="embers",
        grip=0.24,
    ),
)
