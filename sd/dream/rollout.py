"""The next latent from a context, and many in a row: what training, validation and play all do. Pure tensors."""

import torch
from torch import Tensor

from dream.diffusion import sample
from dream.unet import UNet


def next_latent(
    unet: UNet, context: Tensor, actions: Tensor, noise: Tensor, steps: int, context_level: float = 0.0
) -> Tensor:
    """(B, C, h, w) dreamed from context (B, L, C, h, w) and actions (B, L), the last of which leads to it.

    noise: (B, C, h, w), what sampling starts from. context_level: how noisy the network is told that the context is,
    0-1; the context itself is used as it stands.
    """
    told = torch.full((len(context),), context_level, device=context.device)
    return sample(lambda z, t: unet(z, t, context, actions, told), noise, steps)


@torch.no_grad()
def roll_out(
    unet: UNet,
    context: Tensor,
    actions: Tensor,
    steps: int,
    generator: torch.Generator,
    context_level: float = 0.0,
) -> Tensor:
    """Latents (B, F, C, h, w) of F frames in a row, each dreamed from those before it.

    context: (B, L, C, h, w), real. actions: (B, L + F - 1): actions[:, L - 1] leads to the first frame dreamed.
    """
    L = context.shape[1]
    frames = []
    for last in range(L, actions.shape[1] + 1):
        noise = torch.randn(context[:, -1].shape, generator=generator).to(context.device)
        frame = next_latent(unet, context, actions[:, last - L : last], noise, steps, context_level)
        context = torch.cat([context[:, 1:], frame[:, None]], dim=1)
        frames.append(frame)
    return torch.stack(frames, dim=1)
