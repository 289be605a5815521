"""One epoch of play, and what it was worth: the rollout buffer and generalised advantage estimation. Pure tensors."""

from dataclasses import dataclass
from typing import Iterator, Tuple

import torch
from torch import Tensor

from player.rl.agent import STACK, VIEW


def gae(
    rewards: Tensor, values: Tensor, next_values: Tensor, ended: Tensor, gamma: float, gae_lambda: float
) -> Tuple[Tensor, Tensor]:
    """Advantages and returns, both (T, N), after Schulman et al. 2016, arXiv 1506.02438, eq. 16.

    rewards, values, next_values: float (T, N). `next_values[t]` is the value of the state that action t led to, BEFORE
    any reset: 0 where the episode terminated, the value of its last frame where it was only truncated (cut short by a
    time limit, so the future would have gone on). `ended`: bool (T, N), terminated or truncated: nothing after it
    belongs to the same episode.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * next_values[t] - values[t]
        following = delta + gamma * gae_lambda * (~ended[t]) * following
        advantages[t] = following
    return advantages, advantages + values


class RewardScaler:
    """Keeps rewards at a size that one learning rate suits, whatever the game pays: divides them by the standard
    deviation of the discounted return so far (Engstrom et al. 2020, arXiv 2005.12729, section 3, "reward scaling")."""

    def __init__(self, num_envs: int, gamma: float, device: torch.device) -> None:
        self.gamma = gamma
        self.state = {
            "returns": torch.zeros(num_envs, device=device),  # discounted, still running
            "count": torch.tensor(0.0, device=device),
            "mean": torch.tensor(0.0, device=device),
            "squares": torch.tensor(0.0, device=device),  # sum of squared distances from the mean
        }

    def __call__(self, rewards: Tensor, ended: Tensor) -> Tensor:
        """Rewards (T, N) -> the same, scaled. The statistics take this epoch in first."""
        s = self.state
        history = []
        for t in range(len(rewards)):
            s["returns"] = s["returns"] * self.gamma + rewards[t]
            history.append(s["returns"])
            s["returns"] = s["returns"] * (~ended[t])
        seen = torch.stack(history)
        # Chan et al. 1979: the variance of two samples put together.
        total, difference = s["count"] + seen.numel(), seen.mean() - s["mean"]
        s["squares"] += (seen - seen.mean()).pow(2).sum() + difference**2 * s["count"] * seen.numel() / total
        s["mean"] += difference * seen.numel() / total
        s["count"] = total
        return rewards / (s["squares"] / total + 1e-8).sqrt()


@dataclass
class Rollout:
    """T steps of N games. Step t: in state `views[t]` the agent chose `actions[t]`, which earned `rewards[t]`."""

    views: Tensor  # uint8 (T, N, STACK, VIEW, VIEW)
    actions: Tensor  # int64 (T, N)
    log_probs: Tensor  # float32 (T, N)
    values: Tensor  # float32 (T, N)
    next_values: Tensor  # float32 (T, N), see `gae`
    rewards: Tensor  # float32 (T, N)
    ended: Tensor  # bool (T, N)

    @classmethod
    def empty(cls, num_steps: int, num_envs: int, device: torch.device) -> "Rollout":
        def zeros(dtype: torch.dtype) -> Tensor:
            return torch.zeros(num_steps, num_envs, dtype=dtype, device=device)

        views = torch.zeros(num_steps, num_envs, STACK, VIEW, VIEW, dtype=torch.uint8, device=device)
        floats = [zeros(torch.float32) for _ in range(4)]
        return cls(views, zeros(torch.int64), *floats, ended=zeros(torch.bool))


@dataclass(frozen=True)
class Minibatch:
    views: Tensor  # uint8 (M, STACK, VIEW, VIEW)
    actions: Tensor  # (M,), as all below
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def minibatches(
    rollout: Rollout, advantages: Tensor, returns: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[Minibatch]:
    """Every step of every game once, in random order. A last, smaller batch is left out unless it is the only one."""
    flat = [
        tensor.flatten(0, 1)  # (T, N, ...) -> (T * N, ...)
        for tensor in (rollout.views, rollout.actions, rollout.log_probs, rollout.values, advantages, returns)
    ]
    total = len(flat[0])
    order = torch.randperm(total, generator=generator).to(flat[0].device)
    for start in range(0, max(total - batch_size + 1, 1), batch_size):
        chosen = order[start : start + batch_size]
        yield Minibatch(*(tensor[chosen] for tensor in flat))
