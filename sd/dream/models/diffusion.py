"""The maths of the diffusion: adding noise, the loss, sampling. Pure tensors.

Rectified flow (Liu et al. 2022, arXiv 2209.03003): at timestep t, from 0 (clean) to 1 (pure noise), a latent x0
becomes
    z_t = (1 - t) x0 + t eps,    eps ~ N(0, 1).
The network predicts x0 and the loss is taken there: errors of x0 predictions contain less of the high frequencies
that build up when frames are fed back (Dreamer 4, arXiv 2509.24527, section 3.2)."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

EPS = 1e-4  # squared error added under the root: its gradient is finite at 0

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (z_t (B, C, h, w), t (B,)) -> predicted x0 (B, C, h, w)


def add_noise(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """z_t for x0 and noise (B, C, h, w) and timesteps t (B,)."""
    t = t[:, None, None, None]
    return (1 - t) * x0 + t * noise


def sample_timesteps(batch: int, pure_noise_fraction: float, generator: torch.Generator) -> Tensor:
    """Timesteps t (B,) for training: uniform in 0-1, but a fraction of them 1, where sampling in one step begins."""
    t = torch.rand(batch, generator=generator)
    return torch.where(torch.rand(batch, generator=generator) < pure_noise_fraction, torch.ones(batch), t)


def denoiser_loss(
    predicted: Tensor,
    x0: Tensor,
    reference_mse: Tensor | None = None,
    mask: Tensor | None = None,
    num_valid: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Root mean square error of each predicted latent (B, C, h, w), averaged over the batch; the metric is the MSE.

    The root gives every sample a gradient of the same size. Under the mean square a kart that stands still counts a
    hundredth of one that drives, and the small changes that the model then adds per frame are never corrected.

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
    """Mean of values (B,) where mask, bool (B,), is True; 0 where it nowhere is. num_valid: the count to divide by,
    where the batch is spread over several processes (default: of this mask)."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() if num_valid is None else num_valid).clamp(min=1e-6)


def sample(denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
    """From noise (B, C, h, w) to latents in `steps` equal Euler steps along dz/dt = (z_t - x0) / t = eps - x0.

    One step returns the network's prediction from pure noise as it is. Raises ValueError where steps < 1.
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
