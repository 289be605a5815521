"""The agent: maps a stack of four grey frames to action logits and a value. Pure tensors."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from player.common.agent_view import OBS_SIZE
from player.common.errors import refuse_damaged
from player.common.runs import autocast, load_checkpoint

STACK = 4  # frames per observation: enough to see speed and turning


@dataclass(frozen=True)
class AgentConfig:
    """The agent's configuration; saved in its checkpoint."""

    num_actions: int
    action_names: Tuple[str, ...]
    game: str
    frame_skip: int
    max_frames: int = 1  # each picture is the maximum of so many frames
    game_settings: Dict[str, Any] = field(default_factory=dict)  # keyword arguments of the environment


class Agent(nn.Module):
    """Policy and value network: the convolutions of Mnih et al. 2015 (DQN, Nature 518), orthogonal initialisation as in
    CleanRL's PPO."""

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
        nn.init.orthogonal_(self.policy.weight, 0.01)  # a nearly uniform initial policy
        nn.init.orthogonal_(self.value.weight, 1.0)

    def forward(self, views_u8: Tensor) -> Tuple[Tensor, Tensor]:
        """Maps views, uint8 (B, STACK, OBS_SIZE, OBS_SIZE), oldest first, to logits (B, A) and values (B,), float32."""
        # The same precision in collecting and training, so that both use the same policy; the heads are float32.
        with autocast(views_u8.device):
            device_type = views_u8.device.type
            mixed = torch.is_autocast_enabled(device_type)
            dtype = torch.get_autocast_dtype(device_type) if mixed else torch.float32
            # Channels last: otherwise each convolution would convert its input and gradient to it.
            views = torch.empty_like(views_u8, dtype=dtype, memory_format=torch.channels_last)
            views.copy_(views_u8).div_(255)  # equal to dividing in float32, and faster
            features = self.features(views)
        return self.policy(features.float()), self.value(features.float()).squeeze(1)

    @torch.no_grad()
    def act(self, views_u8: Tensor, generator: torch.Generator) -> Tuple[Tensor, Tensor, Tensor]:
        """Samples actions int64 (B,); returns them with their log-probabilities (B,) and the values (B,).

        `views_u8`: as for `forward`. `generator`: on the CPU, for every device.
        """
        logits, values = self(views_u8)
        probabilities = logits.softmax(dim=1).cpu()
        actions = torch.multinomial(probabilities, 1, generator=generator).squeeze(1).to(logits.device)
        return actions, Categorical(logits=logits).log_prob(actions), values

    @torch.no_grad()
    def predict_values(self, views_u8: Tensor) -> Tensor:
        """Values (B,) of views as for `forward`."""
        return self(views_u8)[1]


class FrameStack:
    """The last STACK views of each of B environments; after a reset, all of them are the first view."""

    def __init__(self, num_envs: int, device: torch.device) -> None:
        self.views = torch.zeros(num_envs, STACK, OBS_SIZE, OBS_SIZE, dtype=torch.uint8, device=device)

    def push(self, new_views: np.ndarray, episode_start: np.ndarray) -> Tensor:
        """Appends views, uint8 (B, OBS_SIZE, OBS_SIZE), and returns the stacks, uint8 (B, STACK, OBS_SIZE, OBS_SIZE).

        Where `episode_start`, bool (B,), is true, the new view replaces the whole stack.
        """
        view = torch.from_numpy(new_views).to(self.views.device)
        self.views = torch.cat([self.views[:, 1:], view[:, None]], dim=1)
        self.views[torch.from_numpy(episode_start)] = view[torch.from_numpy(episode_start)][:, None]
        return self.views

    def preview(self, new_views: np.ndarray, env_ids: np.ndarray) -> Tensor:
        """What `push` would return for the environments `env_ids` (M,), without changing the stacks.

        `new_views`: uint8 (M, OBS_SIZE, OBS_SIZE). Returns uint8 (M, STACK, OBS_SIZE, OBS_SIZE).
        """
        view = torch.from_numpy(new_views).to(self.views.device)
        return torch.cat([self.views[torch.from_numpy(env_ids), 1:], view[:, None]], dim=1)


def agent_checkpoint(agent: Agent) -> dict:
    """The content of best.pt: configuration and weights, without the state of the training."""
    return {"kind": "agent", "config": asdict(agent.config), "model": agent.state_dict()}


def load_agent(path: Path) -> Agent:
    """Loads an agent in eval mode. Raises InputError if the file is not an agent checkpoint of this version."""
    checkpoint = load_checkpoint(path, "agent", "ppo/train_ppo.py (its best.pt)")
    with refuse_damaged(path, "use another copy, or train a new one with ppo/train_ppo.py"):
        config = AgentConfig(
            **{**checkpoint["config"], "action_names": tuple(checkpoint["config"]["action_names"])}
        )
        num_actions = len(checkpoint["model"]["policy.weight"])
        if not len(config.action_names) == config.num_actions == num_actions:
            raise ValueError(f"{config.num_actions} actions do not fit its weights and names")
        if type(config.frame_skip) is not int or config.frame_skip < 1 or not isinstance(config.game, str):
            raise ValueError(f"frame skip {config.frame_skip!r}, game {config.game!r}")
        if (
            type(config.max_frames) is not int
            or config.max_frames < 1
            or not isinstance(config.game_settings, dict)
        ):
            raise ValueError(f"maximum of {config.max_frames!r} frames, settings {config.game_settings!r}")
        agent = Agent(config)
        agent.load_state_dict(checkpoint["model"])
    return agent.eval()
