"""The schedule of a training run, by steps and by the clock, when an epoch ends, and the learning rate."""

import functools
import itertools
from types import SimpleNamespace

import pytest
import torch
from dream.common.distributed import SINGLE
from dream.data.latents import encoding_time_line
from dream.training import schedule
from dream.training.loop import TrainingLoop
from dream.training.schedule import FINISH_S, FIRST_SAVE_S, LAST_SAVE_S, SAVE_S, Schedule, learning_rate


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
    assert "epochs" in run.stop_reason(200) and run.is_used_up(200) and not run.is_used_up(199)


def test_progress_is_the_fraction_of_the_time_that_is_left_for_training(clock):
    """What goes before the first step does not shorten the schedules: they end when the time does."""
    run = Schedule(200, max_minutes=2)
    clock.now_s += 60  # the recording is encoded
    assert run.progress(0) == 0
    run.trained_s += 15
    clock.now_s += 15
    assert run.progress(10) == pytest.approx(0.25) and run.progress(100) == 0.5
    clock.now_s += 5  # measuring: 40 s are left
    assert run.progress(10) == pytest.approx(15 / 55)
    run.reserve_s = 40
    assert run.progress(10) == 1.0


def test_a_resumed_run_counts_the_time_of_its_earlier_parts(clock):
    run = Schedule(200, max_minutes=2, elapsed_s=90.0, trained_s=60.0)
    assert run.progress(0) == pytest.approx(60 / 90) and not run.is_used_up(10)
    clock.now_s += 15
    assert run.elapsed_s() == pytest.approx(105) and run.progress(0) == pytest.approx(60 / 75)
    assert run.expected_steps(0) == 200 and run.expected_steps(8) == 10
    assert "--max-minutes" in run.stop_reason(9) and run.more_option(9) == "--max-minutes 4"
    assert Schedule(200, 2, elapsed_s=120.0).is_used_up(9)
    assert not Schedule(200, 2, began=clock.now_s - 130).is_used_up(
        0
    )  # set-up alone took longer: one step at least


def train(clock, run, epoch_steps, step_s, measure_s, save_s, first=0, measure_steps=10):
    """Runs a loop whose steps, measurements and other saves take so long. Returns (second, step, was it measured) of
    each end of an epoch."""
    began, step, epochs = clock.now_s, first, []
    loop = TrainingLoop(run, epoch_steps, SINGLE, step, measure_steps)
    while loop.progress < 1:
        clock.now_s += step_s
        step += 1
        if loop.end_step(step, {"loss": torch.zeros(())}):
            epochs.append((clock.now_s - began, step, loop.measure_is_due))
            clock.now_s += measure_s if loop.measure_is_due else save_s
            times = loop.times()
            loop.begin_epoch()
            assert (loop.progress >= 1) == ((not run.max_s and step == run.max_steps) or times["spent_s"] > 0)
    return epochs


def test_epochs_of_a_number_of_steps_are_all_measured(clock):
    epochs = train(clock, Schedule(30, 0), 10, step_s=100.0, measure_s=1e4, save_s=0)
    assert [(step, measured) for _, step, measured in epochs] == [(10, True), (20, True), (30, True)]


@pytest.mark.parametrize("step_s", [0.05, 0.4, 8.0])
@pytest.mark.parametrize("measure_s", [1.0, 20.0, 200.0])
def test_a_budget_holds_whatever_the_speed(clock, step_s, measure_s):
    """With set-up, measuring and saving; a checkpoint within a minute of training, then every two minutes."""
    began = clock.now_s
    run = Schedule(10**9, max_minutes=30)
    clock.now_s += 300  # set-up
    epochs = train(clock, run, None, step_s, measure_s, save_s=3.0)
    assert epochs[-1][2], "the last weights are measured"
    assert 0 <= 1800 - (clock.now_s - began) <= 2 * step_s + FINISH_S + 1
    assert epochs[0][0] <= FIRST_SAVE_S + step_s
    ends = [second for second, _, _ in epochs]
    assert max(b - a for a, b in itertools.pairwise(ends)) <= SAVE_S + LAST_SAVE_S + measure_s + 2 * step_s
    assert sum(measured for _, _, measured in epochs) * measure_s <= 0.15 * 1500 + 2 * measure_s


def test_a_budget_that_set_up_uses_up_leaves_one_step(clock):
    run = Schedule(1000, max_minutes=1)
    clock.now_s += 500
    assert [(step, measured) for _, step, measured in train(clock, run, None, 1.0, 5.0, 1.0)] == [(1, False)]
    for times in (
        {"elapsed_s": 60.0},
        {"elapsed_s": 40.0, "spent_s": 60.0},
    ):  # a resumed run has had its time
        assert train(clock, Schedule(1000, 1, **times), None, 1.0, 5.0, 1.0, first=12) == []


def test_encoding_says_how_long_it_takes():
    assert encoding_time_line(1000, 120, float("inf")) == "encoding 1000 frames takes about 2.0 minutes"
    assert "warning" not in encoding_time_line(1000, 120, 300)
    line = encoding_time_line(1000, 720, 50)
    assert line.startswith("warning: ") and "12.0 minutes" in line and "--max-minutes 37" in line


def test_learning_rate():
    """Linear warm-up, half a cosine, a hundredth of the peak at the end: at exactly 0 the last steps would be lost."""
    rate = functools.partial(learning_rate, 2.0)
    assert rate(0.0, 0) == pytest.approx(0.02) and rate(0.0, 49) == pytest.approx(1.0)
    assert rate(0.0, 99) == rate(0.0, 5000) == pytest.approx(2.0)
    assert rate(0.5, 5000) == pytest.approx(2 * 0.505) and rate(1.0, 5000) == pytest.approx(0.02)
    rates = [rate(progress / 20, 5000) for progress in range(21)]
    assert rates == sorted(rates, reverse=True)
