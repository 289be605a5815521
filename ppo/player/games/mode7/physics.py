"""How the player's kart moves in one frame (1/60 s): engine, steering, collisions, progress along the track.

The functions change `state`, the dict of plain numbers in which Mode7Kart keeps the race. Its entries used here:

    x, y, heading           position in pixels, direction in radians (see geometry.py)
    speed, slip             velocity along and to the right of the heading, pixels per frame
    yaw_rate                change of the heading, radians per frame
    hop, hop_speed          height above the ground in pixels, and its change per frame; hop_held: the button is down
    boost, sinking          frames left of a speed boost, and until the kart returns from the water
    sample, progress        nearest sample of the center line; pixels driven along it since the start of lap 1
    best, best_frame        largest progress so far, and the frame in which it was reached
    frames                  frames since reset
    off_road, wall          frames off the road, and hits of walls or water, in the current step
"""

import math
from typing import Any, Dict

from player.games.mode7.geometry import BOOST, OFF_ROAD, SIZE, WALL, WATER
from player.games.mode7.tracks import Track

State = Dict[str, Any]

TOP_SPEED = 2.0  # pixels per frame; a lap is about 2,300 pixels
OFF_ROAD_TOP_SPEED = 0.8
BOOST_SPEED = 2.7
ACCELERATION = 0.035
TURN_RATE = 0.034  # radians per frame
BOOST_FRAMES = 40
SINK_FRAMES = 50  # from falling into the water until the kart is back on the road
STANDSTILL = ("speed", "slip", "yaw_rate", "hop", "hop_speed")  # entries that are 0 for a kart at rest
WALL_PENALTY, WATER_PENALTY = 1.0, 5.0


def put_on_track(
    state: State, track: Track, position: float, lateral: float = 0.0, turn: float = 0.0
) -> None:
    """Puts the kart, at rest, `position` pixels along the track and `lateral` pixels right of the center line.

    `turn`: angle in radians between the kart and the track.
    """
    index = int(position / track.spacing) % len(track.center)
    heading = float(track.direction[index])
    x, y = track.center[index]
    state.update(
        x=float(x - lateral * math.sin(heading)),
        y=float(y + lateral * math.cos(heading)),
        heading=(heading + turn) % (2 * math.pi),
        sample=index,
        **dict.fromkeys(STANDSTILL, 0.0),
    )


def nearest_sample(state: State, track: Track) -> int:
    """Index of the center line's sample nearest to the kart."""
    return int(track.nearest[int(state["y"]) // 4, int(state["x"]) // 4])


def accelerate_and_steer(state: State, track: Track, held: frozenset, surface: int) -> None:
    """Updates speed, slip and heading from the names of the buttons held and the surface under the kart."""
    s = state
    steer = ("RIGHT" in held) - ("LEFT" in held)
    hop_held = "L" in held or "R" in held
    if hop_held and s["hop"] == 0 and s["hop_speed"] == 0 and not s.get("hop_held"):
        s["hop_speed"] = 0.7
    s["hop_held"] = hop_held
    if s["hop_speed"] or s["hop"]:
        s["hop"] += s["hop_speed"]
        s["hop_speed"] -= 0.09
        if s["hop"] <= 0:
            s["hop"] = s["hop_speed"] = 0.0
    if surface == BOOST and s["hop"] == 0:
        s["boost"] = BOOST_FRAMES
    s["boost"] = max(0, s["boost"] - 1)
    top = BOOST_SPEED if s["boost"] else OFF_ROAD_TOP_SPEED if surface == OFF_ROAD else TOP_SPEED
    speed = s["speed"]
    if s["boost"]:
        speed += 0.1 * (top - speed)
    elif "B" in held and speed < top:
        speed += ACCELERATION * (1.06 - speed / top)
    elif "Y" in held:
        speed = max(speed - 0.06, -0.5)
    else:
        speed = math.copysign(max(0.0, abs(speed) * 0.985 - 0.006), speed)
    if speed > top and not s["boost"]:
        speed = max(top, speed * 0.965)
    sliding = hop_held and s["hop"] == 0 and steer != 0
    rate = (
        TURN_RATE
        * (1.25 if sliding else 1.0)
        * min(1.0, abs(speed) / 0.5)
        * (1 - 0.22 * abs(speed) / TOP_SPEED)
    )
    s["yaw_rate"] += 0.22 * (steer * rate - s["yaw_rate"])
    # The velocity keeps its direction while the kart turns, so its components along the kart's axes rotate.
    cos, sin = math.cos(s["yaw_rate"]), math.sin(s["yaw_rate"])
    speed, slip = speed * cos + s["slip"] * sin, s["slip"] * cos - speed * sin
    s["heading"] = (s["heading"] + s["yaw_rate"]) % (2 * math.pi)
    s["speed"] = min(speed, BOOST_SPEED)
    s["slip"] = slip * (1 - track.theme.grip * (0.35 if sliding else 1.0))


def move_and_collide(state: State, track: Track) -> float:
    """Moves the kart by its velocity and returns the (negative) reward of a collision, or 0.

    A wall pushes the kart back towards the road. Water holds it for SINK_FRAMES.
    """
    s = state
    cos, sin = math.cos(s["heading"]), math.sin(s["heading"])
    velocity_x, velocity_y = s["speed"] * cos - s["slip"] * sin, s["speed"] * sin + s["slip"] * cos
    x = min(max(s["x"] + velocity_x, 1.0), SIZE - 2.0)
    y = min(max(s["y"] + velocity_y, 1.0), SIZE - 2.0)
    surface = track.surface[int(y) * SIZE + int(x)]
    if surface == WATER and s["hop"] == 0:
        s.update(x=x, y=y, sinking=SINK_FRAMES, speed=0.0, slip=0.0, yaw_rate=0.0)
        s["wall"] += 1
        return -WATER_PENALTY
    if surface != WALL:
        s["x"], s["y"] = x, y
        return 0.0
    center_x, center_y = track.center[nearest_sample(s, track)]
    inward_x, inward_y = center_x - s["x"], center_y - s["y"]
    norm = math.hypot(inward_x, inward_y) or 1.0
    inward_x, inward_y = inward_x / norm, inward_y / norm
    into_wall = min(velocity_x * inward_x + velocity_y * inward_y, 0.0)
    velocity_x = 0.8 * (velocity_x - 1.5 * into_wall * inward_x) + 0.3 * inward_x
    velocity_y = 0.8 * (velocity_y - 1.5 * into_wall * inward_y) + 0.3 * inward_y
    s["speed"], s["slip"] = velocity_x * cos + velocity_y * sin, velocity_y * cos - velocity_x * sin
    s["wall"] += 1
    return -WALL_PENALTY


def update_progress(state: State, track: Track) -> float:
    """Updates the progress along the track and returns its change in pixels.

    A jump of more than a quarter lap, as by a shortcut, changes nothing and returns 0.
    """
    s = state
    sample = nearest_sample(s, track)
    num_samples = len(track.center)
    change = (sample - s["sample"] + num_samples // 2) % num_samples - num_samples // 2
    if abs(change) > num_samples // 4:
        return 0.0
    # Between two samples: the kart's position projected onto the center line.
    direction = float(track.direction[sample])
    center_x, center_y = track.center[sample]
    beyond = (s["x"] - center_x) * math.cos(direction) + (s["y"] - center_y) * math.sin(direction)
    beyond = min(max(beyond, -track.spacing), track.spacing)
    laps_done = round((s["progress"] - s["sample"] * track.spacing) / track.length)
    if s["sample"] + change >= num_samples:
        laps_done += 1
    elif s["sample"] + change < 0:
        laps_done -= 1
    before, s["sample"] = s["progress"], sample
    s["progress"] = laps_done * track.length + sample * track.spacing + beyond
    if s["progress"] > s["best"] + 8.0:
        s["best"], s["best_frame"] = s["progress"], s["frames"]
    return s["progress"] - before
