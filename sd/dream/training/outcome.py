"""Training of the outcome model (models/outcome.py) on the recording's rewards and episode ends.

It is trained on the contexts of the rollout pool, as the denoiser is: in play it sees generated frames. Windows at
whose end an episode ends are not in the pool, since the frame after them belongs to another episode; a few of them are
added to each batch, with real contexts, and weighted by how frequent they are."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dream.common.device import to_device
from dream.common.distributed import Distributed
from dream.data.latents import gather_windows
from dream.data.splits import end_windows
from dream.data.trajectories import Trajectories, has_varied_rewards, read_rewards
from dream.models.outcome import OutcomeConfig, OutcomeModel
from dream.training.rollout_pool import Batch

END_FRACTION = 1 / 4  # windows before an episode's end, per window of the batch
WEIGHT_DECAY = 1e-2
MIN_STD = 1e-6  # of the recorded rewards, where all are the same


class OutcomeTraining:
    """The outcome model, its optimizer and its labels."""

    def __init__(
        self,
        data: Trajectories,
        latents: Tensor,
        mask: np.ndarray,
        starts: Tensor,
        config: OutcomeConfig,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        """latents: of the recording, (N, T, C, h, w). mask: bool (N, T), the frames to train on. starts: int64 (M, 2),
        the windows of the rollout pool. Needs `has_outcomes(data)`."""
        self.rewards = torch.from_numpy(read_rewards(data))
        self.latents, self.actions = latents, torch.from_numpy(data.actions)
        self.generator, self.device = generator, device
        self.model = OutcomeModel(config).to(device)
        self.end_windows = torch.from_numpy(end_windows(data.episode_starts, mask, config.context))
        self.end_weight = len(self.end_windows) / (len(starts) + len(self.end_windows))
        recorded = self.rewards[torch.from_numpy(mask)]
        self.model.reward_mean.fill_(recorded.mean())
        self.model.reward_std.fill_(recorded.std().clamp(min=MIN_STD))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0, weight_decay=WEIGHT_DECAY)

    def start_from(self, model: OutcomeModel) -> None:
        """Takes over the weights of a trained model; its predictions keep their units."""
        self.model.load_state_dict(model.state_dict())

    def train_step(self, batch: Batch, learning_rate: float, dist: Distributed) -> dict[str, Tensor]:
        """One step on a whole batch, of which this process computes its rows, and on windows before ends of episodes;
        returns metrics."""
        parts = [
            (1 - self.end_weight, batch.context, batch.actions, batch.positions, batch.has_target, False)
        ]
        if len(self.end_windows):
            number = max(1, round(END_FRACTION * len(batch.positions) / dist.count)) * dist.count
            chosen = torch.randint(len(self.end_windows), (number,), generator=self.generator)
            positions, L = self.end_windows[chosen], self.model.config.context
            context, actions = gather_windows(self.latents, self.actions, positions, L, self.device)
            everywhere = torch.ones(number, dtype=torch.bool)
            parts.append((self.end_weight, context, actions, positions, everywhere, True))
        reward_loss = end_loss = torch.zeros((), device=self.device)
        for weight, *tensors, labelled, ends in parts:
            num_labelled = int(labelled.sum()) / dist.count
            rows = [dist.local_rows(tensor) for tensor in (*tensors, labelled)]
            reward_part, end_part = self.outcome_loss(*rows, num_labelled, ends)
            reward_loss, end_loss = reward_loss + weight * reward_part, end_loss + weight * end_part
        (reward_loss + end_loss).backward()
        dist.average_gradients(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"loss/reward": reward_loss.detach(), "loss/end": end_loss.detach()}

    def outcome_loss(
        self,
        context: Tensor,
        actions: Tensor,
        positions: Tensor,
        labelled: Tensor,
        num_labelled: float,
        ends: bool,
    ) -> tuple[Tensor, Tensor]:
        """Squared error of the reward, in standard deviations, and cross-entropy of the episode's end in nats: sums
        over the samples that are `labelled`, bool (B,), divided by num_labelled. positions: (B, 2), row and t of the
        contexts. ends: whether the episodes end after them."""
        last = positions[:, 1] + self.model.config.context - 1
        rewards = to_device(self.rewards[positions[:, 0], last], self.device)
        weight = to_device(labelled, self.device).float() / max(num_labelled, 1e-6)
        # In float32: the network is tiny, and oneDNN's bfloat16 gradient of a convolution of 1 x 1 latents is NaN.
        outcome = self.model(context, actions)
        error = (outcome.reward - rewards) / self.model.reward_std
        end_error = F.binary_cross_entropy_with_logits(
            outcome.end_logit, torch.full_like(error, float(ends)), reduction="none"
        )
        return (weight * error.square()).sum(), (weight * end_error).sum()

    def state_dict(self) -> dict:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def has_outcomes(data: Trajectories) -> bool:
    """Whether a recording has something to learn: rewards that differ, or rewards and an episode that ends."""
    has_ends = read_rewards(data) is not None and data.episode_starts[:, 1:].any()
    return bool(has_varied_rewards(data) or has_ends)
