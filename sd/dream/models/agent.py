"""The agent of ppo/ at the wheel of a dream: it sees dreamed frames as it saw the game's, and chooses an action.

The two sides share no Python, so its network stands here a second time; a test holds both to one answer.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from dream.common.agent_view import preprocess_frames
from dream.common.errors import InputError
from dream.common.runs import autocast, load_checkpoint

STACK = 4  # pictures at once


class Agent(nn.Module):
    """Views of B dreams in, a policy over the actions out. `views`: uint8 (B, STACK, VIEW, VIEW), oldest first."""

    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(STACK, 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 512),
            nn.ReLU(),
        )
        self.policy = nn.Linear(512, num_actions)
        self.views: Tensor | None = None

    def see(self, frames_u8: Tensor) -> None:
        """Frames uint8 (B, H, W, 3) come after those before; the first fill the stack."""
        view = torch.from_numpy(preprocess_frames(frames_u8.numpy()))[:, None]
        self.views = (
            view.expand(-1, STACK, -1, -1)
            if self.views is None
            else torch.cat([self.views[:, 1:], view], dim=1)
        )

    @torch.no_grad()
    def choose(self, generator: torch.Generator) -> Tensor:
        """Actions int64 (B,), sampled as in training, for what was seen last."""
        with autocast(torch.device("cpu")):
            features = self.features(self.views.float() / 255)
        return torch.multinomial(
            self.policy(features.float()).softmax(dim=1), 1, generator=generator
        ).squeeze(1)


def load_agent(path: Path, action_names: tuple[str, ...]) -> Agent:
    """From best.pt of ppo/train_ppo.py. Raises BadInput where it is none, or knows other actions."""
    checkpoint = load_checkpoint(path, "agent", "ppo/train_ppo.py (its best.pt)")
    try:
        names = tuple(checkpoint["config"]["action_names"])
        agent = Agent(len(names))
        weights = {
            name: tensor for name, tensor in checkpoint["model"].items() if not name.startswith("value.")
        }
        agent.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as problem:
        raise InputError(f"{path} is not an agent of this version ({problem}): train it anew") from None
    if names != tuple(action_names):
        raise InputError(f"{path} knows the actions {names}, the dream {tuple(action_names)}")
    return agent.eval()
