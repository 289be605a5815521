"""The PPO agent as a controller in the world model: it observes generated frames and chooses actions.

The two sides share no Python code, so the network is defined here again; a test compares it with that of ppo/.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from dream.common.agent_view import preprocess_frames
from dream.common.errors import InputError, refuse_damaged
from dream.common.game_info import check_agent_actions
from dream.common.limits import STACK
from dream.common.runs import autocast, load_checkpoint


class Agent(nn.Module):
    """The policy network of ppo/ (Mnih et al. 2015) with its frame stack, for B rollouts at a time.

    `views`: the last observations, uint8 (B, STACK, OBS_SIZE, OBS_SIZE), oldest first; None before the first frame.
    """

    def __init__(self, action_names: tuple[str, ...]) -> None:
        super().__init__()
        self.action_names = action_names
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
        self.policy = nn.Linear(512, len(action_names))
        self.views: Tensor | None = None

    def observe(self, frames_u8: Tensor) -> None:
        """Appends frames uint8 (B, H, W, 3) to the stack; the first frames fill the whole stack."""
        view = torch.from_numpy(preprocess_frames(frames_u8.numpy()))[:, None]
        self.views = (
            view.expand(-1, STACK, -1, -1)
            if self.views is None
            else torch.cat([self.views[:, 1:], view], dim=1)
        )

    def forward(self, views: Tensor) -> Tensor:
        """Logits float32 (B, A) of the policy for views uint8 (B, STACK, OBS_SIZE, OBS_SIZE)."""
        return self.policy(self.features(views.float() / 255).float())

    @torch.no_grad()
    def act(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Samples actions int64 (B,) from the policy for the current stack, as in training; each of the B games has
        its own generator."""
        with autocast(torch.device("cpu")):
            features = self.features(self.views.float() / 255)
        probabilities = self.policy(features.float()).softmax(dim=1)  # (B, A)
        draws = zip(probabilities, generators, strict=True)
        return torch.cat([torch.multinomial(row, 1, generator=generator) for row, generator in draws])


def load_agent(path: Path, action_names: tuple[str, ...] | None = None) -> Agent:
    """Loads the policy of best.pt of ppo/train_ppo.py. Raises InputError if it is invalid or does not have these
    actions."""
    if Path(path).suffix == ".npz":
        raise InputError(f"{path}: this needs the best.pt of ppo/train_ppo.py that the .npz was made of")
    checkpoint = load_checkpoint(path, "agent", "ppo/train_ppo.py (its best.pt)")
    with refuse_damaged(path, "use another copy, or train it again"):
        names = tuple(checkpoint["config"]["action_names"])
        if len(names) != checkpoint["model"]["policy.weight"].shape[0]:
            raise ValueError(f"{len(names)} action names do not fit its weights")
        agent = Agent(names)
        weights = {
            name: tensor for name, tensor in checkpoint["model"].items() if not name.startswith("value.")
        }
        agent.load_state_dict(weights)
    if action_names is not None:
        check_agent_actions(path, names, action_names)
    return agent.eval()
