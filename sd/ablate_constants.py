"""Rows for constants and parts that have no option: the same as ablate_sd.py, with one of them replaced.

python sd/ablate_constants.py "no outlier weights" --trajectories FILE --output-dir DIR --windows 8192
"""

import sys

import ablate_sd
import dream.models.diffusion as diffusion
import dream.training.losses as losses
import dream.training.optimizer as optimizer
import dream.training.rollout_pool as rollout_pool
import torch
import train_sd
from dream.common.errors import run_script


def no_outlier_weights() -> None:
    diffusion.outlier_weight = losses.outlier_weight = lambda mse, reference_mse: torch.ones_like(mse)


def no_length_spread() -> None:
    rollout_pool.LENGTH_SPREAD = 1.0


def no_flow_consistency() -> None:
    losses.FLOW_CONSISTENCY_WEIGHT = 0.0


def torch_muon() -> None:
    def make(matrices, weight_decay):
        return torch.optim.Muon(
            matrices,
            lr=0.0,
            weight_decay=weight_decay,
            momentum=optimizer.MOMENTUM,
            adjust_lr_fn="match_rms_adamw",
        )

    optimizer.Muon = make


def mean_squared_error() -> None:
    def loss(predicted, x0, reference_mse=None, mask=None, num_valid=None):
        mse = (predicted - x0).pow(2).mean(dim=(1, 2, 3))
        weighted = mse * diffusion.outlier_weight(mse.detach(), reference_mse)
        mean = diffusion.masked_mean
        return mean(weighted, mask, num_valid), {"loss/train": mean(mse.detach(), mask, num_valid)}

    train_sd.denoiser_loss = loss


def no_change_threshold() -> None:
    make = train_sd.UNetConfig
    train_sd.UNetConfig = lambda **choices: make(change_threshold=0.0, **choices)


CHANGES = {
    "no outlier weights": no_outlier_weights,
    "no length spread": no_length_spread,
    "no flow consistency": no_flow_consistency,
    "torch.optim.Muon": torch_muon,
    "mean squared error": mean_squared_error,
    "no change threshold": no_change_threshold,
}

if __name__ == "__main__":
    name = sys.argv.pop(1)
    CHANGES[name]()
    ablate_sd.VARIANTS[name] = ablate_sd.Variant()
    run_script(lambda: ablate_sd.main(ablate_sd.parse_args([*sys.argv[1:], "--only", name])))
