"""One step of teaching the denoiser, and what it needs: the loss, the moving average, the windows. Pure tensors."""

import numpy as np
import torch
from torch import Tensor

from dream.diffusion import denoising_loss, draw_levels, mix
from dream.errors import BadInput
from dream.rollout import next_latent
from dream.trajectories import Trajectories, window_starts
from dream.unet import UNet

PURE_NOISE_SHARE = 0.7  # of the samples: one-step sampling is made of them alone
CONTEXT_NOISE = 0.3  # largest standard deviation of the noise added to the context of half the samples


def training_loss(
    unet: UNet, window: Tensor, actions: Tensor, num_own: int, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss on the last latent of window (B, L + num_own + 1, C, h, w), given those before it and actions.

    The model first dreams the `num_own` latents before the last, each from those before, and takes them for context:
    what it will see when it plays. Contexts of real frames alone get noise of a level that the model is told (GameNGen,
    arXiv 2408.14837, section 3.2.1).
    """
    B, L = len(window), unet.config.context
    device, target = window.device, window[:, -1]

    def noise_like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator).to(device)

    context, told = window[:, :L], torch.zeros(B, device=device)
    if num_own == 0:
        noisy = torch.rand(B, generator=generator) < 0.5
        told = (torch.rand(B, generator=generator) * CONTEXT_NOISE * noisy).to(device)
        context = context + told[:, None, None, None, None] * noise_like(context)
    for i in range(num_own):
        with torch.no_grad():
            latent = next_latent(unet, context, actions[:, i : i + L], noise_like(target), steps=1)
        context = torch.cat([context[:, 1:], latent[:, None]], dim=1)
    # Before torch 2.10 the weights that autocast converted without gradients would be taken again below.
    torch.clear_autocast_cache()
    t = draw_levels(B, PURE_NOISE_SHARE, generator).to(device)
    z = mix(target, noise_like(target), t)
    predicted = unet(z, t, context, actions[:, num_own : num_own + L], told)
    return denoising_loss(predicted, target)


@torch.no_grad()
def update_ema(ema: UNet, unet: UNet, decay: float) -> None:
    """Moves each weight of `ema` a share 1 - decay of the way to that of `unet`."""
    for average, weight in zip(ema.parameters(), unet.parameters(), strict=True):
        average.lerp_(weight, 1 - decay)


def train_windows(data: Trajectories, mask: np.ndarray, context: int, own_frames: int) -> tuple[Tensor, int]:
    """Starts (M, 2) of the windows to train on, and how many own frames they leave room for. Raises BadInput."""
    most = len(window_starts(data.episode_starts, mask, context + 1))
    for own in range(own_frames, -1, -1):
        starts = window_starts(data.episode_starts, mask, context + own + 1)
        if len(starts) >= max(1, most / 2):  # short episodes: all of them count for more than own frames do
            return torch.from_numpy(starts), own
    raise BadInput(f"no {context + 1} frames in a row between two resets to train on: record longer episodes")
