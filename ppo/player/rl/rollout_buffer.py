"""The rollout buffer, minibatches, reward scaling and generalised advantage estimation. Pure tensors."""

from dataclasses import dataclass
from typing import Dict, Iterator, Tuple

import torch
from torch import Tensor

from player.rl.agent import OBS_SIZE, STACK


def gae(
    rewards: Tensor, values: Tensor, next_values: Tensor, done: Tensor, gamma: float, gae_lambda: float
) -> Tuple[Tensor, Tensor]:
    """Advantages and returns, both (T, N), after Schulman et al. 2016, arXiv 1506.02438, eq. 16.

    rewards, values, next_values: float (T, N). `next_values[t]` is the value of the state that action t led to, before
    any reset: 0 where the episode terminated, the value of its last frame where it was truncated (ended by a time
    limit, so further rewards would have followed). `done`: bool (T, N), terminated or truncated.
    """
    advantages = torch.zeros_like(rewards)
    last_gae = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * next_values[t] - values[t]
        last_gae = delta + gamma * gae_lambda * (~done[t]) * last_gae
        advantages[t] = last_gae
    return advantages, advantages + values


class RewardScaler:
    """Divides rewards by the running standard deviation of the discounted return, so that the same learning rate suits
    small and large rewards (Engstrom et al. 2020, arXiv 2005.12729, section 3, "reward scaling")."""

    def __init__(self, num_envs: int, gamma: float, device: torch.device) -> None:
        self.gamma = gamma
        self.state = {
            "returns": torch.zeros(num_envs, device=device),  # discounted returns of the current episodes
            "count": torch.tensor(0.0, device=device),
            "mean": torch.tensor(0.0, device=device),
            "squares": torch.tensor(0.0, device=device),  # sum of squared distances from the mean
        }

    def __call__(self, rewards: Tensor, done: Tensor) -> Tensor:
        """Returns the scaled rewards, (T, N), after updating the statistics with them. `rewards`, `done`: (T, N)."""
        s = self.state
        history = []
        for t in range(len(rewards)):
            s["returns"] = s["returns"] * self.gamma + rewards[t]
            history.append(s["returns"])
            s["returns"] = s["returns"] * (~done[t])
        returns = torch.stack(history)
        # Chan et al. 1979: combines the variances of two samples.
        total, difference = s["count"] + returns.numel(), returns.mean() - s["mean"]
        squares = (returns - returns.mean()).pow(2).sum()
        s["squares"] += squares + difference**2 * s["count"] * returns.numel() / total
        s["mean"] += difference * returns.numel() / total
        s["count"] = total
        return rewards / (s["squares"] / total + 1e-8).sqrt()

    def state_dict(self) -> Dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.state.items()}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        self.state = {name: tensor.to(self.state[name].device, copy=True) for name, tensor in state.items()}


@dataclass
class Rollout:
    """T steps of N environments. The agent chose `actions[t]` from observation `views[t]` and earned `rewards[t]`."""

    views: Tensor  # uint8 (T, N, STACK, OBS_SIZE, OBS_SIZE)
    actions: Tensor  # int64 (T, N)
    log_probs: Tensor  # float32 (T, N)
    values: Tensor  # float32 (T, N)
    next_values: Tensor  # float32 (T, N), see `gae`
    rewards: Tensor  # float32 (T, N)
    done: Tensor  # bool (T, N)

    @classmethod
    def empty(cls, num_steps: int, num_envs: int, device: torch.device) -> "Rollout":
        """A rollout of zeros, to be filled by RolloutCollector."""

        def zeros(dtype: torch.dtype) -> Tensor:
            return torch.zeros(num_steps, num_envs, dtype=dtype, device=device)

        views = torch.zeros(num_steps, num_envs, STACK, OBS_SIZE, OBS_SIZE, dtype=torch.uint8, device=device)
        floats = [zeros(torch.float32) for _ in range(4)]
        return cls(views, zeros(torch.int64), *floats, done=zeros(torch.bool))


@dataclass(frozen=True)
class Minibatch:
    """M steps of a rollout, in random order."""

    views: Tensor  # uint8 (M, STACK, OBS_SIZE, OBS_SIZE)
    actions: Tensor  # (M,), as all below
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def minibatches(
    rollout: Rollout, advantages: Tensor, returns: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[Minibatch]:
    """Yields every step of every environment once, in random order, in batches of `batch_size` steps.

    `advantages`, `returns`: (T, N). An incomplete last batch is dropped, unless it is the only one.
    """
    flat = [
        tensor.flatten(0, 1)  # (T, N, ...) -> (T * N, ...)
        for tensor in (rollout.views, rollout.actions, rollout.log_probs, rollout.values, advantages, returns)
    ]
    total = len(flat[0])
    order = torch.randperm(total, generator=generator).to(flat[0].device)
    for start in range(0, max(total - batch_size + 1, 1), batch_size):
        chosen = order[start : start + batch_size]
        yield Minibatch(*(tensor[chosen] for tensor in flat))
