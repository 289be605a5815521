"""One step of teaching the denoiser, and what it needs: the loss, the moving average, the windows. Pure tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dream.diffusion import MOST_NOISE, denoising_loss, draw_levels, mix
from dream.errors import BadInput
from dream.trajectories import Trajectories, window_starts
from dream.unet import UNet

CONTEXT_NOISE = 0.3  # largest standard deviation of the noise added to the context of half the samples
NOISY_CONTEXTS = ("told", "untold", "off")


@dataclass(frozen=True)
class Lesson:
    """How the denoiser is taught."""

    loss: str = "root"  # of LOSSES, diffusion.py
    context_noise: str = "told"  # is its level an input of the network?
    pure_noise_share: float = 0.7  # of the samples: one-step sampling is made of them alone


def training_loss(
    unet: UNet, context: Tensor, actions: Tensor, target: Tensor, fresh: Tensor, generator: torch.Generator,
    lesson: Lesson = Lesson(),
) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:  # fmt: skip
    """The loss on target (B, C, h, w), given context (B, L, C, h, w) and actions (B, L); its metrics; the latents
    (B, C, h, w) predicted; and which of them, (B,) bool, began at pure noise: those are frames as play would show them.

    Half of the contexts of real latents alone, `fresh` (B,) bool, get noise of a level that the model is told
    (GameNGen, arXiv 2408.14837, section 3.2.1).
    """
    B, device = len(target), target.device

    def noise_like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator).to(device)

    noisy = fresh & (torch.rand(B, generator=generator) < (0.0 if lesson.context_noise == "off" else 0.5))
    level = (torch.rand(B, generator=generator) * CONTEXT_NOISE * noisy).to(device)
    context = context + level[:, None, None, None, None] * noise_like(context)
    told = level if lesson.context_noise == "told" else torch.zeros_like(level)
    t = draw_levels(B, lesson.pure_noise_share, generator)
    pure = t == 1
    predicts = unet.config.predicts
    if predicts == "noise":
        t = t.clamp(max=MOST_NOISE)
    t = t.to(device)
    z = mix(target, noise_like(target), t)
    predicted = unet(z, t, context, actions, told)
    return *denoising_loss(predicted, target, t, predicts, lesson.loss), predicted, pure


@torch.no_grad()
def update_ema(ema: UNet, unet: UNet, decay: float) -> None:
    """Moves each weight of `ema` a share 1 - decay of the way to that of `unet`."""
    for average, weight in zip(ema.parameters(), unet.parameters(), strict=True):
        average.lerp_(weight, 1 - decay)


def train_windows(data: Trajectories, mask: np.ndarray, context: int) -> Tensor:
    """Starts (M, 2) of the windows of `context` + 1 frames to train on. Raises BadInput where there are none."""
    starts = window_starts(data.episode_starts, mask, context + 1)
    if len(starts) == 0:
        raise BadInput(
            f"no {context + 1} frames in a row between two resets to train on: record longer episodes"
        )
    return torch.from_numpy(starts)
