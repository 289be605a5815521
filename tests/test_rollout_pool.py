"""The pool of rollouts: contexts, actions and targets of training samples, rollout lengths, rollouts off the data."""

import numpy as np
import pytest
import torch
from dream.data.latents import fewer_still_windows, gather_windows
from dream.data.splits import window_starts
from dream.training.rollout_pool import RolloutPool, rollout_length_schedule
from small import CPU
from training_helpers import L, seeded

ENDLESS = 10**9  # a mean rollout length at which no rollout ends by chance
AT_ONCE = 1e-9  # a mean length with which each rollout ends with its next draw
TWO = torch.ones(2, dtype=torch.bool)
T, RESET = 16, 12  # steps of a row, and the step of its reset: the 4 frames after it hold no training window


def make_pool(
    batch_size: int = 2, num_rows: int = 3, change_threshold: float = 0.0, off_data_fraction: float = 0.0,
    actions: torch.Tensor | None = None,
) -> RolloutPool:  # fmt: skip
    """Pool over a recording whose latent and action at (row, t) are t + 100 row, unless other actions are given."""
    latents = torch.arange(T) + 100.0 * torch.arange(num_rows)[:, None]  # (N, T)
    actions = latents.long() if actions is None else actions
    episode_starts = np.zeros((num_rows, T), bool)
    episode_starts[:, [0, RESET]] = True
    starts = torch.from_numpy(window_starts(episode_starts, np.ones((num_rows, T), bool), L + 1))
    latents = latents[..., None, None, None].half()
    return RolloutPool(
        latents, actions, starts, batch_size, L, CPU, seeded(), change_threshold, off_data_fraction
    )


def test_gathered_windows_match_slow_slicing():
    """Actions from another row, or one step off, train a model that reacts late; nothing else would show it."""
    latents = torch.randn(3, 11, 4, 2, 3, generator=seeded()).half()
    actions = torch.randint(5, (3, 11), generator=seeded(1))
    starts = torch.tensor([[0, 0], [2, 5], [1, 3], [2, 0]])
    window, window_actions = gather_windows(latents, actions, starts, 6, CPU)
    assert window.dtype == torch.float32 and window_actions.dtype == torch.int64
    for i, (row, t) in enumerate(starts.tolist()):
        torch.testing.assert_close(window[i], latents[row, t : t + 6].float())
        assert torch.equal(window_actions[i], actions[row, t : t + 6])


def test_samples_match_a_slow_reference():
    """Context, actions and target of every sample against rollouts that are kept as Python lists."""
    pool = make_pool()
    generated = {}  # slot -> frames generated since its reset
    longest = 0
    for step in range(400):
        batch = pool.sample_batch()
        assert len(set(batch.slots.tolist())) == 2 and batch.has_target.all()
        predicted = torch.tensor([-1.0 - step, -1.5 - step])[:, None, None, None]
        at_pure_noise = torch.tensor([step % 3 > 0, True])
        for b, slot in enumerate(batch.slots.tolist()):
            row, t = batch.positions[b].tolist()
            real = [100.0 * row + t + i for i in range(L + 1)]
            assert t + L < RESET  # no window crosses a reset
            assert batch.actions[b].tolist() == real[:-1]
            assert (
                batch.real_context[b].flatten().tolist() == real[:-1] and batch.target[b].item() == real[-1]
            )
            if batch.is_real[b]:
                generated[slot] = []
            own = generated[slot]
            expected = real[: max(0, L - len(own))] + own[-L:]
            assert batch.context[b].flatten().tolist() == expected
            longest = max(longest, len(own))
            if at_pure_noise[b]:
                generated[slot] = [*own, predicted[b].item()]
        pool.mean_length = 12
        pool.update(batch.slots, predicted, at_pure_noise)
    assert longest == RESET - L - 1  # up to the last target before the reset


def test_rollout_length_grows_with_progress():
    assert rollout_length_schedule(64, 0.2, 0.2) == rollout_length_schedule(0, 0.2, 0.9) == 0
    assert rollout_length_schedule(64, 0.2, 0.5) == pytest.approx(8)
    assert rollout_length_schedule(64, 0.0, 0.75) == pytest.approx(64)
    assert rollout_length_schedule(64, 0.2, 0.8) == rollout_length_schedule(64, 0.2, 1.0) == 64
    assert rollout_length_schedule(64, 0.2, 0.5, shortest=16) == pytest.approx(32)
    assert rollout_length_schedule(64, 0.2, 0.3, shortest=64) == pytest.approx(64)


def test_at_mean_length_0_all_contexts_are_real():
    pool = make_pool()
    for _ in range(50):
        batch = pool.sample_batch()
        assert batch.is_real.all() and (batch.context >= 0).all()
        pool.mean_length = 0
        pool.update(batch.slots, -batch.target, TWO)


def test_generated_frames_enter_contexts_without_gradient():
    """With gradients, every step would keep the graphs of all steps before it."""
    pool = make_pool()
    batch = pool.sample_batch()
    predicted = batch.target * torch.ones((), requires_grad=True)
    pool.mean_length = ENDLESS
    pool.update(batch.slots, predicted, TWO)
    assert pool.num_generated.max() == 1 and not pool.contexts.requires_grad


@pytest.mark.parametrize("change", [0.04, 0.06])
def test_small_changes_are_suppressed_as_in_play(change):
    pool = make_pool(batch_size=1, change_threshold=0.05)
    batch = pool.sample_batch()
    last = batch.context[:, -1]
    pool.mean_length = ENDLESS
    pool.update(batch.slots, last + change, TWO[:1])
    assert pool.num_generated[batch.slots] == 1  # the rollout has not reached the end of its row
    moved = (pool.contexts[batch.slots, -1].float() - last).item()
    assert moved == 0 if change < 0.05 else moved > 0


def test_a_rollout_that_ends_goes_off_the_data_once():
    """It keeps its context and takes the actions of another window with the same history: a model that met another
    history than its context shows would learn to ignore the actions."""
    t = torch.arange(T)
    actions = t % 4 + torch.arange(50)[:, None] % 5 * (t % 4 == 3)  # several rows share each history
    pool = make_pool(num_rows=50, off_data_fraction=1.0, actions=actions)
    batch = pool.sample_batch()
    slots = batch.slots
    pool.mean_length = AT_ONCE
    pool.update(slots, -batch.target, TWO)
    assert pool.off_data[slots].all() and (pool.num_generated[slots] == 1).all()
    assert (pool.positions[slots, 0] != batch.positions[:, 0]).all()  # by chance 1 in 50 stays in its row
    row, t = pool.positions[slots].unbind(dim=1)
    for i in range(L - 1):
        assert torch.equal(pool.actions[row, t + i], batch.actions[:, i + 1])
    expected = torch.cat([batch.context[:, 1:], -batch.target[:, None]], dim=1)
    assert torch.equal(pool.contexts[slots].float(), expected)
    pool.mean_length = AT_ONCE
    pool.update(slots, -batch.target, TWO)
    assert not pool.off_data.any() and (pool.contexts >= 0).all()
    pool.mean_length = AT_ONCE
    pool.update(slots, -batch.target, ~TWO)  # no prediction from pure noise
    pool.mean_length = 0
    pool.update(slots, -batch.target, TWO)
    assert not pool.off_data.any() and (pool.contexts >= 0).all()


def test_samples_off_the_data_have_no_target():
    pool = make_pool(off_data_fraction=1.0)
    for _ in range(100):
        batch = pool.sample_batch()
        assert torch.equal(
            batch.has_target, batch.is_real
        )  # here a rollout leaves the data with its first frame
        pool.mean_length = AT_ONCE
        pool.update(batch.slots, batch.target, TWO)
    assert pool.off_data.any()


def test_without_an_equal_history_any_window_is_taken():
    pool = make_pool(off_data_fraction=1.0)  # every action occurs once
    batch = pool.sample_batch()
    pool.positions[batch.slots] = torch.tensor([[0, 7], [1, 7]])  # the last windows before a reset
    pool.mean_length = AT_ONCE
    pool.update(batch.slots, batch.target, TWO)
    row, t = pool.positions[batch.slots].unbind(dim=1)
    assert pool.off_data[batch.slots].all() and pool.is_window_start[row, t].all()


def test_a_restored_pool_continues_identically():
    one, other = make_pool(off_data_fraction=0.5), make_pool(off_data_fraction=0.5)
    for _ in range(20):
        batch = one.sample_batch()
        one.mean_length = 5
        one.update(batch.slots, batch.context[:, -1], TWO)
    assert one.off_data.any() and one.num_generated.max() > 0
    other.load_state_dict(one.state_dict())
    other.generator.set_state(one.generator.get_state())
    for _ in range(20):
        batches = one.sample_batch(), other.sample_batch()
        for mine, theirs in zip(*batches, strict=True):
            assert torch.equal(mine, theirs)
        for pool, batch in zip((one, other), batches, strict=True):
            pool.mean_length = 5
            pool.update(batch.slots, torch.ones(2, 1, 1, 1), TWO)
    mine, theirs = one.state_dict(), other.state_dict()
    assert one.num_generated.max() > 0 and mine.pop("mean_length") == theirs.pop("mean_length")
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_most_windows_in_which_nothing_moves_are_left_out():
    """A paddle that stands at a wall for most of a recording would teach the model to repeat the last frame."""
    latents = torch.zeros(2, 400, 1, 2, 2)
    latents[0, 100:200] = torch.arange(100).float()[:, None, None, None]
    starts = torch.tensor([[row, t] for row in range(2) for t in range(400 - L)])
    kept = fewer_still_windows(latents, starts, L)
    change = latents[kept[:, 0], kept[:, 1] + L] - latents[kept[:, 0], kept[:, 1] + L - 1]
    is_still = (change == 0).flatten(1).all(dim=1)
    assert (~is_still).sum() == 100  # all that move: 99 steps, and the jump back
    assert is_still.sum() == 25 and {0, 1} == set(kept[is_still, 0].tolist())
    assert kept.tolist() == sorted(kept.tolist())
    moving = torch.randn(2, 400, 1, 2, 2, generator=seeded())
    assert fewer_still_windows(moving, starts, L).equal(starts)
    assert fewer_still_windows(torch.zeros(2, 400, 1, 2, 2), starts, L).equal(starts)


def test_rollouts_begin_at_the_given_windows():
    latents, actions = torch.zeros(1, 50, 1, 2, 2), torch.zeros(1, 50, dtype=torch.int64)
    starts = torch.tensor([[0, t] for t in range(50 - L)])
    pool = RolloutPool(latents, actions, starts, 4, L, CPU, seeded(), first_windows=starts[10:12])
    assert set(pool.positions[:, 1].tolist()) == {10, 11}
