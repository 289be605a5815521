"""Everything that changes while the diffusion model trains, and that a resumed run needs again."""

import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dream.common.distributed import Distributed
from dream.common.errors import refuse_damaged
from dream.common.runs import NEW_RUN, restore_rng_state, rng_state
from dream.models.unet import UNet
from dream.training.adversarial import AdversarialLoss
from dream.training.optimizer import Optimizer
from dream.training.outcome import OutcomeTraining
from dream.training.rollout_pool import RolloutPool

WEIGHT_DECAY = 1e-2
MAX_EMA_DECAY = 0.999


@dataclass
class TrainState:
    unet: UNet
    ema: UNet  # moving average of the weights, which is what is played
    optimizer: Optimizer
    pool: RolloutPool
    adversarial: AdversarialLoss
    generator: torch.Generator  # of all noise and all draws, on the CPU
    outcome: OutcomeTraining | None  # None for a recording without rewards
    step: int = 0
    best_score: float = float("-inf")

    @classmethod
    def create(
        cls,
        unet: UNet,
        pool: RolloutPool,
        adversarial: AdversarialLoss,
        generator: torch.Generator,
        optimizer_name: str,
        outcome: OutcomeTraining | None = None,
    ) -> "TrainState":
        ema = copy.deepcopy(unet).eval().requires_grad_(False).attach_autoencoder(*unet.autoencoder)
        optimizer = Optimizer([unet], WEIGHT_DECAY, optimizer_name=optimizer_name)
        return cls(unet, ema, optimizer, pool, adversarial, generator, outcome)

    def optimizer_step(self, loss: Tensor, learning_rate: float, dist: Distributed) -> Tensor:
        """Backward pass, clipping, one step of the optimizer and of the moving average. Returns the gradient's
        norm."""
        loss.backward()
        dist.average_gradients(self.unet.parameters())
        grad_norm = torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step(learning_rate)
        update_ema(self.ema, self.unet, decay=min(MAX_EMA_DECAY, (1 + self.step) / (10 + self.step)))
        self.step += 1
        return grad_norm

    def state_dict(self) -> dict:
        """Tensors and plain Python, for last.pt."""
        return {
            "config": asdict(self.unet.config),
            "model": self.unet.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "pool": self.pool.state_dict(),
            "adversarial": self.adversarial.state_dict(),
            "outcome": self.outcome and self.outcome.state_dict(),
            "rng": rng_state(),
            "step": self.step,
            "best_score": self.best_score,
        }

    def load_state_dict(self, state: dict, path: Path) -> None:
        """Continues from a `state_dict`. `path`: the file that it is from. Raises InputError if it does not fit."""
        with refuse_damaged(path, NEW_RUN):
            self.unet.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.generator.set_state(state["generator"])
            self.pool.load_state_dict(state["pool"])
            self.adversarial.load_state_dict(state["adversarial"])
            if self.outcome and state.get(
                "outcome"
            ):  # a run that was begun before there was one learns it now
                self.outcome.load_state_dict(state["outcome"])
            restore_rng_state(state["rng"])
            self.step = int(state["step"])
            self.best_score = float(state["best_score"])


def update_ema(ema: UNet, unet: UNet, decay: float) -> None:
    """Moves each weight of `ema` towards that of `unet`: ema <- decay * ema + (1 - decay) * unet."""
    get_ema_multi_avg_fn(decay)(list(ema.parameters()), list(unet.parameters()), None)
