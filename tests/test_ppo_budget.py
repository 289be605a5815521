"""The time budget of train_ppo.py."""

from types import SimpleNamespace

import pytest
from player.rl import budget
from player.rl.budget import FINISH_S, PACK_COST, Budget


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock that only moves when a test adds to `now_s`."""
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


def run(clock, one: Budget, epoch_s: float, write_s: float) -> tuple[int, list[float]]:
    """Trains in epochs of so many seconds, `write_s` of them for the recording; returns how many there were, and the
    progress at the beginning of each."""
    epoch, progress = 0, []
    while epoch == 0 or not one.is_over(epoch):
        progress.append(one.progress(epoch))
        clock.now_s += epoch_s
        one.epoch_done(epoch_s, write_s)
        epoch += 1
    return epoch, progress


def test_epochs_and_packing_fit_into_the_minutes(clock):
    one = Budget(1000, max_minutes=10, began=clock.now_s - 20)  # 20 s of loading
    epochs, progress = run(clock, one, epoch_s=10.0, write_s=1.0)
    used_s = 20 + 10 * epochs + PACK_COST * epochs + FINISH_S
    assert 600 - 12 <= used_s <= 600 + 1
    assert progress[0] == 0 and progress == sorted(progress) and 0.9 < progress[-1] < 1
    assert "--max-minutes" in one.stop_reason(epochs)


def test_without_minutes_the_epochs_count(clock):
    epochs, progress = run(clock, Budget(4, max_minutes=0), epoch_s=1e6, write_s=1.0)
    assert epochs == 4 and progress == [
        0,
        0.25,
        0.5,
        0.75,
    ]  # whatever the speed, so that runs can be repeated


def test_a_resumed_run_counts_its_earlier_parts(clock):
    one = Budget(1000, max_minutes=2)
    epochs, _ = run(clock, one, epoch_s=10.0, write_s=0.0)
    saved = one.state_dict(epochs)
    clock.now_s += 1e5  # a night
    assert Budget(1000, 2, None, saved).is_used_up(epochs)
    more = Budget(1000, 4, None, saved)
    assert (
        not more.is_used_up(epochs) and 110 <= more.elapsed_s() <= 120 and 0.4 < more.progress(epochs) < 0.55
    )
    assert Budget(epochs, 0, None, saved).is_used_up(epochs)


def test_loading_that_takes_all_the_time_leaves_one_epoch(clock):
    assert run(clock, Budget(9, max_minutes=1, began=clock.now_s - 99), epoch_s=5.0, write_s=0.1)[0] == 1
