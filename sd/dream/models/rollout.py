"""Samples the next latent, in training, validation and play (TorchBackend), and rollouts of many latents."""

from collections.abc import Callable

import torch
from torch import Tensor

from dream.models.diffusion import sample
from dream.models.unet import UNet, UNetConfig

# Mean change of a pixel by the warp, in units of latents, up to which the picture stands still. At twice as much it
# moves. A kart that has stopped has 0.001 to 0.01, one that starts exceeds it in the second frame (sd/NOTES.md).
STILL_CHANGE = 0.01


def suppress_small_changes(latent: Tensor, last: Tensor, threshold: float | Tensor) -> Tensor:
    """Returns `latent` (B, C, h, w), with the values of `last` where the change of a pixel is below `threshold`, a
    number or (B, 1, 1, 1).

    The change of a pixel is `pixel_change`. While nothing moves, the model still changes each frame slightly; over a
    rollout these changes would accumulate to visible noise.
    """
    return torch.where(pixel_change(latent, last) < threshold, last, latent)


def pixel_change(latent: Tensor, last: Tensor) -> Tensor:
    """The root mean square over the channels of a change of latents (B, C, h, w): (B, 1, h, w)."""
    return (latent - last).pow(2).mean(dim=1, keepdim=True).sqrt()


def suppression_threshold(config: UNetConfig, warped: Tensor, last: Tensor) -> float | Tensor:
    """The threshold of `suppress_small_changes` for the frame after the latent `last` (B, C, h, w), which the flow has
    warped to `warped`: `config.change_threshold`; while the picture stands still, `config.still_threshold`.

    A denoiser keeps a standing picture that is encoded from the game. One that it has generated it corrects in every
    frame, by more than `change_threshold` in places, and the road melts. The flow is reliable there: almost zero."""
    base, still = config.change_threshold, config.still_threshold
    if not config.use_flow or still <= base:
        return base
    change = pixel_change(warped, last).mean(dim=(1, 2, 3), keepdim=True)
    return base + (still - base) * (2 - change / STILL_CHANGE).clamp(0, 1)


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
    last = context[:, -1]
    return suppress_small_changes(latent, last, suppression_threshold(unet.config, warped, last))


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
