"""The lap timer, with a probe that reads the place off the brightness of a frame."""

import math

import numpy as np
import pytest
from dream.play.lap_timer import JUMP_S, LapTimer
from dream.play.session import PlaySession
from fakes import FakeEnv

FPS, LAP_FRAMES = 15.0, 150


def brightness_probe(views):
    angle = 2 * math.pi * views[-1, 0, 0] / 256
    return np.array([math.cos(angle), math.sin(angle)])


def frame_at(place):
    return np.full((28, 64, 3), int(place % 1 * 256), np.uint8)


def drive(places, start=None):
    """A timer after these places, in laps; the start's own place is given to it if it is not the first of them."""
    timer = LapTimer(brightness_probe, FPS)
    timer.reset(frame_at(places[0]), start)
    for place in places[1:]:
        timer.observe(frame_at(place))
    return timer


def steady(begin, end):
    return np.arange(begin, end, 1 / LAP_FRAMES)


def test_laps_from_the_grid_are_counted_and_timed():
    """The grid is just before the line; the first lap begins there, with the game."""
    timer = drive(steady(-0.02, 0.5))
    assert timer.laps == 0 and timer.last_lap_s is None and timer.best_lap_s is None
    assert timer.lap_s == pytest.approx(0.52 * LAP_FRAMES / FPS, abs=0.1)
    timer = drive(steady(-0.02, 3.2))
    assert timer.laps == 3 and timer.last_lap_s == pytest.approx(LAP_FRAMES / FPS, abs=0.1)
    assert timer.lap_s == pytest.approx(0.2 * LAP_FRAMES / FPS, abs=0.5)


def test_the_best_lap_is_the_fastest_one():
    fast = np.arange(1, 2, 1.5 / LAP_FRAMES)
    timer = drive([*steady(0, 1), *fast, *steady(2, 3.1)])
    assert timer.laps == 3 and timer.last_lap_s == pytest.approx(LAP_FRAMES / FPS, abs=0.2)
    assert timer.best_lap_s == pytest.approx(LAP_FRAMES / FPS / 1.5, abs=0.3)


def test_from_the_middle_of_the_track_the_first_lap_begins_at_the_line():
    timer = drive(steady(0.4, 0.9))
    assert timer.laps == 0 and timer.lap_s is None
    timer = drive(steady(0.4, 1.9))
    assert timer.laps == 0 and timer.lap_s == pytest.approx(0.9 * LAP_FRAMES / FPS, abs=0.5)
    assert drive(steady(0.4, 2.1)).laps == 1


def test_the_known_place_of_a_start_state_is_taken():
    """The probe sees the first frame four times, which tells it less than play does."""
    assert drive([0.5, *steady(0, 1.1)], start=0.99).laps == 1


def test_a_noisy_probe_counts_no_lap_twice():
    rng = np.random.default_rng(0)
    places = steady(0, 4.1)
    timer = drive(places + rng.normal(0, 0.03, len(places)))
    assert timer.laps == 4 and timer.best_lap_s == pytest.approx(LAP_FRAMES / FPS, abs=0.6)
    assert drive(rng.normal(0, 0.03, 2000), start=0.0).laps == 0  # stands at the line


def test_reversing_over_the_line_makes_no_lap():
    there_and_back = [*steady(0, 1.1), *steady(0.9, 1.1)[::-1]] + [
        *steady(0.9, 1.1),
        *steady(0.9, 1.1)[::-1],
    ] * 3
    assert drive(there_and_back).laps == 1
    assert drive(-steady(0, 3)).laps == 0  # all the way backwards


def test_outliers_of_the_probe_are_ignored():
    places = steady(0, 2.1)
    for first in range(20, len(places) - 20, 40):
        places[first : first + 12] += 0.4
    timer = drive(places)
    assert timer.laps == 2 and timer.last_lap_s == pytest.approx(LAP_FRAMES / FPS, abs=0.5)


def test_a_jump_of_the_world_ends_the_lap_uncounted():
    num_frames = round(JUMP_S * FPS) + 3
    jump = [*steady(0, 0.3), *steady(0.8, 0.8 + num_frames / LAP_FRAMES)]
    assert drive(jump).lap_s is None
    place = jump[-1]
    timer = drive([*jump, *steady(place, 1.3)])
    assert timer.laps == 0 and timer.lap_s is not None
    timer = drive([*jump, *steady(place, 2.1)])
    assert timer.laps == 1 and timer.last_lap_s == pytest.approx(LAP_FRAMES / FPS, abs=0.2)


def test_a_random_probe_counts_no_laps():
    rng = np.random.default_rng(1)
    assert drive(rng.random(3000)).laps <= 1


def test_a_rewind_takes_laps_back_and_a_restart_keeps_the_best():
    """The same frames after a rewind give the same laps and times."""

    class Track(FakeEnv):
        """A lap in LAP_FRAMES frames, whatever the action."""

        fps = FPS

        def set_state(self, state):
            super().set_state(state)
            return frame_at(self.num_generated / LAP_FRAMES)

        def game_state(self, start):
            return {"place": 0.0}

    session = PlaySession(Track(), lap_timer=LapTimer(brightness_probe, FPS))
    timer = session.lap_timer
    for _ in range(LAP_FRAMES + 30):
        session.step()
    before = (timer.laps, timer.lap_s, timer.last_lap_s, timer.best_lap_s)
    assert before[0] == 1
    for _ in range(60):
        session.rewind()
    assert timer.laps == 0 and timer.best_lap_s is None
    for _ in range(60):
        session.step()
    assert (timer.laps, timer.lap_s, timer.last_lap_s, timer.best_lap_s) == before
    session.restart()
    assert (timer.laps, timer.lap_s, timer.last_lap_s, timer.best_lap_s) == (0, 0, None, before[3])
