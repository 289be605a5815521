"""The schedule of a training run, by steps and by the clock, and the learning rate."""

import functools
from types import SimpleNamespace

import pytest
from dream.training import schedule
from dream.training.schedule import Schedule, learning_rate


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock for `Schedule` that only moves when a test adds to `now_s`."""
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(schedule, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


def test_a_run_limited_by_steps_ignores_the_clock(clock):
    run = Schedule(200, max_minutes=0)
    clock.now_s += 1e6
    assert run.progress(50) == 0.25 and run.progress(199) < 1 == run.progress(200)
    assert run.expected_steps(0) == run.expected_steps(50) == 200
    assert "epochs" in run.stop_reason(200)


def test_progress_is_that_of_the_nearer_limit(clock):
    run = Schedule(200, max_minutes=2)
    clock.now_s += 30
    assert run.progress(10) == pytest.approx(0.25) and run.progress(100) == 0.5
    clock.now_s += 89.9
    assert run.progress(10) < 1
    clock.now_s += 0.2
    assert run.progress(10) == 1.0


def test_a_resumed_run_counts_the_time_of_its_earlier_parts(clock):
    run = Schedule(200, max_minutes=2, elapsed_s=90.0)
    assert run.progress(0) == pytest.approx(0.75)
    clock.now_s += 15
    assert run.elapsed_s() == pytest.approx(105)
    assert run.expected_steps(0) == 200 and run.expected_steps(7) == 8  # 105 of 120 s have passed
    assert "--max-minutes" in run.stop_reason(9)


def test_learning_rate():
    """Linear warm-up, half a cosine, a hundredth of the peak at the end: at exactly 0 the last steps would be lost."""
    rate = functools.partial(learning_rate, 2.0)
    assert rate(0.0, 0) == pytest.approx(0.02) and rate(0.0, 49) == pytest.approx(1.0)
    assert rate(0.0, 99) == rate(0.0, 5000) == pytest.approx(2.0)
    assert rate(0.5, 5000) == pytest.approx(2 * 0.505) and rate(1.0, 5000) == pytest.approx(0.02)
    rates = [rate(progress / 20, 5000) for progress in range(21)]
    assert rates == sorted(rates, reverse=True)
