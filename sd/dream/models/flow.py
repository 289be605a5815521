"""Optical flow: a network that predicts the motion to the next frame, and backward warping. No file access.

Most of the next frame is the last one, displaced (motion compensation of video codecs). `FlowNet` predicts the motion
from the context and the actions; the denoiser adds what a warp cannot produce. The flow is trained without labels, by
the difference of the warped last frame and the real next frame (Yu et al. 2016, arXiv 1608.05842)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.models.autoencoder import PATCH, ResidualBlock

PIXEL_UNSHUFFLE = 2  # latent pixels folded into channels, per side
CHANNELS, CODE_DIM, ACTION_DIM = 64, 128, 32  # of the feature maps, the global code, one action's embedding
GROUP_SIZE = 16  # channels per group of the group norms
NUM_FREQUENCIES = 5  # of the position features
FLOW_SCALE = 5.0  # frame pixels that an output of 1.0 stands for
MAX_FLOW_PX = 100.0  # bound of the flow, and so of its gradient, for contexts of diverged rollouts
NUM_SCALES = 4  # resolutions of the photometric loss, each half of the one before
INTERPOLATIONS = ("bilinear", "bicubic")  # of a warp


class FlowNet(nn.Module):
    """Predicts for each pixel of the next frame the displacement to its position in the last frame (backward flow)."""

    def __init__(self, num_actions: int, context: int, latent_channels: int) -> None:
        super().__init__()
        self.action_embedding = nn.Embedding(num_actions * context, ACTION_DIM)  # per action and position
        position_dim = 4 * NUM_FREQUENCIES
        inputs = latent_channels * PIXEL_UNSHUFFLE**2 * context + position_dim
        self.conv_in = nn.Conv2d(inputs, CHANNELS, 3, padding=1)
        # Without the group norms, training diverges after some 250 steps (sd/NOTES.md).
        self.downsample = nn.Sequential(
            norm(CHANNELS),
            nn.SiLU(),
            nn.Conv2d(CHANNELS, 96, 3, stride=2, padding=1),
            norm(96),
            ResidualBlock(96),
            norm(96),
            nn.SiLU(),
            nn.Conv2d(96, CODE_DIM, 3, stride=2, padding=1),
            norm(CODE_DIM),
        )
        self.coarse_position = nn.Conv2d(position_dim, CODE_DIM, 1)
        self.code = nn.Sequential(
            nn.Linear(CODE_DIM + ACTION_DIM * context, 2 * CODE_DIM),
            nn.SiLU(),
            nn.Linear(2 * CODE_DIM, CODE_DIM),
            nn.SiLU(),
        )
        self.position = nn.Conv2d(position_dim, CHANNELS, 1)
        self.modulation = nn.Linear(CODE_DIM, 4 * CHANNELS)
        self.norm1, self.norm2 = norm(CHANNELS), norm(CHANNELS)
        self.block = ResidualBlock(CHANNELS)
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_out = nn.Conv2d(CHANNELS, 2 * PIXEL_UNSHUFFLE**2, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)  # initially the flow is zero
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, context: Tensor, actions: Tensor) -> Tensor:
        """Flow float32 (B, 2, h, w), x and y components in frame pixels, within +-MAX_FLOW_PX.

        context: latents (B, L, C, h, w), oldest first. actions: int64 (B, L); the last one leads to the next frame.
        """
        x = F.pixel_unshuffle(context.flatten(1, 2), PIXEL_UNSHUFFLE)
        position = position_features(*x.shape[-2:], x)
        x = self.conv_in(torch.cat([x, position.expand(len(x), -1, -1, -1)], dim=1))
        coarse = self.downsample(x)
        coarse_position = self.coarse_position(position_features(*coarse.shape[-2:], coarse))
        pooled = F.silu(coarse + coarse_position).mean(dim=(2, 3))  # (B, CODE_DIM)
        L = actions.shape[1]
        action_positions = actions * L + torch.arange(L, device=actions.device)  # (B, L)
        action_features = self.action_embedding(action_positions).flatten(1)  # (B, L ACTION_DIM)
        code = self.code(torch.cat([pooled, action_features], dim=1))
        scale1, shift1, scale2, shift2 = self.modulation(code)[:, :, None, None].chunk(4, dim=1)
        x = self.block(self.norm1(x + self.position(position)) * (1 + scale1) + shift1)
        x = self.norm2(self.conv(F.silu(x))) * (1 + scale2) + shift2
        flow = F.pixel_shuffle(self.conv_out(F.silu(x)), PIXEL_UNSHUFFLE).float()
        return MAX_FLOW_PX * torch.tanh(flow * (FLOW_SCALE / MAX_FLOW_PX))

    def first_and_last_layers(self) -> tuple[nn.Conv2d, ...]:
        """Convolutions from and to latents, positions and flows: AdamW trains them, Muon the other convolutions."""
        return self.conv_in, self.coarse_position, self.position, self.conv_out


def norm(channels: int) -> nn.GroupNorm:
    """Group norm of GROUP_SIZE channels per group, without scale and shift."""
    return nn.GroupNorm(channels // GROUP_SIZE, channels, affine=False)


def position_features(h: int, w: int, like: Tensor) -> Tensor:
    """Fourier features (1, 4 NUM_FREQUENCIES, h, w) of each pixel's row and column, on the device of `like`."""
    axes = [(torch.arange(n, device=like.device) + 0.5) / n * 2 - 1 for n in (h, w)]
    y, x = torch.meshgrid(*axes, indexing="ij")
    frequencies = math.pi / 2 * 2 ** torch.arange(NUM_FREQUENCIES, device=like.device)[:, None, None]
    return torch.cat([wave(frequencies * axis) for axis in (y, x) for wave in (torch.sin, torch.cos)])[None]


def upsample_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """A flow (B, 2, h, w) at the latent's resolution -> (B, 2, H, W) at the frame's; values stay in frame pixels."""
    upsampled = F.interpolate(flow, scale_factor=PATCH, mode="bilinear", align_corners=False)
    return upsampled[..., : size[0], : size[1]]


def warp(frames: Tensor, flow: Tensor, interpolation: str = "bilinear") -> Tensor:
    """Backward warping: output pixel p is `frames` at p + flow(p), interpolated, with the border repeated outside.

    frames: (B, 3, H, W). flow: (B, 2, H, W), x and y, in pixels. interpolation: one of INTERPOLATIONS; "bilinear" is a
    low-pass filter, "bicubic" (Keys 1981, a = -0.75) keeps more detail and overshoots at edges. A NaN anywhere in the
    flow of a frame makes that whole frame NaN.
    """
    H, W = frames.shape[-2:]
    y, x = torch.meshgrid(*(torch.arange(n, device=flow.device) + 0.5 for n in (H, W)), indexing="ij")
    grid = torch.stack([(x + flow[:, 0]) * 2 / W - 1, (y + flow[:, 1]) * 2 / H - 1], dim=-1)
    # grid_sample reads out of bounds at NaN and may crash; the sum carries the NaN into the result instead.
    warped = F.grid_sample(frames, grid.nan_to_num(), interpolation, "border", align_corners=False)
    return warped + 0 * flow.detach().sum(dim=(1, 2, 3), keepdim=True)


def photometric_loss(last_frame: Tensor, next_frame: Tensor, flow: Tensor) -> Tensor:
    """Mean absolute difference between the warped last frame and the next one, summed over NUM_SCALES resolutions.

    Frames (B, 3, H, W), 0-1; flow (B, 2, H, W) in pixels. At the coarse scales a large motion still has a gradient.
    """
    loss = F.l1_loss(warp(last_frame, flow), next_frame)
    for _ in range(NUM_SCALES - 1):
        if min(last_frame.shape[-2:]) > 1:
            last_frame, next_frame = F.avg_pool2d(last_frame, 2), F.avg_pool2d(next_frame, 2)
            flow = F.avg_pool2d(flow, 2) / 2
            loss = loss + F.l1_loss(warp(last_frame, flow), next_frame)
    return loss
