"""The baseline of benchmark_sd.py: an untrained network of the size of the original Dream-Mario-Kart's.

19.8 M weights and 4.34 GFLOP per pass at latents of 4 x 28 x 64 (the original: 19.9 M and 4.33 GFLOP); a frame takes
REFERENCE_STEPS passes. It is a plain U-Net: no pixel-unshuffle, no flow, three levels. The residual block and the
timestep embedding are those of unet.py. The forward pass is written out here, so that changes that make UNet faster
leave the baseline as it is.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.models.unet import AdaGNResBlock, UNet, UNetConfig, timestep_embedding

REFERENCE_STEPS = 7  # passes per frame
CHANNELS = (48, 96, 416)  # at 1, 1/2 and 1/4 of the latent's resolution
EMBEDDING = 520
BLOCKS = 2  # residual blocks per level, down and up


class ReferenceUNet(nn.Module):
    """Has the interface of a UNet without flow, as far as `sample_next_latent` uses it."""

    warp_last_latent = UNet.warp_last_latent
    flow = None

    def __init__(self, num_actions: int, latent_channels: int = 4, context: int = 4) -> None:
        super().__init__()
        self.config = UNetConfig(num_actions, latent_channels, context, CHANNELS, BLOCKS, EMBEDDING)

        def blocks(inputs: int, outputs: int) -> nn.ModuleList:
            rest = (AdaGNResBlock(outputs, outputs, EMBEDDING) for _ in range(BLOCKS - 1))
            return nn.ModuleList([AdaGNResBlock(inputs, outputs, EMBEDDING), *rest])

        pairs = list(itertools.pairwise(CHANNELS))
        E = EMBEDDING
        self.action_embedding = nn.Embedding(num_actions, E // context)
        self.embed = nn.Sequential(nn.Linear(3 * E, E), nn.SiLU(), nn.Linear(E, E), nn.SiLU())
        self.conv_in = nn.Conv2d(latent_channels * (context + 1), CHANNELS[0], 3, padding=1)
        self.down = nn.ModuleList(blocks(width, width) for width in CHANNELS)
        self.downsample = nn.ModuleList(
            nn.Conv2d(width, wider, 3, stride=2, padding=1) for width, wider in pairs
        )
        self.middle = blocks(CHANNELS[-1], CHANNELS[-1])
        self.up_proj = nn.ModuleList(nn.Conv2d(wider, width, 1) for width, wider in pairs)
        self.up = nn.ModuleList(blocks(2 * width, width) for width in CHANNELS[:-1])
        self.conv_out = nn.Conv2d(CHANNELS[0], latent_channels, 3, padding=1)

    def forward(
        self,
        z: Tensor,
        t: Tensor,
        context: Tensor,
        actions: Tensor,
        context_noise: Tensor | None = None,
        warped: Tensor | None = None,
    ) -> Tensor:
        """Inputs and output as those of `UNet.forward`; context_noise and warped are ignored."""
        features = self.action_embedding(actions).flatten(1)
        timesteps = [timestep_embedding(each, EMBEDDING) for each in (t, torch.zeros_like(t))]
        embedding = self.embed(torch.cat([features, *timesteps], dim=1))
        x = self.conv_in(torch.cat([z, context.flatten(1, 2)], dim=1))  # (B, CHANNELS[0], h, w)
        skips = []
        for level, stage in enumerate(self.down):
            for block in stage:
                x = block(x, embedding)
            if level < len(self.downsample):
                skips.append(x)
                x = self.downsample[level](x)
        for block in self.middle:
            x = block(x, embedding)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.up_proj[level](x), scale_factor=2.0, mode="nearest")
            x = torch.cat([x, skips[level]], dim=1)
            for block in self.up[level]:
                x = block(x, embedding)
        return self.conv_out(F.silu(x))
