"""The PPO loss and the optimization of one rollout (Schulman et al. 2017, arXiv 1707.06347). Pure tensors."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from player.rl.agent import Agent
from player.rl.rollout_buffer import Minibatch, Rollout, gae, minibatches


@dataclass(frozen=True)
class PPOConfig:
    """Hyperparameters of PPO; the defaults of train_ppo.py."""

    gamma: float = 0.99  # discount factor
    gae_lambda: float = 0.95
    clip_ratio: float = 0.2
    ent_coef: float = 0.01  # weight of the entropy bonus
    vf_coef: float = 0.5  # weight of the value loss
    batch_size: int = 512  # steps per minibatch
    train_iters: int = 4  # passes over a rollout
    max_grad_norm: float = 0.5


def ppo_loss(
    logits: Tensor, values: Tensor, batch: Minibatch, config: PPOConfig
) -> Tuple[Tensor, Dict[str, Tensor]]:
    """The clipped surrogate objective (eq. 7), a squared value error and an entropy bonus (eq. 9).

    logits (M, A) and values (M,) come from the current agent, `batch` from the agent that collected the rollout.
    Returns the loss and detached metrics.
    """
    policy = Categorical(logits=logits)
    log_ratio = policy.log_prob(batch.actions) - batch.log_probs
    ratio = log_ratio.exp()
    advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std(unbiased=False) + 1e-8)
    clipped = ratio.clamp(1 - config.clip_ratio, 1 + config.clip_ratio)
    policy_loss = -torch.minimum(ratio * advantages, clipped * advantages).mean()
    value_loss = 0.5 * (values - batch.returns).pow(2).mean()
    entropy = policy.entropy().mean()
    loss = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
    metrics = {
        "loss/policy": policy_loss,
        "loss/value": value_loss,
        "policy/entropy": entropy,
        "policy/approx_kl": (ratio - 1 - log_ratio).mean(),  # http://joschu.net/blog/kl-approx.html, k3
        "policy/clip_fraction": ((ratio - 1).abs() > config.clip_ratio).float().mean(),
    }
    return loss, {name: value.detach() for name, value in metrics.items()}


def update(
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    config: PPOConfig,
    generator: torch.Generator,
    on_batch: Optional[Callable[[], Any]] = None,
) -> Dict[str, float]:
    """Trains for `train_iters` passes over one rollout, and calls `on_batch` after each minibatch. Returns the mean of
    each metric over all minibatches."""
    advantages, returns = gae(
        rollout.rewards, rollout.values, rollout.next_values, rollout.done, config.gamma, config.gae_lambda
    )
    history: List[Dict[str, Tensor]] = []
    for _ in range(config.train_iters):
        for batch in minibatches(rollout, advantages, returns, config.batch_size, generator):
            logits, values = agent(batch.views)
            loss, metrics = ppo_loss(logits, values, batch, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            metrics["policy/grad_norm"] = nn.utils.clip_grad_norm_(agent.parameters(), config.max_grad_norm)
            optimizer.step()
            history.append(metrics)
            if on_batch:
                on_batch()
    means = {name: torch.stack([m[name] for m in history]).mean().item() for name in history[0]}
    variance = returns.var()
    means["value/explained_variance"] = (
        (1 - (returns - rollout.values).var() / variance).item() if variance > 0 else 0.0
    )
    return means
