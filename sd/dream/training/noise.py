"""Noisy inputs for a training step: timesteps, noise on the targets, noise on real contexts. Pure tensors."""

from typing import NamedTuple

import torch
from torch import Tensor

from dream.common.device import device_generator, to_device
from dream.models.diffusion import add_noise, sample_timesteps

MAX_CONTEXT_NOISE = 0.3  # standard deviation


class NoisyInputs(NamedTuple):
    """Inputs of the denoiser for a batch of B samples."""

    z: Tensor  # noisy targets (B, C, h, w)
    t: Tensor  # timesteps (B,), 0-1
    context: Tensor  # (B, L, C, h, w), some with noise
    context_noise: Tensor  # its standard deviation (B,)
    at_pure_noise: (
        Tensor  # bool (B,), on the CPU: where t is 1, so that the prediction is a frame as play shows it
    )


def add_training_noise(
    context: Tensor,
    target: Tensor,
    is_real: Tensor,
    has_target: Tensor,
    pure_noise_fraction: float,
    generator: torch.Generator,
) -> NoisyInputs:
    """Draws timesteps, the noise on targets (B, C, h, w), and noise on half of the contexts (B, L, C, h, w) that
    are real.

    The network is given the level of the context noise (GameNGen, arXiv 2408.14837, section 3.2.1). is_real: bool
    (B,), contexts without a generated frame; generated ones have errors of their own. has_target: bool (B,);
    samples without a target begin at pure noise. Both masks are on the CPU, the latents on any device. All draws
    are for the whole batch, so that they do not depend on how many processes share it."""
    B, device = len(target), target.device
    noise_generator = device_generator(device, generator)

    def noise_like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=noise_generator, device=device)

    noisy = is_real & (torch.rand(B, generator=generator) < 0.5)
    context_noise = to_device(torch.rand(B, generator=generator) * MAX_CONTEXT_NOISE * noisy, device)
    context = context + context_noise[:, None, None, None, None] * noise_like(context)
    t = torch.where(has_target, sample_timesteps(B, pure_noise_fraction, generator), 1.0)
    at_pure_noise = t == 1
    t = to_device(t, device)
    return NoisyInputs(add_noise(target, noise_like(target), t), t, context, context_noise, at_pure_noise)
