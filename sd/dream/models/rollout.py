"""Sampling the next latent, and many in a row; training, validation and play all use this. Pure tensors."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dream.models.diffusion import sample
from dream.models.unet import UNet


def suppress_small_changes(latent: Tensor, last: Tensor, threshold: float) -> Tensor:
    """`latent` (B, C, h, w), but the `last` one at pixels whose change is below `threshold` (RMS over channels).

    While a kart stands still the model changes each frame by very little; added up over a rollout it becomes noise.
    """
    change = (latent - last).pow(2).mean(dim=1, keepdim=True).sqrt()  # (B, 1, h, w)
    return torch.where(change < threshold, last, latent)


def sample_next_latent(
    unet: UNet,
    context: Tensor,
    actions: Tensor,
    noise: Tensor,
    steps: int,
    last_frame: Tensor | None = None,
) -> Tensor:
    """The next latent (B, C, h, w) after context (B, L, C, h, w) under actions int64 (B, L), the last of which
    leads to it.

    noise: (B, C, h, w), where sampling starts; steps: Euler steps. last_frame: (B, 3, H, W), the last latent decoded,
    where it has been computed.
    """
    warped = unet.warp_last_latent(context, actions, last_frame=last_frame)
    latent = sample(lambda z, t: unet(z, t, context, actions, warped=warped), noise, steps)
    return suppress_small_changes(latent, context[:, -1], unet.config.change_threshold)


@torch.no_grad()
def iterate_rollout(
    unet: UNet,
    context: Tensor,
    actions: Tensor,
    steps: int,
    generator: torch.Generator,
    feedback: Callable[[Tensor], Tensor] = lambda latent: latent,
) -> Iterator[Tensor]:
    """Yields F generated latents (B, C, h, w), each sampled from the context that the ones before it have become.

    context: real latents (B, L, C, h, w). actions: int64 (B, L + F - 1); actions[:, L - 1] leads to the first
    generated frame. feedback: what is done to a latent before it enters the context."""
    L = context.shape[1]
    for end in range(L, actions.shape[1] + 1):
        noise = torch.randn(context[:, -1].shape, generator=generator).to(context.device)
        latent = sample_next_latent(unet, context, actions[:, end - L : end], noise, steps)
        context = torch.cat([context[:, 1:], feedback(latent)[:, None]], dim=1)
        yield latent


def rollout(unet: UNet, context: Tensor, actions: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """All latents of `iterate_rollout`, stacked: (B, F, C, h, w)."""
    return torch.stack(list(iterate_rollout(unet, context, actions, steps, generator)), dim=1)
