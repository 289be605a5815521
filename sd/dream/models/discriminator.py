"""The discriminator of the adversarial loss: classifies single latents as real (encoded) or generated."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.models.flow import NUM_FREQUENCIES, PIXEL_UNSHUFFLE, position_features

CHANNELS = (64, 96, 128)  # at 1/2, 1/4 and 1/8 of the latent's resolution


class Discriminator(nn.Module):
    """From latents (B, C, h, w) to logits (B,), the mean of patch logits at three resolutions (PatchGAN, Isola et al.
    2017, arXiv 1611.07004). A larger logit means more probably real."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        inputs = (latent_channels * PIXEL_UNSHUFFLE**2 + 4 * NUM_FREQUENCIES, *CHANNELS)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=stride, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(after, after, 3, padding=1),
                nn.LeakyReLU(0.2),
            )
            for stride, (before, after) in zip((1, 2, 2), itertools.pairwise(inputs), strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in CHANNELS)

    def forward(self, latents: Tensor) -> Tensor:
        x = F.pixel_unshuffle(latents, PIXEL_UNSHUFFLE)
        x = torch.cat([x, position_features(*x.shape[-2:], x).expand(len(x), -1, -1, -1)], dim=1)
        logits = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            logits.append(head(x).float().mean(dim=(1, 2, 3)))
        return torch.stack(logits).mean(dim=0)
