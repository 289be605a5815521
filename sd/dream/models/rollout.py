"""The next latent from a context, and many in a row: what training, validation and play all do. Pure tensors."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dream.models.diffusion import sample
from dream.models.unet import UNet


def suppress_small_changes(latent: Tensor, last: Tensor, change_threshold: float) -> Tensor:
    """`latent` (B, C, h, w), but the `last` one wherever a pixel has changed by less than `change_threshold`, root mean square
    over its channels, in units of their deviation.

    A kart that stands shows why: what the model then changes a frame is so small, and added up it is confetti.
    """
    change = (latent - last).pow(2).mean(dim=1, keepdim=True).sqrt()  # (B, 1, h, w)
    return torch.where(change < change_threshold, last, latent)


def sample_next_latent(
    unet: UNet, context: Tensor, actions: Tensor, noise: Tensor, steps: int, context_level: float = 0.0,
    last: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """(B, C, h, w) dreamed from context (B, L, C, h, w) and actions (B, L), the last of which leads to it.

    noise: (B, C, h, w), what sampling starts from. context_level: how noisy the network is told that the context is,
    0-1; the context itself is used as it stands. last: (B, 3, H, W), the last latent decoded, where it is at hand.
    """
    told = torch.full((len(context),), context_level, device=context.device)
    moved = unet.warp_last_latent(context, actions, last=last)
    latent = sample(lambda z, t: unet(z, t, context, actions, told, moved), noise, steps)
    return suppress_small_changes(latent, context[:, -1], unet.config.change_threshold)


@torch.no_grad()
def iterate_rollout(
    unet: UNet,
    context: Tensor,
    actions: Tensor,
    steps: int,
    generator: torch.Generator,
    context_level: float = 0.0,
    remember: Callable[[Tensor], Tensor] = lambda frame: frame,
) -> Iterator[Tensor]:
    """Frames in a row, one by one, as latents (B, C, h, w), each dreamed from those before it.

    context: (B, L, C, h, w), real. actions: (B, L + F - 1): actions[:, L - 1] leads to the first frame dreamed.
    remember: what becomes of a frame that goes back into the context.
    """
    L = context.shape[1]
    for last in range(L, actions.shape[1] + 1):
        noise = torch.randn(context[:, -1].shape, generator=generator).to(context.device)
        frame = sample_next_latent(unet, context, actions[:, last - L : last], noise, steps, context_level)
        context = torch.cat([context[:, 1:], remember(frame)[:, None]], dim=1)
        yield frame


def rollout(
    unet: UNet,
    context: Tensor,
    actions: Tensor,
    steps: int,
    generator: torch.Generator,
    context_level: float = 0.0,
) -> Tensor:
    """All frames of a `iterate_rollout`: latents (B, F, C, h, w)."""
    return torch.stack(list(iterate_rollout(unet, context, actions, steps, generator, context_level)), dim=1)
