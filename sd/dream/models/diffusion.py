"""Diffusion as a rectified flow: adding noise, drawing timesteps, sampling. Functions of tensors, without state.

Rectified flow (Liu et al. 2022, arXiv 2209.03003): at timestep t, from 0 (clean) to 1 (pure noise), a latent x0
becomes
    z_t = (1 - t) x0 + t eps,    eps ~ N(0, I).
The network predicts x0: errors of x0 predictions contain less of the high frequencies that build up when frames are
fed back (Dreamer 4, arXiv 2509.24527, section 3.2). The loss (training/losses.py) is a root mean square, whose minimum
is the geometric median of all possible x0 and not their mean E[x0 | z_t], which the flow's equation asks for. One
sampling step, as in play, solves no equation, so this makes no difference there; it does with several steps.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

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
