"""Samples the next latent, in training, validation and play (TorchBackend), and rollouts of many latents."""

from collections.abc import Callable

import torch
from torch import Tensor

from dream.models.diffusion import sample
from dream.models.unet import UNet


def suppress_small_changes(latent: Tensor, last: Tensor, threshold: float) -> Tensor:
    """Returns `latent` (B, C, h, w), with the values of `last` at pixels where the change is below `threshold`.

    The change of a pixel is the RMS over the channels, in units of latents. While nothing moves, the model still
    changes each frame slightly; over a rollout these changes would accumulate to visible noise.
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
    """Samples the next latent (B, C, h, w) from context latents (B, L, C, h, w) and actions int64 (B, L).

    The last action leads to the new latent. noise: (B, C, h, w), from N(0, 1), where sampling starts. steps: number of
    Euler steps. last_frame: (B, 3, H, W), the decoded last latent, if it has been computed already.
    """
    warped = unet.warp_last_latent(context, actions, last_frame=last_frame)
    latent = sample(lambda z, t: unet(z, t, context, actions, warped=warped), noise, steps)
    return suppress_small_changes(latent, context[:, -1], unet.config.change_threshold)


@torch.no_grad()
def rollout(
    unet: UNet, context: Tensor, actions: Tensor, steps: int, generator: torch.Generator,
    on_frames: Callable[[int], bool] | None = None,
) -> Tensor:  # fmt: skip
    """F generated latents (B, F, C, h, w), each sampled from the context that contains the ones before it.

    context: real latents (B, L, C, h, w). actions: int64 (B, L + F - 1); actions[:, L - 1] leads to the first generated
    frame. steps: sampling steps per frame. on_frames: called with the number of new frames, for a progress bar;
    the rollout ends where it returns True.
    """
    L, latents = context.shape[1], []
    for end in range(L, actions.shape[1] + 1):
        noise = torch.randn(context[:, -1].shape, generator=generator).to(context.device)
        latents.append(sample_next_latent(unet, context, actions[:, end - L : end], noise, steps))
        context = torch.cat([context[:, 1:], latents[-1][:, None]], dim=1)
        if on_frames and on_frames(len(context)):
            break
    return torch.stack(latents, dim=1)
