"""Teaching the dream: what the network is shown and when, the scripts run for real, stopped, resumed, refused."""

import contextlib
import csv
import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import benchmark_training
import numpy as np
import pytest
import torch
import train_autoencoder
import train_sd
from dream.common import runs
from dream.common.device import cache_on_device, device_generator, mask_indices
from dream.common.errors import InputError, run_script
from dream.common.runs import MetricsLog, load_checkpoint, save_checkpoint
from dream.data.latents import encode_recording, gather_windows
from dream.data.splits import episode_ids, split_episodes, train_windows, window_starts
from dream.data.trajectories import open_trajectories
from dream.evaluation.validation import validation_set
from dream.models.autoencoder import AutoencoderConfig
from dream.models.checkpoints import load_autoencoder_part, load_unet
from dream.models.rollout import rollout, sample_next_latent, suppress_small_changes
from dream.models.unet import UNet, UNetConfig
from dream.training import schedule as budget_module
from dream.training.losses import update_ema
from dream.training.rollout_pool import RolloutPool, rollout_length_schedule
from dream.training.schedule import Schedule, learning_rate
from small import CPU, moving_square, open_dream, small_autoencoder, small_unet, step_loss, wake_up
from torch import nn

SD = Path(train_sd.__file__).parent
L = 4  # frames of context


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class RecordingNet(nn.Module):
    """A network that writes down what it is shown, and whose frame tells its context: 10 x the last of it + the action.

    Latents are 1x1 of one channel, so a frame is a number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            context=L, num_actions=10, change_threshold=0.05, prediction_type="x0", use_flow=False
        )
        self.weight = nn.Parameter(torch.ones(()))
        self.seen = []

    def warp_last_latent(self, context, actions, last_frame=None):
        return context[:, -1]

    def forward(self, z, t, context, actions, context_noise=None, warped=None):
        context_noise = torch.zeros_like(t) if context_noise is None else context_noise
        self.seen.append(SimpleNamespace(
            z=z.detach().clone(), t=t.clone(), context=context.detach().clone(), actions=actions.clone(),
            context_noise=context_noise.clone(), context_needs_grad=context.requires_grad, grad=torch.is_grad_enabled(),
        ))  # fmt: skip
        return self.weight * (10 * context[:, -1] + actions[:, -1].float().reshape(-1, 1, 1, 1))


def numbers(values) -> torch.Tensor:
    """Numbers (B, T) as latents (B, T, 1, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32)[..., None, None, None]


# ------------------------------------------------------------------------------------------------- windows, roll-outs


def test_windows_against_slow_slicing():
    """An action from another row or one step off trains a dream that answers late: no error, only bad play."""
    N, T, length = 3, 11, 6
    latents = torch.randn(N, T, 4, 2, 3, generator=seeded()).half()
    actions = torch.randint(5, (N, T), generator=seeded(1))
    starts = torch.tensor([[0, 0], [2, 5], [1, 3], [2, 0]])
    window, window_actions = gather_windows(latents, actions, starts, length, CPU)
    assert window.dtype == torch.float32 and window_actions.dtype == torch.int64
    for i, (row, t) in enumerate(starts.tolist()):
        for step in range(length):
            torch.testing.assert_close(window[i, step], latents[row, t + step].float())
            assert window_actions[i, step] == actions[row, t + step]


def test_roll_out_feeds_its_own_frames_back():
    """Frame k is dreamed from frames k-4 .. k-1 and the actions chosen at them; the last action leads to it."""
    net = RecordingNet()
    context, actions = numbers([[1, 2, 3, 4]]), torch.tensor([[0, 1, 2, 3, 4, 5, 6]])
    frames = rollout(net, context, actions, 1, seeded())
    assert frames.shape == (1, 4, 1, 1, 1)
    assert frames.flatten().tolist() == [43, 434, 4345, 43456]  # 4 then action 3, then 4 ...
    assert [seen.context.flatten().tolist() for seen in net.seen] == [
        [1, 2, 3, 4], [2, 3, 4, 43], [3, 4, 43, 434], [4, 43, 434, 4345]]  # fmt: skip
    assert [seen.actions.flatten().tolist() for seen in net.seen] == [
        [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]  # fmt: skip
    assert all(seen.context_noise.tolist() == [0] and seen.t.tolist() == [1.0] for seen in net.seen)
    noises = [seen.z.item() for seen in net.seen]
    assert len(set(noises)) == 4  # noise of its own for each frame


def test_roll_out_is_the_same_from_the_same_generator():
    """Epochs are compared by roll-outs: with noise of its own each would be judged on luck."""
    unet = wake_up(small_unet())
    context, actions = torch.randn(2, 4, 4, 8, 12, generator=seeded()), torch.zeros(2, 6, dtype=torch.long)
    one, other = (rollout(unet, context, actions, 2, seeded(7)) for _ in range(2))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert (rollout(unet, context, actions, 2, seeded(8)) - one).abs().max() > 1e-5


def test_hardly_any_change_is_none():
    """Pixel by pixel, over all its channels: a tenth of the zone in each frame would be a drift that nobody stops."""
    last = torch.zeros(1, 4, 1, 3)
    latent = last.clone()
    latent[0, :, 0, 0] = 0.18
    latent[0, :, 0, 1] = 0.22
    latent[0, 2, 0, 2] = 0.42  # in one of four channels: 0.21
    settled = suppress_small_changes(latent, last, threshold=0.2)
    assert (settled[..., 0] == 0).all() and torch.equal(settled[..., 1:], latent[..., 1:])


@pytest.mark.parametrize(("change", "steps"), [(0.04, 1), (0.04, 3), (0.06, 1), (0.06, 3)])
def test_play_and_training_have_the_dead_zone(change, steps):
    """Once, at the end of sampling; a walk that went on without it would not be what play shows."""

    class Creeps(RecordingNet):
        def forward(self, z, t, context, actions, context_noise=None, warped=None):
            return context[:, -1] + change

    context = torch.ones(1, 4, 1, 1, 1)
    latent = sample_next_latent(
        Creeps(), context, torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 1, 1, 1), steps
    )
    assert latent.item() == pytest.approx(1 if change < 0.05 else 1.06)
    pool = make_pool(batch_size=1, change_threshold=0.05)
    batch = pool.sample_batch()
    last = batch.context[:, -1].clone()
    pool.update(batch.slots, last + change, torch.ones(1, dtype=torch.bool), 10**9, batch.target)
    assert pool.num_generated[batch.slots] == 1  # not at the end of its row
    moved = (pool.contexts[batch.slots, -1].float() - last).item()
    assert moved == 0 if change < 0.05 else moved > 0


# ------------------------------------------------------------------------------------------------- the loss


def test_loss_is_that_of_the_next_frame():
    net = RecordingNet()
    context, actions = numbers([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([[0, 0, 0, 3], [0, 0, 0, 4]])
    target = numbers([[40], [90]])[:, 0]
    fresh = torch.zeros(2, dtype=torch.bool)
    loss, metrics, predicted, _ = step_loss(net, context, actions, target, fresh, seeded())
    (seen,) = net.seen
    assert torch.equal(seen.context, context) and torch.equal(seen.actions, actions)
    assert (seen.context_noise == 0).all() and seen.grad
    assert predicted.flatten().tolist() == [43, 84]
    assert loss.item() == pytest.approx((3 + 6) / 2, rel=1e-4)
    assert metrics["loss/train"].item() == pytest.approx((3**2 + 6**2) / 2)


def test_context_noise_is_told():
    """Noise of a level that is not told blurs the dream: the network cannot know how far to trust its context."""
    net, B = RecordingNet(), 4000
    context, actions = torch.zeros(2 * B, L, 1, 1, 1), torch.zeros(2 * B, L, dtype=torch.long)
    fresh = torch.arange(2 * B) < B
    _, _, _, as_played = step_loss(net, context, actions, context[:, -1], fresh, seeded())
    (seen,) = net.seen
    assert (seen.context_noise[B:] == 0).all() and (
        seen.context[B:] == 0
    ).all()  # own frames have errors of their own
    assert torch.equal(as_played, seen.t == 1)
    seen = SimpleNamespace(
        **{name: getattr(seen, name)[:B] for name in ("context_noise", "context", "t", "z")}
    )
    quiet = seen.context_noise == 0
    assert (
        0.45 < quiet.float().mean() < 0.55
        and seen.context_noise.max() <= 0.3
        and seen.context_noise.max() > 0.28
    )
    assert (seen.context[quiet] == 0).all()
    scaled = seen.context[~quiet].flatten(1) / seen.context_noise[~quiet, None]
    assert abs(scaled.std() - 1) < 0.03 and abs(scaled.mean()) < 0.03
    pure = seen.t == 1
    assert 0.7 < pure.float().mean() < 0.9
    assert abs(seen.z[pure].std() - 1) < 0.05  # the frames are 0: what is left is the noise at its level
    torch.testing.assert_close((seen.z.flatten() / seen.t).std(), torch.tensor(1.0), rtol=0, atol=0.05)


def test_moving_average():
    """Decay and 1 - decay swapped make the average a copy of the newest weights: it plays, only worse."""
    unet, ema = wake_up(small_unet(), 1), wake_up(small_unet(), 2)
    before = [weight.clone() for weight in ema.parameters()]
    update_ema(ema, unet, 0.9)
    for old, new, weight in zip(before, ema.parameters(), unet.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * weight)


# ------------------------------------------------------------------------------------------------- streams

STARTS = np.zeros((1, 16), bool)
STARTS[0, [0, 12]] = True  # of the 4 frames after the second none can be trained on


def make_pool(
    batch_size: int = 2, num_rows: int = 3, change_threshold: float = 0.0, off_data_fraction: float = 0.0
) -> RolloutPool:
    """A recording whose latent and action at t are t + 100 row; every row has a reset at t = 12."""
    T = STARTS.shape[1]
    numbers = torch.arange(T) + 100.0 * torch.arange(num_rows)[:, None]  # (N, T)
    starts = window_starts(np.repeat(STARTS, num_rows, axis=0), np.ones((num_rows, T), bool), L + 1)
    latents, actions = numbers[..., None, None, None].half(), numbers.long()
    windows = torch.from_numpy(starts)
    return RolloutPool(
        latents, actions, windows, batch_size, L, CPU, seeded(), change_threshold, off_data_fraction
    )


def test_streams_dream_on_beside_the_recording():
    """Contexts, actions and targets against a slow walk. One step apart, the dream would learn to answer late."""
    pool = make_pool()
    slow = {}  # walk -> what its context holds
    oldest = 0
    for step in range(400):
        batch = pool.sample_batch()
        slots, context, actions = batch.slots, batch.context, batch.actions
        real = torch.cat([batch.real_context, batch.target[:, None]], dim=1)
        assert len(set(slots.tolist())) == 2
        generated = torch.tensor([-1.0 - step, -1.5 - step])[:, None, None, None]
        at_pure_noise = torch.tensor([step % 3 > 0, True])
        for b, slot in enumerate(slots.tolist()):
            row, t = pool.positions[slot].tolist()
            assert t + L < 12  # no window over a reset; behind it there is no room for one
            assert actions[b].tolist() == [100 * row + t + i for i in range(L)]
            assert real[b].flatten().tolist() == [100 * row + t + i for i in range(L + 1)]
            age = int(pool.num_generated[slot])
            seen = [100.0 * row + t + i for i in range(max(0, L - age))]
            own = slow.get(slot, [])[-min(age, L) :] if age else []
            assert context[b].flatten().tolist() == [*seen, *own]
            oldest = max(oldest, age)
            slow[slot] = (
                [*(slow.get(slot, []) if age else []), generated[b].item()]
                if at_pure_noise[b]
                else slow.get(slot, [])
            )
        pool.update(slots, generated, at_pure_noise, 12, batch.target)
    assert (
        oldest == 7
    )  # the longest stretch has 12 frames: 4 of context, and 7 dreamed before the last target


def test_walks_grow_longer_as_the_model_learns():
    assert rollout_length_schedule(64, 0.2, 0.2) == rollout_length_schedule(0, 0.2, 0.9) == 0
    assert rollout_length_schedule(64, 0.2, 0.5) == pytest.approx(8) and rollout_length_schedule(
        64, 0.0, 0.75
    ) == pytest.approx(64)
    assert rollout_length_schedule(64, 0.2, 0.8) == rollout_length_schedule(64, 0.2, 1.0) == 64


def test_on_the_cpu_nothing_is_sent_or_drawn_elsewhere():
    """The one generator draws all, and a recording stays where it is mapped."""
    generator, frames = seeded(), np.zeros((2, 3), np.uint8)
    assert device_generator(CPU, generator) is generator
    frames.flags.writeable = False  # as a recording is
    assert cache_on_device(frames, CPU).data_ptr() == frames.ctypes.data
    assert mask_indices(torch.tensor([True, False, True]), CPU).tolist() == [0, 2]


def test_streams_without_own_frames_are_always_fresh():
    pool = make_pool()
    for _ in range(50):
        batch = pool.sample_batch()
        pool.update(batch.slots, -batch.target, torch.ones(2, dtype=torch.bool), 0, batch.target)
        assert (pool.num_generated == 0).all() and (pool.contexts >= 0).all()


def test_own_frames_are_shown_without_their_gradient():
    """With one, the network would learn to make its own context easy, and every step would hold on to all before it."""
    pool = make_pool()
    batch = pool.sample_batch()
    predicted = batch.target * torch.ones((), requires_grad=True)
    pool.update(batch.slots, predicted, torch.ones(2, dtype=torch.bool), 1000, batch.target)
    assert pool.num_generated.max() == 1 and not pool.contexts.requires_grad


def test_the_usual_error_is_of_walks_that_begin():
    """By it those that have dreamed are weighed; those that begin learn all that there is, however far off they are."""
    pool = make_pool()
    played = torch.ones(2, dtype=torch.bool)
    batch = pool.sample_batch()
    slots, target = batch.slots, batch.target
    pool.positions[:, 1] = 0  # room to go on
    assert pool.reference_error(slots).isinf().all()
    pool.update(slots, target + 0.5, played, 10**9, target)
    assert (pool.num_generated[slots] == 1).all()
    torch.testing.assert_close(pool.reference_error(slots), torch.full((2,), 0.25))
    pool.update(slots, target + 9, played, 10**9, target)  # not counted: they have dreamed
    torch.testing.assert_close(pool.reference_error(slots), torch.full((2,), 0.25))
    pool.reset_slots(slots[:1])
    torch.testing.assert_close(pool.reference_error(slots), torch.tensor([torch.inf, 0.25]))


def test_a_walk_that_ends_goes_astray_once():
    """It keeps what it has dreamed and follows the keys of another moment, of which nobody knows what should come. The
    keys before must be those that it has seen, or the model learns not to heed them."""
    pool = make_pool(num_rows=50, off_data_fraction=1.0)
    pool.actions = torch.arange(16).expand(50, 16) % 4 + torch.arange(50)[:, None] % 5 * (
        torch.arange(16) % 4 == 3
    )
    pool.sorted_histories, pool.history_order = torch.sort(pool.action_history_id(pool.window_starts))
    played = torch.ones(2, dtype=torch.bool)
    pool.sample_batch()
    batch = pool.sample_batch()
    slots, context, actions, target = batch.slots, batch.context, batch.actions, batch.target
    pool.length_scale[:] = 0  # each ends at once
    before = pool.positions[slots].clone()
    pool.update(slots, -target, played, 1, target)
    assert pool.off_data[slots].all() and (pool.num_generated[slots] == 1).all()
    assert (pool.positions[slots, 0] != before[:, 0]).all()  # one in fifty would stay in its row
    row, t = pool.positions[slots].unbind(dim=1)
    for i in range(L - 1):
        assert torch.equal(pool.actions[row, t + i], actions[:, i + 1])
    assert torch.equal(pool.contexts[slots].float(), torch.cat([context[:, 1:], -target[:, None]], dim=1))
    pool.update(slots, -target, played, 1, target)
    assert not pool.off_data.any() and (pool.contexts >= 0).all()
    pool.update(slots, -target, torch.zeros(2, dtype=torch.bool), 1, target)  # nothing that play would show
    pool.update(slots, -target, played, 0, target)
    assert not pool.off_data.any() and (pool.contexts >= 0).all()


def test_a_walk_whose_keys_nobody_else_pressed_goes_anywhere():
    pool = make_pool(off_data_fraction=1.0)  # every action is of its own moment
    batch = pool.sample_batch()
    slots, target = batch.slots, batch.target
    pool.length_scale[:] = 0
    pool.positions[slots] = torch.tensor(
        [[0, 7], [1, 7]]
    )  # the last window before a reset: none begins one later
    pool.update(slots, target, torch.ones(2, dtype=torch.bool), 1, target)
    row, t = pool.positions[slots].unbind(dim=1)
    assert pool.off_data[slots].all() and pool.is_window_start[row, t].all()


def test_streams_go_on_where_they_were():
    one, other = make_pool(off_data_fraction=0.5), make_pool(off_data_fraction=0.5)
    for _ in range(20):
        batch = one.sample_batch()
        one.update(batch.slots, batch.context[:, -1], torch.ones(2, dtype=torch.bool), 5, batch.target)
    assert one.off_data.any() and one.num_generated.max() > 0
    other.load_state_dict(one.state_dict())
    other.generator.set_state(one.generator.get_state())
    for _ in range(20):
        batches = one.sample_batch(), other.sample_batch()
        for ours, theirs in zip(*batches, strict=True):
            assert torch.equal(ours, theirs)
        for pool in (one, other):
            predicted = torch.ones(2, 1, 1, 1)
            pool.update(batches[0].slots, predicted, torch.ones(2, dtype=torch.bool), 5, batches[0].target)
    ours, theirs = one.state_dict(), other.state_dict()
    assert one.num_generated.max() > 0 and ours.pop("mean_length") == theirs.pop("mean_length")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


# ------------------------------------------------------------------------------------------------- budget


def test_budget_by_steps_and_by_the_clock(monkeypatch):
    """A schedule that misreads the clock ends training at a high learning rate, or long before its time."""
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(budget_module.time, "monotonic", lambda: clock.now_s)
    by_steps = Schedule(200, 0)
    clock.now_s += 1e6
    assert by_steps.progress(50) == 0.25 and not by_steps.done(199) and by_steps.done(200)
    both = Schedule(200, max_minutes=2)
    clock.now_s += 30
    assert both.progress(10) == pytest.approx(0.25) and both.progress(100) == 0.5  # whichever is further on
    clock.now_s += 89.9
    assert not both.done(10)
    clock.now_s += 0.2
    assert both.done(10) and both.progress(10) == 1.0
    resumed = Schedule(200, max_minutes=2, elapsed_s=90.0)
    assert resumed.progress(0) == pytest.approx(0.75)
    clock.now_s += 15
    assert resumed.elapsed_s() == pytest.approx(105)
    assert by_steps.expected_steps(0) == by_steps.expected_steps(50) == 200
    assert resumed.expected_steps(0) == 200 and resumed.expected_steps(7) == 8  # 105 of 120 s are gone
    assert "epochs" in by_steps.stop_reason(200) and "--max-minutes" in resumed.stop_reason(9)


def test_learning_rate():
    """Warm-up from 0, half a cosine, a hundredth at the end; a rate of exactly 0 would waste the last steps."""
    rate = functools.partial(learning_rate, 2.0)
    assert rate(0.0, 0) == pytest.approx(0.02) and rate(0.0, 49) == pytest.approx(1.0)
    assert rate(0.0, 99) == rate(0.0, 5000) == pytest.approx(2.0)
    assert rate(0.5, 5000) == pytest.approx(2 * 0.505) and rate(1.0, 5000) == pytest.approx(0.02)
    falling = [rate(progress / 20, 5000) for progress in range(21)]
    assert falling == sorted(falling, reverse=True)


def test_metrics_of_a_resumed_run(tmp_path):
    """Going on must keep all rows up to the last checkpoint, and drop those of epochs that are done again."""
    log = MetricsLog(tmp_path)
    for step in (4, 8, 12):
        log.write(step, {"loss": float(step)})
    resumed = MetricsLog(tmp_path, resume_step=8)
    resumed.write(10, {"loss": 10.0, "new": 1.0})
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["4", "8", "10"]
    assert rows[0]["new"] == "" and rows[2]["new"] == "1"
    assert resumed.writer.purge_step == 9  # TensorBoard hides what is at or after this step
    assert MetricsLog(tmp_path / "new").writer.purge_step is None


# ------------------------------------------------------------------------------------------------- recordings


def record(path: Path, **options) -> Path:
    """A recording of the moving square, of `frames` and `actions` alone."""
    frames, actions = moving_square(**options)
    np.savez(path, frames=frames, actions=actions)
    return path


def test_latents_of_a_recording_are_made_once_and_made_again_when_they_must(tmp_path, monkeypatch):
    """Latents of another recording or autoencoder that are taken for these train a dream of something else."""
    data = open_trajectories(record(tmp_path / "one.npz"))
    encoder, _ = small_autoencoder()
    calls = []
    encoder.register_forward_hook(lambda *_: calls.append(1))

    def encode(data=data, name="abc"):
        calls.clear()
        return encode_recording(data, encoder, name, tmp_path / "run", CPU), len(calls)

    latents, num_calls = encode()
    assert num_calls and latents.shape == (6, 24, 4, 8, 12) and latents.dtype == np.float16
    wanted = encoder(torch.from_numpy(np.array(data.frames[4, 20:22])) / 255)
    torch.testing.assert_close(torch.from_numpy(latents[4, 20:22]).float(), wanted, rtol=0.05, atol=0.05)
    assert encode()[1] == 0
    assert encode(name="abd")[1] > 0
    assert encode(name="abc")[1] > 0
    other = open_trajectories(record(tmp_path / "two.npz", seed=1))
    again, num_calls = encode(data=other)
    assert num_calls and not np.array_equal(again, latents)
    assert encode(data=other)[1] == 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["latents.json", "latents.npy"]

    def stop(*_):
        raise KeyboardInterrupt

    hook = encoder.register_forward_hook(stop)  # a Ctrl-C halfway leaves nothing that passes for latents
    with pytest.raises(KeyboardInterrupt):
        encode()
    hook.remove()
    assert not (tmp_path / "run" / "latents.json").exists() and encode()[1] > 0


def test_training_and_held_out_windows_share_no_episode(tmp_path):
    """Neighbouring frames are all but equal: a leak would make every figure of quality a figure of memory."""
    rng = np.random.default_rng(0)
    frames, actions = moving_square(rows=6, steps=40)
    starts = rng.random((6, 40)) < 0.08
    starts[:, 0] = [True, False, True, False, True, False]
    meta = json.dumps({"fps": 15, "record_envs": 1})
    np.savez(tmp_path / "a.npz", frames=frames, actions=actions, episode_starts=starts, meta=meta)
    data = open_trajectories(tmp_path / "a.npz")
    ids = episode_ids(data)
    train_mask, validation_mask = split_episodes(data, seed=3)
    windows = train_windows(data, train_mask, L)
    held_out = window_starts(data.episode_starts, validation_mask, L + 1)
    assert len(windows) and len(held_out)

    def episodes_of(windows, length):
        inside = [set(ids[row, t : t + length].tolist()) for row, t in np.asarray(windows).tolist()]
        assert all(len(episodes) == 1 for episodes in inside)
        return set.union(*inside)

    assert not episodes_of(windows, L + 1) & episodes_of(held_out, L + 1)


def test_episodes_too_short_to_train_on_are_refused(tmp_path):
    frames, actions = moving_square(rows=4, steps=24)
    starts = np.tile(np.arange(24) % 5 == 0, (4, 1))
    np.savez(tmp_path / "a.npz", frames=frames, actions=actions, episode_starts=starts)
    assert len(train_windows(open_trajectories(tmp_path / "a.npz"), np.ones((4, 24), bool), L)) == 4 * 4
    starts = np.tile(np.arange(24) % 4 == 0, (4, 1))
    np.savez(tmp_path / "a.npz", frames=frames, actions=actions, episode_starts=starts)
    data = open_trajectories(tmp_path / "a.npz")
    mask = np.ones((4, 24), bool)
    with pytest.raises(InputError, match="record longer episodes"):
        train_windows(data, mask, L)
    with pytest.raises(InputError, match="held-out"):
        validation_set(data, cache_on_device(data.frames, CPU), torch.zeros(4, 24, 4, 8, 12), mask, L, CPU)


def test_validation_holds_the_right_frames_against_each_other(tmp_path):
    """A target one step off makes a perfect dream look bad, and a dream that stands still look good."""
    frames, actions = moving_square(rows=2, steps=40)
    np.savez(tmp_path / "a.npz", frames=frames, actions=actions)
    data = open_trajectories(tmp_path / "a.npz")
    mask = np.zeros((2, 40), bool)
    mask[1, 3:] = True
    latents = torch.arange(40.0).expand(2, 40)[..., None, None, None].expand(2, 40, 4, 8, 12)  # latent t is t
    held_out = validation_set(data, cache_on_device(data.frames, CPU), latents, mask, L, CPU)
    assert held_out.horizons == (4, 16)
    shown = torch.from_numpy(frames) / 255
    for i, t in enumerate(held_out.context[:, 0, 0, 0, 0].int().tolist()):
        assert t >= 3
        torch.testing.assert_close(held_out.last[i], shown[1, t + 3])
        torch.testing.assert_close(held_out.target[i], shown[1, t + 4])
        assert held_out.target_latent[i, 0, 0, 0] == t + 4
        assert held_out.actions[i].tolist() == actions[1, t : t + 4].tolist()
    for i, t in enumerate(held_out.long_context[:, 0, 0, 0, 0].int().tolist()):
        torch.testing.assert_close(held_out.long_frames[i], shown[1, t + 3 : t + 20])
        assert held_out.long_actions[i].tolist() == actions[1, t : t + 19].tolist()


# ------------------------------------------------------------------------------------------------- the scripts


AUTOENCODER = ["--epochs", "1", "--epoch-samples", "16", "--batch-size", "8", "--device", "cpu"]
DREAM = ["--epochs", "1", "--epoch-samples", "16", "--batch-size", "8", "--device", "cpu"]


@contextlib.contextmanager
def small_networks():
    """The scripts in this process, with networks of a size for tests."""

    def unet_config(**settings) -> UNetConfig:
        return UNetConfig(**{"channels": (16, 32), "blocks": 1, "embedding": 32, **settings})

    unet_config.from_dict = UNetConfig.from_dict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            train_autoencoder, "AutoencoderConfig", functools.partial(AutoencoderConfig, channels=16)
        )
        patch.setattr(train_sd, "UNetConfig", unet_config)
        yield


@pytest.fixture
def small_models():
    with small_networks():
        yield


def train_small_autoencoder(*flags) -> None:
    train_autoencoder.main(train_autoencoder.parse_args([*AUTOENCODER, *map(str, flags)]))


def train_small_model(*flags) -> None:
    train_sd.main(train_sd.parse_args([*DREAM, *map(str, flags)]))


def line_of(run, *flags) -> str:
    """What the script says as it refuses: one line."""
    with pytest.raises(SystemExit) as stopped:
        run_script(lambda: run(*flags))
    line = str(stopped.value.code)
    assert line.startswith("error: ") and "\n" not in line
    return line


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def run_cli(script: str, *flags, folder: Path) -> str:
    command = [sys.executable, str(SD / script), *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_scripts_run_for_real(tmp_path):
    """The commands of the README, small, on a recording of the two arrays that the format asks for."""
    cv2 = pytest.importorskip("cv2")
    recording = record(tmp_path / "square.npz")
    output = run_cli("train_autoencoder.py", "--trajectories", recording, "--output-dir", "a", *AUTOENCODER,
                   folder=tmp_path)  # fmt: skip
    assert "assumed: no episode_starts" in output and "seed 0" in output
    a = tmp_path / "a"
    assert {"encoder.pt", "decoder.pt", "last.pt", "metrics.csv", "previews"} <= {p.name for p in a.iterdir()}
    assert rows_of(a)[0]["step"] == "2" and np.isfinite(float(rows_of(a)[0]["psnr/autoencoder"]))
    picture = cv2.imread(str(a / "previews" / "step_000002.png"))
    assert picture.shape[0] == 2 * 32 + 3 * 2  # real above rebuilt
    assert load_autoencoder_part(a / "encoder.pt", "encoder").config.latent_shape == (4, 8, 12)
    output = run_cli("train_sd.py", "--trajectories", recording, "--autoencoder-dir", "a", "--output-dir", "b", *DREAM,
                   folder=tmp_path)  # fmt: skip
    b = tmp_path / "b"
    names = {"best.pt", "last.pt", "initial_sequence.npz", "metrics.csv", "previews", "latents.npy"}
    assert names <= {path.name for path in b.iterdir()}
    assert {"loss/validation", "psnr/next_frame", "psnr/copy_last", "psnr/rollout_4"} <= set(rows_of(b)[0])
    assert (
        cv2.imread(str(b / "previews" / "step_000002_actions.png")).shape[0] == 3 * 32 + 4 * 2
    )  # a row an action
    assert cv2.imread(str(b / "previews" / "step_000002_film.png")).shape[0] == 2 * 32 + 3 * 2
    with np.load(b / "initial_sequence.npz", allow_pickle=False) as starts:
        assert starts["frames"].shape[1:] == (4, 4, 8, 12) and starts["actions"].shape[1:] == (4,)
    command = re.search(r"next: python sd/play_sd.py (.*)", output).group(1).split()
    output = run_cli("play_sd.py", *command, "--headless", "--frames", "7", "--record", "film.mp4", "--device", "cpu",
                   folder=tmp_path)  # fmt: skip
    assert "7 frames" in output
    assert cv2.VideoCapture(str(tmp_path / "film.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 7


def assert_same(one, other, where: str = "") -> None:
    """Two checkpoints, bit for bit; the seconds spent are the clock's."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif isinstance(one, dict):
        assert set(one) == set(other), where
        for key in one:
            if key != "elapsed_s":
                assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{i}")
    else:
        assert one == other, where


def stop_after_epoch(monkeypatch, script) -> None:
    """Ctrl-C right after the first last.pt."""

    def save_and_stop(checkpoint: dict, path: Path) -> None:
        save_checkpoint(checkpoint, path)
        if path.name == "last.pt":
            raise KeyboardInterrupt

    monkeypatch.setattr(script, "save_checkpoint", save_and_stop)


@pytest.mark.parametrize("size", [(112, 256), (66, 131), (30, 37)])
def test_crops_lie_on_the_grid_of_patches(size):
    """Each pixel names its place, so a crop must say truly where it is; and the last rows and columns are seen too."""
    H, W = size
    frames = np.zeros((1, 2, 3, H, W), np.uint8)
    frames[:, :, 0], frames[:, :, 1] = np.arange(H)[:, None] % 256, np.arange(W) % 256
    where = torch.tensor([[0, 0], [0, 1]])
    crops, crop_origin = train_autoencoder.draw_crops(torch.from_numpy(frames), where, 200, seeded(), CPU)
    h, w = crops.shape[-2:]
    assert (h, w) == (min(64, H), min(128, W)) and crop_origin.shape == (200, 2)
    crops = (crops * 255).round().long()
    rows, columns = crop_origin.T[:, :, None] * 4 + torch.arange(max(h, w))
    assert (crops[:, 0] == rows[:, :h, None].clamp(max=H - 1) % 256).all()
    assert (crops[:, 1] == columns[:, None, :w].clamp(max=W - 1) % 256).all()
    assert rows[:, :h].max() >= H - 1 and columns[:, :w].max() >= W - 1 and crop_origin.min() == 0


@pytest.mark.slow
@pytest.mark.parametrize("script", [train_autoencoder, train_sd], ids=["autoencoder", "sd"])
def test_stopped_and_resumed_equals_straight(script, tmp_path, monkeypatch, small_models):
    """A generator, an average or a step that is not kept makes a resumed run another run, seen by nobody."""
    recording = record(tmp_path / "square.npz")
    flags = ["--trajectories", recording, "--epochs", 3]
    kind, train = "autoencoder_run", train_small_autoencoder
    if script is train_sd:
        train_small_autoencoder("--trajectories", recording, "--output-dir", tmp_path / "a")
        kind, train = "model_run", train_small_model
        flags += ["--autoencoder-dir", tmp_path / "a", "--epoch-samples", 24]
        monkeypatch.setattr(train_sd, "ROLLOUTS_FROM", -1)  # from the first step on
    train(*flags, "--output-dir", tmp_path / "straight")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after_epoch(patch, script)
        train(*flags, "--output-dir", tmp_path / "stopped")
    assert len(rows_of(tmp_path / "stopped")) == 1
    if script is train_sd:
        stopped = load_checkpoint(tmp_path / "stopped" / "last.pt", kind, "")
        assert stopped["pool"]["num_generated"].max() > 0
    torch.manual_seed(12345)  # a new process has other global generators
    train(*flags, "--output-dir", tmp_path / "stopped", "--resume")
    straight, resumed = (
        load_checkpoint(tmp_path / name / "last.pt", kind, "") for name in ("straight", "stopped")
    )
    assert straight["step"] == 3 * (3 if script is train_sd else 2)
    assert_same(straight, resumed)
    assert rows_of(tmp_path / "straight") == rows_of(tmp_path / "stopped")
    for name in ("best.pt", "final.pt") if script is train_sd else ("encoder.pt", "decoder.pt"):
        best = [torch.load(tmp_path / run / name, weights_only=True) for run in ("straight", "stopped")]
        assert_same(*best)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recording with a small autoencoder and a small dream of it."""
    folder = tmp_path_factory.mktemp("trained")
    recording = record(folder / "square.npz")
    with small_networks():
        train_small_autoencoder("--trajectories", recording, "--output-dir", folder / "a")
        train_small_model(
            "--trajectories", recording, "--autoencoder-dir", folder / "a", "--output-dir", folder / "b"
        )
    return folder


@pytest.mark.parametrize(
    "options", [{"height": 50, "width": 38}, {"num_actions": 1}, {"rows": 1, "steps": 40}]
)
def test_recordings_of_other_shapes(options, tmp_path, small_models):
    """Sizes that are no multiple of anything, one action, one row: of any game, from any tool."""
    recording = record(tmp_path / "square.npz", **options)
    train_small_autoencoder("--trajectories", recording, "--output-dir", tmp_path / "a")
    train_small_model(
        "--trajectories", recording, "--autoencoder-dir", tmp_path / "a", "--output-dir", tmp_path / "b"
    )
    dream = open_dream(
        tmp_path / "a" / "decoder.pt", tmp_path / "b" / "best.pt", tmp_path / "b" / "initial_sequence.npz"
    )
    assert len(dream.action_names) == options.get("num_actions", 3)
    size = (options.get("height", 32), options.get("width", 48), 3)
    assert dream.reset().shape == dream.step(0).shape == size


def test_an_autoencoder_begins_with_another(tmp_path, trained, small_models):
    """Begun with another's weights its latents stay what they are; a dream of them is not thrown away."""
    flags = [
        "--trajectories",
        trained / "square.npz",
        "--init-from",
        trained / "a",
        "--output-dir",
        tmp_path / "a",
    ]
    train_small_autoencoder(*flags, "--learning-rate", 1e-9)
    before, after = (
        load_autoencoder_part(folder / "a" / "encoder.pt", "encoder") for folder in (trained, tmp_path)
    )
    assert_same(dict(before.layers.state_dict()), dict(after.layers.state_dict()))
    (tmp_path / "encoder.pt").write_bytes((trained / "a" / "encoder.pt").read_bytes())  # without its decoder
    flags = [
        "--trajectories",
        trained / "square.npz",
        "--init-from",
        tmp_path,
        "--output-dir",
        tmp_path / "b",
    ]
    train_small_autoencoder(*flags, "--learning-rate", 1e-9)
    decoders = [
        load_autoencoder_part(path / "decoder.pt", "decoder") for path in (tmp_path / "a", tmp_path / "b")
    ]
    flags = [
        "--trajectories",
        trained / "square.npz",
        "--init-from",
        trained / "a",
        "--output-dir",
        tmp_path / "c",
    ]
    train_small_autoencoder(*flags)
    moved = {}
    for kind in ("encoder", "decoder"):  # a tenth of the rate, and not for the wrong one of the two
        old, new = (
            dict(load_autoencoder_part(folder / f"{kind}.pt", kind).named_parameters())
            for folder in (trained / "a", tmp_path / "c")
        )
        moved[kind] = max((new[name] - old[name]).abs().max().item() for name in old)
    assert 0 < moved["encoder"] < 0.3 * moved["decoder"]
    assert not torch.equal(decoders[0].stem.weight, decoders[1].stem.weight)
    large = record(tmp_path / "large.npz", height=64, width=96)
    output = line_of(train_small_autoencoder, "--trajectories", large, "--init-from", trained / "a")
    assert "of another shape" in output
    output = line_of(train_small_autoencoder, "--trajectories", large, "--init-from", tmp_path / "none")
    assert "no checkpoint" in output


def test_a_time_budget_ends_the_run_and_resume_goes_on(tmp_path, trained, small_models):
    """Without the last checkpoint the minutes were for nothing; without their count a resumed run starts over."""
    flags = ["--trajectories", trained / "square.npz", "--epochs", 100_000]
    for train, more in (
        (train_small_autoencoder, []),
        (train_small_model, ["--autoencoder-dir", trained / "a"]),
    ):
        run = tmp_path / train.__name__
        train(*flags, *more, "--output-dir", run, "--max-minutes", 0.01)
        first = torch.load(run / "last.pt", weights_only=True)
        assert 0 < first["step"] < 10_000 and first["elapsed_s"] > 0.3
        assert rows_of(run)[-1]["step"] == str(first["step"])  # the part of an epoch at the end is kept too
        train(
            *flags, *more, "--output-dir", run, "--max-minutes", (first["elapsed_s"] + 0.6) / 60, "--resume"
        )
        second = torch.load(run / "last.pt", weights_only=True)
        assert second["step"] > first["step"] and second["elapsed_s"] > first["elapsed_s"] + 0.3
        steps = [int(row["step"]) for row in rows_of(run)]
        assert first["step"] in steps and steps[-1] == second["step"] and steps == sorted(set(steps))


@pytest.mark.parametrize("script", [train_autoencoder, train_sd], ids=["autoencoder", "sd"])
def test_resume_knows_how_good_the_best_was(script, trained, tmp_path, small_models):
    """Forgotten, the first epoch after a resume would write over the best model with a worse one."""
    run = tmp_path / "run"
    shutil.copytree(trained / ("b" if script is train_sd else "a"), run)
    name, best = ("best_score", "best.pt") if script is train_sd else ("best_psnr", "decoder.pt")
    last = torch.load(run / "last.pt", weights_only=True)
    save_checkpoint({**last, name: 99.0}, run / "last.pt")
    before = (run / best).read_bytes()
    flags = ["--trajectories", trained / "square.npz", "--output-dir", run, "--epochs", 2, "--resume"]
    train_small_model(
        *flags, "--autoencoder-dir", trained / "a"
    ) if script is train_sd else train_small_autoencoder(*flags)
    assert (run / best).read_bytes() == before
    resumed = torch.load(run / "last.pt", weights_only=True)
    assert resumed[name] == 99.0 and resumed["step"] == 2 * last["step"]


def test_own_frames_come_after_the_first_quarter(trained, tmp_path, small_models, monkeypatch):
    """Never switched on, the model meets its own mistakes for the first time when somebody plays."""
    oldest = []

    def spy(pool, *moved):
        RolloutPool.update(pool, *moved)
        oldest.append(int(pool.num_generated.max()))

    monkeypatch.setattr(train_sd, "RolloutPool", type("Spied", (RolloutPool,), {"update": spy}))
    flags = ["--trajectories", trained / "square.npz", "--autoencoder-dir", trained / "a", "--epoch-samples", 160,
             "--batch-size", 4]  # fmt: skip
    train_small_model(*flags, "--output-dir", tmp_path / "b")
    # in the first tenth the flow learns alone
    assert len(oldest) == 36 and set(oldest[:6]) == {0} and max(oldest[6:]) > 1
    oldest.clear()
    train_small_model(*flags, "--output-dir", tmp_path / "c", "--rollout-length", 0)
    assert set(oldest) == {0}


def test_a_model_that_knows_long_walks_takes_them_at_once(
    trained, tmp_path, small_models, monkeypatch, capsys
):
    """Walks that grow anew would be nine tenths of the time shorter than those that it has learned already."""
    lengths = []

    def spy(pool, slots, dreamed, as_played, length, *rest):
        lengths.append(length)
        RolloutPool.update(pool, slots, dreamed, as_played, length, *rest)

    monkeypatch.setattr(train_sd, "RolloutPool", type("Spied", (RolloutPool,), {"update": spy}))
    flags = ["--trajectories", trained / "square.npz", "--autoencoder-dir", trained / "a", "--epoch-samples", 16,
             "--batch-size", 4, "--flow-pretrain", 0, "--rollout-length", 32, "--init-from", trained / "b" / "best.pt",
             "--epochs", 1]  # fmt: skip
    train_small_model(*flags, "--output-dir", tmp_path / "grown")
    assert len(lengths) == 4 and lengths[0] == 0 and lengths[1] < 32
    lengths.clear()
    train_small_model(*flags, "--output-dir", tmp_path / "at_once", "--rollout-length-start", 32)
    assert lengths == [0] + [32] * 3  # a run never begins with generated contexts
    with pytest.raises(SystemExit):
        train_sd.parse_args(["--rollout-length-start", "8"])
    assert "--rollout-length-start above 1 needs --init-from" in capsys.readouterr().err


def test_walks_go_astray_only_where_a_discriminator_judges(trained, tmp_path, small_models, monkeypatch):
    """Without one nothing at all would be learned from them."""
    lr_scales = []

    class Spied(RolloutPool):
        def __init__(self, *given) -> None:
            super().__init__(*given)
            lr_scales.append(self.off_data_fraction)

    monkeypatch.setattr(train_sd, "RolloutPool", Spied)
    flags = [
        "--trajectories",
        trained / "square.npz",
        "--autoencoder-dir",
        trained / "a",
        "--epoch-samples",
        16,
    ]
    train_small_model(*flags, "--output-dir", tmp_path / "b")
    train_small_model(*flags, "--output-dir", tmp_path / "c", "--gan-weight", 0)
    assert lr_scales[0] > 0 and lr_scales[1] == 0


def test_the_flow_learns_alone_at_first(trained, tmp_path, small_models):
    """A denoiser that learned then would learn to begin from nonsense."""
    flags = [
        "--trajectories",
        trained / "square.npz",
        "--autoencoder-dir",
        trained / "a",
        "--flow-pretrain",
        0.99,
    ]
    train_small_model(*flags, "--output-dir", tmp_path / "b")
    unet = load_unet(tmp_path / "b" / "best.pt")[0]
    assert (unet.conv_out.weight == 0).all() and (unet.flow.conv_out.weight != 0).any()
    train_small_model(
        *flags, "--output-dir", tmp_path / "c", "--no-flow"
    )  # none: the denoiser has all of the budget
    unet = load_unet(tmp_path / "c" / "best.pt")[0]
    assert (unet.conv_out.weight != 0).any() and unet.flow is None


def test_a_new_run_from_weights(trained, tmp_path, small_models):
    """--init-from that is ignored would look like a slow start; one that freezes weights like a finished model."""
    flags = ["--trajectories", trained / "square.npz", "--autoencoder-dir", trained / "a"]
    train_small_model(*flags, "--output-dir", tmp_path / "b", "--init-from", trained / "b" / "best.pt",
                "--learning-rate", 1e-30)  # fmt: skip
    begun, given = (load_unet(path / "best.pt")[0].state_dict() for path in (tmp_path / "b", trained / "b"))
    fresh = train_sd.UNet(train_sd.UNetConfig(num_actions=3)).state_dict()
    for name, weight in begun.items():
        torch.testing.assert_close(weight, given[name])
    assert any((weight - fresh[name]).abs().max() > 0.05 for name, weight in begun.items())
    train_small_model(*flags, "--output-dir", tmp_path / "c", "--init-from", trained / "b" / "best.pt",
                "--learning-rate", 0.1, "--flow-pretrain", 0)  # fmt: skip
    moved = load_checkpoint(tmp_path / "c" / "last.pt", "model_run", "")["model"]
    still = [name for name, weight in given.items() if (moved[name] - weight).abs().max() < 1e-4]
    assert all("embed" in name for name in still), still  # those learn once what they modulate has grown


def test_what_does_not_belong_together_is_refused(trained, tmp_path, small_models):
    """Each of these would train for an hour on what cannot work, or end in a traceback."""
    square = ["--trajectories", trained / "square.npz"]
    dream = ["--autoencoder-dir", trained / "a", "--output-dir", tmp_path / "b"]
    larger = ["--trajectories", record(tmp_path / "larger.npz", height=48, width=64)]
    more_actions = ["--trajectories", record(tmp_path / "more.npz", num_actions=5)]
    assert "(32, 48)" in line_of(train_small_model, *larger, *dream)
    assert "no checkpoint" in line_of(train_small_model, *square, "--autoencoder-dir", tmp_path, *dream[2:])
    assert "no recording" in line_of(train_small_model, "--trajectories", tmp_path / "none.npz", *dream)
    assert "no recording" in line_of(train_small_autoencoder, "--trajectories", tmp_path / "none.npz")
    resume = ["--resume", "--output-dir", trained / "a"]
    assert "began with --trajectories" in line_of(train_small_autoencoder, *larger, *resume)
    assert "wanted 'model_run'" in line_of(train_small_model, *square, *dream[:2], *resume)
    assert "no checkpoint" in line_of(
        train_small_autoencoder, *square, "--resume", "--output-dir", tmp_path / "none"
    )
    best = trained / "b" / "best.pt"
    assert "has 3 actions, the recording 5" in line_of(
        train_small_model, *more_actions, *dream, "--init-from", best
    )
    assert "began with --trajectories" in line_of(
        train_small_model, *more_actions, *dream[:2], "--output-dir", trained / "b", "--resume"
    )
    train_small_autoencoder(*square, "--output-dir", tmp_path / "a2", "--seed", 1)
    assert "began with --autoencoder-dir" in line_of(
        train_small_model,
        *square,
        "--autoencoder-dir",
        tmp_path / "a2",
        "--output-dir",
        trained / "b",
        "--resume",
    )
    shutil.copy(tmp_path / "a2" / "encoder.pt", tmp_path / "encoder.pt")
    shutil.copy(trained / "a" / "decoder.pt", tmp_path / "decoder.pt")
    assert "not of one training run" in line_of(
        train_small_model, *square, "--autoencoder-dir", tmp_path, *dream[2:]
    )
    assert not list(tmp_path.glob("b/*"))


def test_resume_with_another_rollout_length_is_refused(trained, small_models):
    """It used to be ignored without a word."""
    flags = ["--trajectories", trained / "square.npz", "--autoencoder-dir", trained / "a", "--output-dir",
             trained / "b", "--resume", "--rollout-length", 0]  # fmt: skip
    assert "began with --rollout-length" in line_of(train_small_model, *flags)


def test_a_run_is_never_written_over(trained, small_models):
    """A forgotten --resume would begin anew and put its first blurred epoch in the place of an hour's best."""
    square = ["--trajectories", trained / "square.npz"]
    for train, flags in (
        (train_small_autoencoder, ["--output-dir", trained / "a"]),
        (train_small_model, ["--autoencoder-dir", trained / "a", "--output-dir", trained / "b"]),
    ):
        before = {path: path.stat().st_mtime_ns for path in Path(flags[-1]).iterdir()}
        assert "already contains a run" in line_of(train, *square, *flags)
        assert before == {path: path.stat().st_mtime_ns for path in Path(flags[-1]).iterdir()}


@pytest.mark.parametrize("script", ["autoencoder", "sd"])
def test_a_loss_that_is_no_number_stops_the_run(script, trained, tmp_path, small_models):
    """Training on would write over the last good weights with nothing."""
    flags = ["--trajectories", trained / "square.npz", "--output-dir", tmp_path / "run", "--epoch-samples", 256,
             "--learning-rate", 1e30]  # fmt: skip
    if script == "sd":
        output = line_of(train_small_model, *flags, "--autoencoder-dir", trained / "a")
    else:
        output = line_of(train_small_autoencoder, *flags)
    assert "the loss is not finite" in output and "--learning-rate" in output
    assert not list(tmp_path.glob("run/best.pt")) and not list(tmp_path.glob("run/last.pt"))


@pytest.mark.parametrize(
    "flags",
    [
        ("--epochs", 0),
        ("--epoch-samples", 0),
        ("--batch-size", 0),
        ("--max-minutes", -1),
        ("--learning-rate", 0),
    ],
)
@pytest.mark.parametrize("script", [train_autoencoder, train_sd], ids=["autoencoder", "sd"])
def test_flags_out_of_range_are_refused_at_once(script, flags, capsys):
    """A zero found only after the recording was encoded costs minutes."""
    with pytest.raises(SystemExit) as stopped:
        script.parse_args([*map(str, flags)])
    assert stopped.value.code == 2 and flags[0] in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- does it learn


@pytest.mark.slow
def test_a_short_training_learns_how_a_square_moves():
    """All parts may be right alone and learn nothing together: here frame, action and noise must meet.

    Latents are the picture itself, four pixels to one: what is learned is the world, not the autoencoder.
    """
    torch.manual_seed(0)
    frames, actions = moving_square(rows=24, steps=40)
    latents = torch.from_numpy(frames[:, :, :, 2::4, 2::4]).float() / 64 - 1  # (N, T, 3, 8, 12)
    actions = torch.from_numpy(actions)
    unet = UNet(UNetConfig(num_actions=3, latent_channels=3, channels=(32, 64), blocks=1, embedding=64))
    optimizer = torch.optim.AdamW(unet.parameters(), lr=2e-3)
    generator = seeded()
    windows = torch.from_numpy(window_starts(np.zeros((20, 40), bool), np.ones((20, 40), bool), L + 1))
    num_steps = 250
    pool = RolloutPool(latents, actions, windows, 16, L, CPU, generator)
    for step in range(num_steps):
        batch = pool.sample_batch()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(2e-3, step / num_steps, step, warmup_steps=20)
        loss, _, predicted, at_pure_noise = step_loss(
            unet, batch.context, batch.actions, batch.target, batch.is_real, generator
        )
        pool.update(batch.slots, predicted, at_pure_noise, 2, batch.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held_out = torch.from_numpy(window_starts(np.zeros((4, 40), bool), np.ones((4, 40), bool), L + 1))
    held_out[:, 0] += 20
    window, window_actions = gather_windows(latents, actions, held_out, L + 1, CPU)
    noise = torch.randn(window[:, -1].shape, generator=generator)
    with torch.no_grad():
        dreamed = sample_next_latent(unet, window[:, :-1], window_actions[:, :-1], noise, steps=1)
    copied = (window[:, -2] - window[:, -1]).pow(2).mean()
    learned = (dreamed - window[:, -1]).pow(2).mean()
    print(f"copying {copied:.4f}, dreaming {learned:.4f}")
    assert learned < 0.3 * copied

    # a square in the middle, each key held for three frames: where is its weight?
    middle = window[(window[:, 3, 0, 4].argmax(dim=-1) == 5).nonzero()[0, 0], :-1][None]
    centres = []
    for action in range(3):
        told = torch.cat([torch.zeros(1, 3, dtype=torch.long), torch.full((1, 3), action)], dim=1)
        film = rollout(unet, middle[:, 3:].expand(-1, 4, -1, -1, -1), told, 1, seeded())
        brightness = (film[0, -1, 0] - film[0, -1, 0].min()).clamp(min=0).pow(2).sum(dim=0)  # (12,)
        centres.append((brightness * torch.arange(12)).sum() / brightness.sum())
    nothing, left, right = centres
    print(f"centres: nothing {nothing:.2f}, left {left:.2f}, right {right:.2f}")
    assert left < nothing - 1 and right > nothing + 1


def test_how_fast_training_is(trained, tmp_path, capsys):
    """Both sides for real, in a turn each."""
    flags = ["--trajectories", trained / "square.npz", "--autoencoder-dir", trained / "a", "--device", "cpu",
             "--output", tmp_path / "b.json", "--seconds", 0.5, "--rounds", 1, "--processes", 2]  # fmt: skip
    benchmark_training.main(benchmark_training.parse_args([*map(str, flags)]))
    found = json.loads((tmp_path / "b.json").read_text())
    rates = found["samples_per_second"]
    assert len(rates) == 6 and all(rate > 0 for rate in rates.values())
    assert found["scaling"]["train_sd.py"] == pytest.approx(
        rates["train_sd.py by 2 processes"] / rates["train_sd.py"]
    )
    assert found["ratio"]["diffusion"] == pytest.approx(rates["train_sd.py"] / rates["plain diffusion"])
    assert "times the plain loop" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_both_scripts_on_a_gpu(tmp_path, small_models):
    """A tensor left on the other device shows only where there are two."""
    recording = record(tmp_path / "square.npz")
    flags = ["--trajectories", recording, "--device", "cuda"]
    train_small_autoencoder(*flags, "--output-dir", tmp_path / "a")
    train_small_autoencoder(*flags, "--output-dir", tmp_path / "a", "--epochs", 2, "--resume")
    dream = ["--autoencoder-dir", tmp_path / "a", "--output-dir", tmp_path / "b"]
    train_small_model(*flags, *dream, "--epochs", 2)
    train_small_model(*flags, *dream, "--epochs", 3, "--resume")
    assert [row["step"] for row in rows_of(tmp_path / "b")] == ["2", "4", "6"]
    paths = (tmp_path / "b" / "best.pt", tmp_path / "b" / "initial_sequence.npz")
    dream = open_dream(tmp_path / "a" / "decoder.pt", *paths, 2, 0, torch.device("cuda"))
    assert dream.reset().shape == dream.step(1).shape == (32, 48, 3)


# ------------------------------------------------------------------------------------------- the machine


@pytest.mark.parametrize(
    ("cpu", "pays"),
    [("GenuineIntel avx512_bf16", False), ("GenuineIntel avx512_bf16 amx_bf16", True),
     ("AuthenticAMD avx512_bf16", True)],
)  # fmt: skip
def test_bfloat16_by_what_the_cpu_is(monkeypatch, cpu, pays):
    """Instructions alone do not make it fast; a stopwatch would let two runs of one machine differ."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(runs.platform, "processor", lambda: cpu)
    monkeypatch.setattr(runs.Path, "exists", lambda path: False)
    assert runs.cpu_bfloat16_is_fast.__wrapped__() is pays
    monkeypatch.setattr(runs, "cpu_bfloat16_is_fast", lambda: pays)
    with runs.autocast(CPU):
        assert torch.is_autocast_enabled("cpu") is pays
