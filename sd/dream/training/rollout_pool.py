"""Contexts for training: a pool of rollouts through the recording, in which the model meets its own frames.

In play the context is what the model has generated, so it must be in training too. Each slot of the pool holds the
context of one rollout, which begins with real latents. Whenever a slot is drawn and the prediction is a frame as
play would show it (sampled from pure noise), that frame enters the slot's context and the slot moves on by one
step. Contexts many generated frames old therefore cost no forward passes beyond those that are trained on. The
target is always the real latent. This is scheduled sampling (Bengio et al. 2015, arXiv 1506.03099; self-forcing) on
a pool: a slot's frames are as old as its last draw, a few optimizer steps.

In play a person presses keys that nobody recorded there. So a fraction of the rollouts goes off the data at its
end: the slot keeps its context and continues under the actions of another moment of the recording, one before which
the same actions were taken. Such a sample has no target; only the discriminator judges it."""

from typing import NamedTuple

import torch
from torch import Tensor

from dream.common.device import mask_indices, to_device
from dream.data.latents import gather_windows
from dream.models.rollout import suppress_small_changes

POOL_BATCHES = 16  # a slot is drawn once in so many steps on average, so that batches mix many moments


class Batch(NamedTuple):
    """B samples. Masks, positions and slots are on the CPU, all other tensors on the device of training."""

    slots: Tensor  # int64 (B,)
    positions: Tensor  # int64 (B, 2): row and t of each window
    context: Tensor  # latents (B, L, C, h, w), real or generated
    actions: Tensor  # int64 (B, L)
    real_context: Tensor  # (B, L, C, h, w)
    target: Tensor  # (B, C, h, w), the real latent after the context
    is_real: Tensor  # bool (B,): no generated frame in the context
    has_target: Tensor  # bool (B,): False for rollouts off the data


def rollout_length_schedule(longest: float, begin: float, progress: float, shortest: float = 1.0) -> float:
    """Mean rollout length at `progress` (0-1) of a training: 0 up to `begin`; then from `shortest`, by equal
    factors, to `longest` when three quarters of the rest are done. A new model's rollouts soon differ from the
    recording in everything, and then the recorded target teaches it nothing."""
    if not longest or progress <= begin:
        return 0.0
    return shortest * (longest / shortest) ** min(1.0, (progress - begin) / (0.75 * (1 - begin)))


class RolloutPool:
    """P slots of rollouts. Their contexts are kept in half precision on the device of training."""

    def __init__(
        self,
        latents: Tensor,
        actions: Tensor,
        window_starts: Tensor,
        batch_size: int,
        context: int,
        device: torch.device,
        generator: torch.Generator,
        change_threshold: float = 0.0,
        off_data_fraction: float = 0.0,
        first_windows: Tensor | None = None,
    ) -> None:
        """latents (N, T, C, h, w) and actions int64 (N, T) of a recording. window_starts: int64 (M, 2), row and t
        of every window of `context` + 1 latents that may be trained on. change_threshold: the model's
        (`suppress_small_changes`). off_data_fraction: fraction of the rollouts that go off the data when they
        end. first_windows: those of the windows that rollouts begin at (default: all)."""
        self.latents, self.actions, self.window_starts = latents, actions, window_starts
        self.batch_size, self.L, self.device, self.generator = batch_size, context, device, generator
        self.change_threshold, self.off_data_fraction = change_threshold, off_data_fraction
        self.first_windows = window_starts if first_windows is None else first_windows
        self.is_window_start = torch.zeros(actions.shape, dtype=torch.bool)
        self.is_window_start[window_starts[:, 0], window_starts[:, 1]] = True
        P = batch_size * POOL_BATCHES
        self.positions = torch.zeros(P, 2, dtype=torch.int64)  # row and t of each slot's window
        self.num_generated = torch.zeros(P, dtype=torch.int64)  # frames since the slot was reset
        self.off_data = torch.zeros(P, dtype=torch.bool)
        self.sorted_histories, self.history_order = torch.sort(self.action_history_id(window_starts))  # (M,)
        self.mean_length = 0.0  # the longest so far
        self.contexts = torch.zeros(P, context, *latents.shape[2:], dtype=torch.float16, device=device)
        self.reset_slots(torch.arange(P))

    def sample_batch(self) -> Batch:
        """Draws B different slots."""
        slots = torch.randperm(len(self.positions), generator=self.generator)[: self.batch_size]
        positions = self.positions[slots]
        window, actions = gather_windows(self.latents, self.actions, positions, self.L + 1, self.device)
        return Batch(
            slots=slots,
            positions=positions,
            context=self.contexts[to_device(slots, self.device)].float(),
            actions=actions[:, :-1],
            real_context=window[:, :-1],
            target=window[:, -1],
            is_real=self.num_generated[slots] == 0,
            has_target=~self.off_data[slots],
        )

    def lengthen(self, longest: float, begin: float, progress: float, shortest: float) -> None:
        """Sets the mean length to that of `rollout_length_schedule`, but never below what it is: a run that is resumed
        with more minutes is at less progress than it was."""
        length = rollout_length_schedule(longest, begin, progress, shortest)
        self.mean_length = max(self.mean_length, length)

    def update(self, slots: Tensor, predicted: Tensor, at_pure_noise: Tensor) -> None:
        """Moves the drawn slots (B,) on by the latents predicted for them, (B, C, h, w).

        at_pure_noise: bool (B,), which predictions are frames as play shows them; only those enter a context. A
        rollout ends once in self.mean_length + 1 draws; with 0 all end at once."""
        survives = torch.rand(len(slots), generator=self.generator) >= 1 / (self.mean_length + 1)
        self.positions[slots, 1] += at_pure_noise.long()
        rows, times = self.positions[slots].unbind(dim=1)
        num_steps = self.is_window_start.shape[1]
        in_bounds = (times < num_steps) & self.is_window_start[rows, times.clamp(max=num_steps - 1)]
        goes_off_data = torch.rand(len(slots), generator=self.generator) < self.off_data_fraction
        goes_off_data &= (
            at_pure_noise & ~(survives & in_bounds) & ~self.off_data[slots] & (self.mean_length > 0)
        )
        advances = at_pure_noise & survives & in_bounds | goes_off_data
        advancing = slots[advances]
        self.num_generated[advancing] += 1
        advancing = to_device(advancing, self.device)
        context = self.contexts[advancing]
        latent = predicted[mask_indices(advances, self.device)].detach()
        latent = suppress_small_changes(latent, context[:, -1].float(), self.change_threshold)
        self.contexts[advancing] = torch.cat([context[:, 1:], latent[:, None].half()], dim=1)
        self.switch_actions(slots[goes_off_data])
        self.reset_slots(slots[~(survives & in_bounds | goes_off_data)])

    def reset_slots(self, slots: Tensor) -> None:
        """Slots (any number of indices) begin again at random windows, with contexts of real latents."""
        chosen = torch.randint(len(self.first_windows), (len(slots),), generator=self.generator)
        self.positions[slots] = self.first_windows[chosen]
        self.num_generated[slots], self.off_data[slots] = 0, False
        windows, _ = gather_windows(self.latents, self.actions, self.positions[slots], self.L, self.device)
        self.contexts[to_device(slots, self.device)] = windows.half()

    def switch_actions(self, slots: Tensor) -> None:
        """Slots go off the data: on to the actions of a random window with the same action history; where no window
        has it, of any window."""
        history = self.action_history_id(self.positions[slots])
        first = torch.searchsorted(self.sorted_histories, history)
        end = torch.searchsorted(self.sorted_histories, history, right=True)
        first, end = (
            torch.where(first < end, first, 0),
            torch.where(first < end, end, len(self.window_starts)),
        )
        chosen = first + (torch.rand(len(slots), generator=self.generator) * (end - first)).long()
        self.positions[slots] = self.window_starts[self.history_order[chosen]]
        self.off_data[slots] = True

    def action_history_id(self, positions: Tensor) -> Tensor:
        """int64 (M,): one number for the first L - 1 actions of the windows at positions (M, 2)."""
        times = positions[:, 1:] + torch.arange(self.L - 1)
        actions = self.actions[positions[:, :1], times.clamp(max=self.actions.shape[1] - 1)].long()
        return (actions * (int(self.actions.max()) + 1) ** torch.arange(self.L - 1)).sum(dim=1)

    def state_dict(self) -> dict:
        return {
            "mean_length": self.mean_length,
            "positions": self.positions,
            "num_generated": self.num_generated,
            "off_data": self.off_data,
            "contexts": self.contexts.cpu(),
        }

    def load_state_dict(self, state: dict) -> None:
        self.mean_length = state["mean_length"]
        self.positions, self.num_generated = state["positions"].clone(), state["num_generated"].clone()
        self.off_data = state["off_data"].clone()
        self.contexts = state["contexts"].to(self.device, copy=True)
