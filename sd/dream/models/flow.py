"""Most of a next frame is the last one, moved: where its pixels come from, and the last frame moved there. Pure models.

Video codecs call it motion compensation. `FlowNet` foresees from the context and the actions alone how the picture will
move; the denoiser then has only to correct what moving cannot know. Nobody tells `FlowNet` what moved: the moved frame
must look like the one that came (Yu et al. 2016, arXiv 1608.05842).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.models.autoencoder import PATCH, ResidualBlock

FOLD = 2  # latent pixels folded into channels, on each side
CHANNELS, CODE, ACTION = 64, 128, 32  # of the picture, of what is known of all of it, of one action
GROUP = 16  # channels in a group of the group normalisation
OCTAVES = 5  # of the waves that tell a pixel's place
UNIT = 5.0  # pixels of a frame: what the network's 1.0 means
FARTHEST = (
    100.0  # pixels: from a context that is wrecked it must not foresee without bounds, and learn from that
)
SCALES = 4  # a frame is compared at: each half as fine as the one before


class FlowNet(nn.Module):
    """From latents and actions to how many frame pixels away each pixel of the next frame stood in the last one."""

    def __init__(self, num_actions: int, context: int, latent_channels: int) -> None:
        super().__init__()
        self.action_embedding = nn.Embedding(num_actions * context, ACTION)  # an action and its place
        waves = 4 * OCTAVES
        self.conv_in = nn.Conv2d(latent_channels * FOLD**2 * context + waves, CHANNELS, 3, padding=1)
        # Without the norms it learns as fast, and some time later blows up.
        self.downsample = nn.Sequential(
            norm(CHANNELS),
            nn.SiLU(),
            nn.Conv2d(CHANNELS, 96, 3, stride=2, padding=1),
            norm(96),
            ResidualBlock(96),
            norm(96),
            nn.SiLU(),
            nn.Conv2d(96, CODE, 3, stride=2, padding=1),
            norm(CODE),
        )
        self.coarse_position = nn.Conv2d(waves, CODE, 1)
        self.code = nn.Sequential(
            nn.Linear(CODE + ACTION * context, 2 * CODE), nn.SiLU(), nn.Linear(2 * CODE, CODE), nn.SiLU()
        )
        self.position = nn.Conv2d(waves, CHANNELS, 1)
        self.modulation = nn.Linear(CODE, 4 * CHANNELS)
        self.norm1, self.norm2 = norm(CHANNELS), norm(CHANNELS)
        self.block = ResidualBlock(CHANNELS)
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_out = nn.Conv2d(CHANNELS, 2 * FOLD**2, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)  # begins by predicting that nothing moves
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, context: Tensor, actions: Tensor) -> Tensor:
        """(B, 2, h, w), x and y, in frame pixels. context (B, L, C, h, w), actions (B, L), as the denoiser's."""
        x = F.pixel_unshuffle(context.flatten(1, 2), FOLD)
        waves = position_features(*x.shape[-2:], x)
        x = self.conv_in(torch.cat([x, waves.expand(len(x), -1, -1, -1)], dim=1))
        whole = self.downsample(x)
        whole = F.silu(whole + self.coarse_position(position_features(*whole.shape[-2:], whole))).mean(
            dim=(2, 3)
        )
        L = actions.shape[1]
        said = self.action_embedding(actions * L + torch.arange(L, device=actions.device)).flatten(1)
        code = self.code(torch.cat([whole, said], dim=1))
        scale1, shift1, scale2, shift2 = self.modulation(code)[:, :, None, None].chunk(4, dim=1)
        x = self.block(self.norm1(x + self.position(waves)) * (1 + scale1) + shift1)
        x = self.norm2(self.conv(F.silu(x))) * (1 + scale2) + shift2
        flow = F.pixel_shuffle(self.conv_out(F.silu(x)), FOLD).float()
        return FARTHEST * torch.tanh(flow * (UNIT / FARTHEST))

    def first_and_last_layers(self) -> tuple[nn.Conv2d, ...]:
        return self.conv_in, self.coarse_position, self.position, self.conv_out


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // GROUP, channels, affine=False)


def position_features(h: int, w: int, like: Tensor) -> Tensor:
    """(1, 4 OCTAVES, h, w): sines and cosines of each pixel's row and column, from half a turn on."""
    places = [(torch.arange(n, device=like.device) + 0.5) / n * 2 - 1 for n in (h, w)]
    y, x = torch.meshgrid(*places, indexing="ij")
    turns = math.pi / 2 * 2 ** torch.arange(OCTAVES, device=like.device)[:, None, None]
    return torch.cat([wave(turns * axis) for axis in (y, x) for wave in (torch.sin, torch.cos)])[None]


def upsample_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """A flow (B, 2, h, w) of the latent's resolution at that of the frame, (B, 2, H, W)."""
    whole = F.interpolate(flow, scale_factor=PATCH, mode="bilinear", align_corners=False)
    return whole[..., : size[0], : size[1]]


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Frames whose pixels stood `flow` away in `frames`: bilinear between pixels, those of the edge beyond it.

    frames (B, 3, H, W); flow (B, 2, H, W), x and y, in pixels.
    """
    H, W = frames.shape[-2:]
    y, x = torch.meshgrid(*(torch.arange(n, device=flow.device) + 0.5 for n in (H, W)), indexing="ij")
    grid = torch.stack([(x + flow[:, 0]) * 2 / W - 1, (y + flow[:, 1]) * 2 / H - 1], dim=-1)
    # No number is nowhere: grid_sample would read there all the same, and crash. The sum lets it be seen in the result.
    moved = F.grid_sample(frames, grid.nan_to_num(), padding_mode="border", align_corners=False)
    return moved + 0 * flow.detach().sum()


def photometric_loss(last: Tensor, following: Tensor, flow: Tensor) -> Tensor:
    """How far frames `last`, moved along flow, are from those `following`, all of (B, ., H, W): mean absolute
    differences, summed over SCALES, at the coarser of which a far move shows its direction."""
    loss = F.l1_loss(warp(last, flow), following)
    for _ in range(SCALES - 1):
        if min(last.shape[-2:]) > 1:
            last, following = F.avg_pool2d(last, 2), F.avg_pool2d(following, 2)
            flow = F.avg_pool2d(flow, 2) / 2
            loss = loss + F.l1_loss(warp(last, flow), following)
    return loss
