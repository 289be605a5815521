"""The autoencoder: a frame to a small latent and back, 4 x 4 pixels per latent pixel. No file access.

It consists of pixel-unshuffle and 3x3 convolutions at the latent's resolution. The encoder ends in a batch norm without
scale and shift, so the latents have mean 0 and variance 1 in each channel; its statistics are part of the checkpoint.

The decoder uses two properties of games. Displays (score, map) have a fixed position, so every latent pixel has a
learned position embedding. And games have few colours and hard edges, so every pixel is a mixture of a small learned
palette: its softmax weights change abruptly at an edge, where a linear layer blurs it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 4  # frame pixels per latent pixel, along each axis
DECODE_BATCH = {"cpu": 4, "cuda": 64}  # frames per forward pass; larger batches do not fit in a CPU's caches
SIZE_MULTIPLE = 16  # frames are padded to multiples of it: the denoiser halves the latent twice


@dataclass(frozen=True)
class AutoencoderConfig:
    """Settings of the autoencoder, stored in encoder.pt and decoder.pt."""

    height: int  # of a frame, pixels; any size
    width: int
    latent_channels: int = 4
    channels: int = 96
    encoder_blocks: int = 1
    decoder_blocks: int = 2
    num_colors: int = 24  # in the decoder's palette

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape of a frame's latent: C, h, w."""
        return (
            self.latent_channels,
            pad_to_multiple(self.height) // PATCH,
            pad_to_multiple(self.width) // PATCH,
        )


def pad_to_multiple(size: int) -> int:
    """`size` rounded up to a multiple of SIZE_MULTIPLE."""
    return (size + SIZE_MULTIPLE - 1) // SIZE_MULTIPLE * SIZE_MULTIPLE


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a residual connection, (B, channels, h, w); initially the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        nn.init.zeros_(self.convolutions[-1].weight)
        nn.init.zeros_(self.convolutions[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolutions(x)


class Encoder(nn.Module):
    """Encodes frames as latents of mean 0 and variance 1 per channel."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(PATCH),  # (B, 3, H, W) -> (B, 48, H/4, W/4)
            nn.Conv2d(3 * PATCH**2, config.channels, 3, padding=1),
            *(ResidualBlock(config.channels) for _ in range(config.encoder_blocks)),
            nn.SiLU(),
            nn.Conv2d(config.channels, config.latent_channels, 3, padding=1),
        )
        self.latent_norm = nn.BatchNorm2d(config.latent_channels, affine=False, momentum=0.05)

    def first_and_last_layers(self) -> tuple[nn.Conv2d, ...]:
        """Convolutions from pixels and to latents: AdamW trains them, Muon the other convolutions."""
        return self.layers[1], self.layers[-1]

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W), 0-1, of any size -> latents (B, C, h, w), about N(0, 1), of the padded frames."""
        H, W = frames.shape[-2:]
        frames = F.pad(frames, (0, pad_to_multiple(W) - W, 0, pad_to_multiple(H) - H), mode="replicate")
        return self.latent_norm(self.layers(frames * 2 - 1).float())


class Decoder(nn.Module):
    """Decodes latents to frames; each pixel is a mixture of the `num_colors` colours of a learned palette."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        C, h, w = config.latent_shape
        self.stem = nn.Conv2d(C, config.channels, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(1, config.channels, h, w))
        self.palette_logits = nn.Sequential(  # of each colour in each pixel
            *(ResidualBlock(config.channels) for _ in range(config.decoder_blocks)),
            nn.SiLU(),
            nn.Conv2d(config.channels, config.num_colors * PATCH**2, 1),
        )
        # The weights (3, num_colors, 1, 1) are the colours, -1 to 1.
        self.palette = nn.Conv2d(config.num_colors, 3, 1)
        nn.init.normal_(self.palette.weight, std=0.7)

    def forward(
        self, latents: Tensor, size: tuple[int, int] | None = None, crop_origin: Tensor | None = None
    ) -> Tensor:
        """Latents (B, C, h, w) -> frames (B, 3, H, W), about 0-1 (not clamped), without the padding.

        `size`: (H, W) of the output, by default the size in the configuration. `crop_origin`: if the latents are of
        crops, row and column of each crop's upper left latent pixel in the whole frame's latent, integers (B, 2).
        """
        H, W = size or (self.config.height, self.config.width)
        x = self.stem(latents)
        x = self.palette_logits[:-1](x + self.positions(crop_origin, *latents.shape[-2:]).to(x.dtype))
        # With channels last in memory, a float32 softmax over the colours and one matrix product for the 16 frame
        # pixels of a latent pixel are the fastest way on a CPU.
        num_colors, pixels = self.config.num_colors, PATCH**2
        x = self.palette_logits[-1](x).permute(0, 2, 3, 1).unflatten(3, (num_colors, pixels))
        x = x.float().softmax(dim=3).flatten(3)  # (B, h, w, colours * pixels)
        same_pixel = torch.eye(pixels, device=x.device)
        mix = torch.einsum("rc,pq->cprq", self.palette.weight.flatten(1), same_pixel).flatten(2).flatten(0, 1)
        mixed = x @ mix + self.palette.bias.repeat_interleave(pixels)  # (B, h, w, 3 * pixels)
        frames = F.pixel_shuffle(mixed.permute(0, 3, 1, 2), PATCH)
        return (frames[..., :H, :W] + 1) / 2

    def first_and_last_layers(self) -> tuple[nn.Conv2d, ...]:
        """Convolutions from latents and to pixels: AdamW trains them, Muon the other convolutions."""
        return self.stem, self.palette_logits[-1], self.palette

    def positions(self, crop_origin: Tensor | None, h: int, w: int) -> Tensor:
        """Position embedding: (1, channels, h, w) of the whole frame, or (B, channels, h, w) of crops of it."""
        if crop_origin is None:
            return self.position
        rows, columns = (
            origin[:, None] + torch.arange(size, device=origin.device)
            for origin, size in zip(crop_origin.unbind(dim=1), (h, w), strict=True)
        )  # (B, h), (B, w)
        # The gradient of F.embedding is a single kernel; with slices, each crop would need one or two kernels.
        indices = rows[:, :, None] * self.position.shape[3] + columns[:, None, :]  # (B, h, w)
        return F.embedding(indices, self.position[0].flatten(1).T).permute(0, 3, 1, 2)


@torch.no_grad()
def decode(decoder: Decoder, latents: Tensor) -> Tensor:
    """Latents (..., C, h, w) -> frames (..., 3, H, W), about 0-1, DECODE_BATCH frames per forward pass."""
    flat = latents.reshape(-1, *latents.shape[-3:])
    frames = torch.cat([decoder(part.float()) for part in flat.split(DECODE_BATCH[latents.device.type])])
    return frames.reshape(*latents.shape[:-3], *frames.shape[1:])
