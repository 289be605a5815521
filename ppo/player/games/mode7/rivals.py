"""The other karts. They follow the center line, sway from side to side, and push the player's kart on contact.

A rival is a list of four numbers, so that the race can be saved as JSON: position along the track in pixels (one lap
more than the player's `progress`), distance right of the center line, speed, and the decaying speed of a push.
"""

import math
from typing import List, Tuple

import numpy as np

from player.games.mode7.physics import TOP_SPEED, State
from player.games.mode7.tracks import Track

CONTACT_DISTANCE = 13.0  # pixels between two karts that touch
# Pixels right of the center line; neighbors at the start are in different lanes.
LANES = (-21.0, 9.0, -6.0, 22.0)
# Relative change of a rival's speed per pixel of distance to the player: it is faster behind, slower ahead.
RUBBER_BAND = 0.0006


def make_rivals(count: int, position: float, random: np.random.Generator) -> List[List[float]]:
    """Makes `count` rivals, 40 pixels apart, in front of a player at `position`; `random` varies their speeds."""
    return [
        [position + 40.0 * (i + 1), LANES[i % 4], 1.72 + 0.2 * float(random.random()), 0.0]
        for i in range(count)
    ]


def sway(rival: List[float]) -> float:
    """Sideways offset from the rival's lane, in pixels."""
    return 6.0 * math.sin(rival[0] / 90.0)


def rival_pose(rival: List[float], track: Track, offset: float) -> Tuple[float, float, float]:
    """x and y in pixels and heading in radians of a rival that is `offset` pixels right of its lane."""
    index = int(rival[0] / track.spacing) % len(track.center)
    heading = float(track.direction[index])
    lateral = rival[1] + offset
    x, y = track.center[index]
    return float(x) - lateral * math.sin(heading), float(y) + lateral * math.cos(heading), heading


def move_rivals(state: State, track: Track) -> None:
    """Moves all rivals by one frame; a rival and the player's kart push each other when they touch."""
    s = state
    for rival in s["rivals"]:
        offset = sway(rival)
        behind = s["progress"] + track.length - rival[0]
        factor = 1 + min(max(RUBBER_BAND * behind, -0.1), 0.12)  # keeps the field together
        rival[0] += rival[2] * factor + rival[3]
        rival[3] *= 0.92
        x, y, heading = rival_pose(rival, track, offset)
        away_x, away_y = s["x"] - x, s["y"] - y
        if away_x * away_x + away_y * away_y < CONTACT_DISTANCE**2 and s["hop"] < 4:
            ahead = away_x * math.cos(heading) + away_y * math.sin(heading)
            rival[3] = -0.6 if ahead > 0 else 0.8  # the kart behind is slowed, the kart in front is sped up
            s["speed"] = min(s["speed"] + 0.15, TOP_SPEED) if ahead > 0 else s["speed"] * 0.85
            side = away_y * math.cos(s["heading"]) - away_x * math.sin(s["heading"])
            s["slip"] += math.copysign(0.25, side)
