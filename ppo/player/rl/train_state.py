"""Everything that a PPO training run changes from epoch to epoch, as one object that can be saved and restored."""

from dataclasses import dataclass

import torch

from player.common.errors import InputError
from player.common.runs import restore_rng_state, rng_state
from player.rl.agent import Agent, agent_checkpoint
from player.rl.collector import RolloutCollector
from player.rl.rollout_buffer import RewardScaler


@dataclass
class TrainState:
    """The content of last.pt, apart from its kind and the fixed options."""

    agent: Agent
    optimizer: torch.optim.Optimizer
    collector: RolloutCollector
    reward_scaler: RewardScaler
    generator: torch.Generator
    epochs_done: int = 0
    best_score: float = float("-inf")  # highest mean reward per step of an epoch

    def state_dict(self) -> dict:
        """A dict of tensors and plain Python values; a run restored from it continues bit for bit."""
        return {
            "agent": agent_checkpoint(self.agent),
            "optimizer": self.optimizer.state_dict(),
            "collector": self.collector.state_dict(),
            "reward_scaler": self.reward_scaler.state_dict(),
            "generator": self.generator.get_state(),
            "rng": rng_state(),
            "epochs_done": self.epochs_done,
            "best_score": self.best_score,
        }

    def load_state_dict(self, state: dict) -> None:
        """Continues from a `state_dict`. Raises InputError if an older version of the project saved it."""
        if "collector" not in state:
            raise InputError(
                "the run to resume is of an older version: start a new one, with --checkpoint-model and its best.pt"
            )
        self.agent.load_state_dict(state["agent"]["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.collector.load_state_dict(state["collector"])
        self.reward_scaler.load_state_dict(state["reward_scaler"])
        self.generator.set_state(state["generator"])
        restore_rng_state(state["rng"])
        self.epochs_done, self.best_score = state["epochs_done"], state["best_score"]
