"""The maths of the diffusion: how noise is mixed in, what the network is taught, how a frame is sampled. Pure.

Rectified flow (Liu et al. 2022, arXiv 2209.03003): at level t, from 0 (clean) to 1 (pure noise), a latent x is seen as
    z_t = (1 - t) x + t eps,    eps ~ N(0, 1).
The network predicts x itself and the loss is taken there (Dreamer 4, arXiv 2509.24527, section 3.2: errors of clean
predictions are less of the high-frequency kind that builds up when frames feed back).
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

ROUND_OFF = 1e-4  # a squared error that does not matter; the root's slope is finite at zero

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (z_t (B, C, h, w), t (B,)) -> predicted x (B, C, h, w)


def mix(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """z_t for x and noise (B, C, h, w) and levels t (B,)."""
    t = t[:, None, None, None]
    return (1 - t) * x + t * noise


def draw_levels(batch: int, pure_noise_share: float, generator: torch.Generator) -> Tensor:
    """Levels t (B,) for training: uniform, but a share of them at pure noise, where sampling begins and one-step
    sampling also ends."""
    levels = torch.rand(batch, generator=generator)
    return torch.where(torch.rand(batch, generator=generator) < pure_noise_share, torch.ones(batch), levels)


def denoising_loss(predicted: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Root mean square error of each predicted clean latent (B, C, h, w), averaged over the batch; logged is the mean
    square. All levels weigh alike: the errors near pure noise are the largest of themselves, and they are those that a
    frame sampled in one step shows.

    The root gives every sample a gradient of the same size. Under the mean square a kart that stands still weighs a
    hundredth of one that drives, and the little that the model then changes a frame, always in one direction, is left.
    """
    errors = (predicted - x).pow(2).mean(dim=(1, 2, 3))
    return (errors + ROUND_OFF).sqrt().mean(), {"loss/train": errors.detach().mean()}


def sample(denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
    """From noise (B, C, h, w) to latents in `steps` equal Euler steps along dz/dt = (z_t - x) / t = eps - x.

    One step returns the network's prediction from pure noise as it is.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    z = noise
    levels = torch.linspace(1, 0, steps + 1, device=noise.device)
    for t, t_next in itertools.pairwise(levels):
        x = denoise(z, t.expand(len(z)))
        z = x + (z - x) * (t_next / t)
    return z
