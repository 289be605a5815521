"""Counts and times the laps of a session, from where a probe sees the kart along the track."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dream.play.views import push_view

# An alpha-beta filter tracks the place: how much of an error corrects the place, and the speed, per frame.
PLACE_GAIN, SPEED_GAIN = 0.2, 0.02
GATE = 0.08  # laps: a prediction farther off is an outlier
MAX_SPEED = 0.01  # laps per frame, more than a kart can drive
JUMP_S = 1.5  # outliers that agree with each other for so long: the generated world has jumped
GRID = 0.05  # laps around the line: who starts here starts a lap

PlaceProbe = Callable[
    [np.ndarray], np.ndarray
]  # views uint8 (STACK, OBS_SIZE, OBS_SIZE) -> (cos, sin) of the place


@dataclass(frozen=True)
class LapState:
    """What a rewind restores. Places are in laps, counted on from lap to lap; the line is at whole numbers."""

    views: np.ndarray
    place: float  # tracked
    next_line: int  # that ends the running lap
    speed: float = 0.0  # tracked, laps per frame
    num_frames: int = 0  # since the start
    began: int | None = (
        None  # frame in which the running lap began; None: before the first line, or after a jump
    )
    laps: int = 0
    last_lap_s: float | None = None
    best_lap_s: float | None = None
    other_place: float = 0.0  # tracked from outliers
    num_outliers: int = 0  # in a row that agree with other_place


class LapTimer:
    """`laps`: complete laps since the start. `lap_s`: time in the running lap, s; None before the first line, and after
    a jump of the generated world until the next line. `last_lap_s`, `best_lap_s`: s, None before the first lap; the
    best one is kept at a restart.

    A lap counts when the kart passes the line, having driven all the way since it began: neither standing, reversing
    over the line nor a jump of the probe or of the world makes one."""

    def __init__(self, probe: PlaceProbe, fps: float) -> None:
        """fps: generated frames per second of game time."""
        self.probe, self.fps, self.state = probe, fps, None

    # -- in a session ------------------------------------------------------------------------------------------------

    def reset(self, frame_u8: np.ndarray, place: float | None = None) -> None:
        """Begins at a start state whose last frame is `frame_u8`, uint8 (H, W, 3). place: where it is, in laps, if that
        is known."""
        views = push_view(None, frame_u8)
        place = self._predict(views) if place is None else place % 1
        at_grid = abs(place - round(place)) < GRID
        next_line = round(place) + 1 if at_grid else math.ceil(place)
        best_lap_s = self.state and self.state.best_lap_s
        self.state = LapState(views, place, next_line, began=0 if at_grid else None, best_lap_s=best_lap_s)

    def observe(self, frame_u8: np.ndarray) -> None:
        """Receives the next generated frame, uint8 (H, W, 3)."""
        views = push_view(self.state.views, frame_u8)
        state = replace(self.state, views=views, num_frames=self.state.num_frames + 1)
        self.state = self._pass_line(self._track(state, self._predict(views)))

    def get_state(self) -> LapState:
        """The state, for `set_state`."""
        return self.state

    def set_state(self, state: LapState) -> None:
        self.state = state

    # -- what the window shows ---------------------------------------------------------------------------------------

    @property
    def laps(self) -> int:
        return self.state.laps

    @property
    def lap_s(self) -> float | None:
        began = self.state.began
        return None if began is None else (self.state.num_frames - began) / self.fps

    @property
    def last_lap_s(self) -> float | None:
        return self.state.last_lap_s

    @property
    def best_lap_s(self) -> float | None:
        return self.state.best_lap_s

    # -- tracking ----------------------------------------------------------------------------------------------------

    def _predict(self, views: np.ndarray) -> float:
        """The place that the probe sees, in laps, 0 to 1."""
        return place_in_laps(self.probe(views))

    def _track(self, state: LapState, seen: float) -> LapState:
        """The state with its place moved on and towards the place `seen` by the probe, or to where the world has
        jumped."""
        expected, other = state.place + state.speed, state.other_place + state.speed
        error, other_error = wrap(seen - expected), wrap(seen - other)
        if abs(error) < GATE:
            speed = min(max(state.speed + SPEED_GAIN * error, -MAX_SPEED), MAX_SPEED)
            return replace(state, place=expected + PLACE_GAIN * error, speed=speed, num_outliers=0)
        state = replace(state, place=expected)
        if state.num_outliers == 0 or abs(other_error) >= GATE:
            return replace(state, other_place=seen, num_outliers=1)
        other = (other + PLACE_GAIN * other_error) % 1
        if state.num_outliers < JUMP_S * self.fps:
            return replace(state, other_place=other, num_outliers=state.num_outliers + 1)
        return replace(state, place=other, next_line=math.ceil(other), began=None, num_outliers=0)

    def _pass_line(self, state: LapState) -> LapState:
        """The state after the line, if the place has reached it."""
        if state.place < state.next_line:
            return state
        passed = replace(state, began=state.num_frames, next_line=state.next_line + 1)
        if state.began is None:
            return passed
        lap_s = (state.num_frames - state.began) / self.fps
        return replace(
            passed, laps=state.laps + 1, last_lap_s=lap_s, best_lap_s=min(lap_s, state.best_lap_s or lap_s)
        )


def place_in_laps(vector: np.ndarray) -> float:
    """What a PlaceProbe returns, (cos, sin) of any length, as a fraction of a lap, 0 to 1."""
    cos, sin = vector
    return math.atan2(sin, cos) / (2 * math.pi) % 1


def wrap(difference: float) -> float:
    """A difference of places in laps, the shorter way round: -0.5 to 0.5."""
    return (difference + 0.5) % 1 - 0.5
