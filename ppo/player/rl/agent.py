"""The agent: four small grey pictures in, a policy over the actions and a value out. Pure tensors."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from player.common.agent_view import VIEW
from player.common.errors import InputError
from player.common.runs import autocast, load_checkpoint

STACK = 4  # pictures at once: enough to see speed and turning


@dataclass(frozen=True)
class AgentConfig:
    """Travels in the checkpoint."""

    num_actions: int
    action_names: Tuple[str, ...]
    game: str
    frame_skip: int


class Agent(nn.Module):
    """The convolutions of Mnih et al. 2015 (DQN, Nature 518), orthogonal initialisation as in CleanRL's PPO."""

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.Sequential(
            nn.Conv2d(STACK, 32, 8, stride=4),  # (B, 32, 20, 20)
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),  # (B, 64, 9, 9)
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),  # (B, 64, 7, 7)
            nn.ReLU(),
            nn.Flatten(),  # (B, 3136)
            nn.Linear(64 * 7 * 7, 512),
            nn.ReLU(),
        )
        self.policy = nn.Linear(512, config.num_actions)
        self.value = nn.Linear(512, 1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.orthogonal_(module.weight, 2**0.5)
                nn.init.zeros_(module.bias)
        nn.init.orthogonal_(self.policy.weight, 0.01)  # a nearly even policy to begin with
        nn.init.orthogonal_(self.value.weight, 1.0)

    def forward(self, views_u8: Tensor) -> Tuple[Tensor, Tensor]:
        """Views uint8 (B, STACK, VIEW, VIEW), oldest first -> logits (B, A) and values (B,), both float32."""
        # bfloat16 in playing and in learning alike, so that the two policies are the same one; heads in float32.
        with autocast(views_u8.device):
            kind, mixed = views_u8.device.type, torch.is_autocast_enabled(views_u8.device.type)
            precision = torch.get_autocast_dtype(kind) if mixed else torch.float32
            # Channels last, or each convolution would bring its pictures into that order, and their gradients.
            views = torch.empty_like(views_u8, dtype=precision, memory_format=torch.channels_last)
            features = self.features(views.copy_(views_u8).div_(255))  # as by way of float32, and sooner
        return self.policy(features.float()), self.value(features.float()).squeeze(1)

    @torch.no_grad()
    def act(self, views_u8: Tensor, generator: torch.Generator) -> Tuple[Tensor, Tensor, Tensor]:
        """Samples actions (B,), with their log-probabilities (B,) and the values (B,)."""
        logits, values = self(views_u8)
        # Sampled on the CPU, so that one generator serves every device.
        actions = (
            torch.multinomial(logits.softmax(dim=1).cpu(), 1, generator=generator)
            .squeeze(1)
            .to(logits.device)
        )
        return actions, Categorical(logits=logits).log_prob(actions), values

    @torch.no_grad()
    def value_of(self, views_u8: Tensor) -> Tensor:
        return self(views_u8)[1]


class FrameStack:
    """The last STACK views of each of B games, filled up with the first one after a reset."""

    def __init__(self, num_envs: int, device: torch.device) -> None:
        self.views = torch.zeros(num_envs, STACK, VIEW, VIEW, dtype=torch.uint8, device=device)

    def push(self, seen: np.ndarray, first: np.ndarray) -> Tensor:
        """Adds views, uint8 (B, VIEW, VIEW); where `first` (B,) the history is that one alone. Returns
        (B, STACK, ...)."""
        view = torch.from_numpy(seen).to(self.views.device)
        self.views = torch.cat([self.views[:, 1:], view[:, None]], dim=1)
        self.views[torch.from_numpy(first)] = view[torch.from_numpy(first)][:, None]
        return self.views

    def peek(self, seen: np.ndarray, which: np.ndarray) -> Tensor:
        """What the stack of games `which` (M,) would be after views (M, VIEW, VIEW), without adding them."""
        view = torch.from_numpy(seen).to(self.views.device)
        return torch.cat([self.views[torch.from_numpy(which), 1:], view[:, None]], dim=1)


def agent_checkpoint(agent: Agent) -> dict:
    """For use: configuration and weights, nothing else."""
    return {"kind": "agent", "config": asdict(agent.config), "model": agent.state_dict()}


def load_agent(path: Path) -> Agent:
    """Raises BadInput where the file is not an agent of ours."""
    checkpoint = load_checkpoint(path, "agent", "ppo/train_ppo.py (its best.pt)")
    try:
        config = AgentConfig(
            **{**checkpoint["config"], "action_names": tuple(checkpoint["config"]["action_names"])}
        )
        agent = Agent(config)
        agent.load_state_dict(checkpoint["model"])
    except (KeyError, TypeError, RuntimeError) as problem:
        raise InputError(f"{path} is not an agent of this version ({problem}): train it anew") from None
    return agent.eval()
