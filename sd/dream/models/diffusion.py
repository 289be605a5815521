"""Diffusion as a rectified flow: adding noise, the loss, sampling. Functions of tensors, without state.

Rectified flow (Liu et al. 2022, arXiv 2209.03003): at timestep t, from 0 (clean) to 1 (pure noise), a latent x0
becomes
    z_t = (1 - t) x0 + t eps,    eps ~ N(0, 1).
The network predicts x0, and the loss compares it with x0: errors of x0 predictions contain less of the high
frequencies that build up when frames are fed back (Dreamer 4, arXiv 2509.24527, section 3.2).
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

EPS = 1e-4  # added to the squared error before the square root, whose gradient is infinite at 0

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (z_t (B, C, h, w), t (B,)) -> predicted x0 (B, C, h, w)


def add_noise(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """z_t = (1 - t) x0 + t eps for x0 and noise eps (B, C, h, w) and timesteps t (B,)."""
    t = t[:, None, None, None]
    return (1 - t) * x0 + t * noise


def sample_timesteps(batch: int, pure_noise_fraction: float, generator: torch.Generator) -> Tensor:
    """Timesteps t, float32 (batch,), for training: t = 1 with probability `pure_noise_fraction`, else uniform in 0-1.

    t = 1 is the timestep at which sampling in one step evaluates the network.
    """
    t = torch.rand(batch, generator=generator)
    return torch.where(torch.rand(batch, generator=generator) < pure_noise_fraction, torch.ones(batch), t)


def denoiser_loss(
    predicted: Tensor,
    x0: Tensor,
    reference_mse: Tensor | None = None,
    mask: Tensor | None = None,
    num_valid: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Root mean squared error of each predicted latent (B, C, h, w), averaged over the batch; the metric is the MSE.

    Because of the root, the gradients of all samples have the same norm. With a mean squared error, samples of a
    standing kart would have about a hundredth of the weight of samples of a driving one, and the small errors that
    accumulate while it stands would not be corrected.

    reference_mse: (B,), see `outlier_weight` (default: no weighting). mask: bool (B,), samples that have a target
    (default: all). num_valid: see `masked_mean`.
    """
    mse = (predicted - x0).pow(2).mean(dim=(1, 2, 3))
    rmse = (mse + EPS).sqrt() * outlier_weight(mse.detach(), reference_mse)
    return masked_mean(rmse, mask, num_valid), {"loss/train": masked_mean(mse.detach(), mask, num_valid)}


def outlier_weight(mse: Tensor, reference_mse: Tensor | None) -> Tensor:
    """Weights (B,) of samples with errors mse (B,): 1 up to reference_mse (B,), above it reference_mse / mse."""
    return (
        torch.ones_like(mse) if reference_mse is None else (reference_mse / mse.clamp(min=EPS)).clamp(max=1)
    )


def masked_mean(values: Tensor, mask: Tensor | None, num_valid: Tensor | None = None) -> Tensor:
    """Mean of values (B,) where mask, bool (B,), is True (None: of all values); 0 if no element of the mask is True.

    num_valid: scalar tensor, the divisor if the batch is distributed over several processes (default: mask.sum())."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() if num_valid is None else num_valid).clamp(min=1e-6)


def sample(denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
    """Samples latents from noise (B, C, h, w) in `steps` equal Euler steps of dz/dt = (z_t - x0) / t = eps - x0.

    With one step, the result is the network's prediction from pure noise. Raises ValueError if steps < 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    z = noise
    timesteps = torch.linspace(1, 0, steps + 1, device=noise.device)
    for t, t_next in itertools.pairwise(timesteps):
        x0 = denoise(z, t.expand(len(z)))
        z = euler_step(z, x0, t, t_next)
    return z


def euler_step(z: Tensor, x0: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    """z at timestep t_next from z (B, C, h, w) at t and the prediction x0; t and t_next are scalars."""
    return x0 + (z - x0) * (t_next / t)
