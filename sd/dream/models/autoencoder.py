"""The autoencoder: a frame to a small latent and back, four pixels to one on each side. Pure models.

Pixel-unshuffle and 3x3 convolutions at the latent's own resolution. The encoder ends in a batch normalisation without
scale or shift, so latents come out with mean 0 and variance 1 in each channel, by statistics that its file keeps.

The decoder knows two things of games. A display stands where it stands: each place of the picture has an embedding
of its own. And edges are hard, colours few: every pixel is a mixture of a small learned palette, whose softmax is
as steep as an edge needs, where a linear layer blurs it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 4  # frame pixels to a latent pixel, on each side
DECODE_BATCH = {"cpu": 4, "cuda": 64}  # frames at a time: what more of them want leaves a CPU's caches
SIZE_MULTIPLE = 16  # frames are padded to multiples of this: the diffusion model halves the latent twice


@dataclass(frozen=True)
class AutoencoderConfig:
    """Travels in encoder.pt and decoder.pt."""

    height: int  # of a frame, pixels; any
    width: int
    latent_channels: int = 4
    channels: int = 96
    encoder_blocks: int = 1
    decoder_blocks: int = 2
    num_colors: int = 24  # of the decoder's palette

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of a frame's latent."""
        return (
            self.latent_channels,
            pad_to_multiple(self.height) // PATCH,
            pad_to_multiple(self.width) // PATCH,
        )


def pad_to_multiple(size: int) -> int:
    return (size + SIZE_MULTIPLE - 1) // SIZE_MULTIPLE * SIZE_MULTIPLE


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        nn.init.zeros_(self.convolutions[-1].weight)  # begins as the identity
        nn.init.zeros_(self.convolutions[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolutions(x)


class Encoder(nn.Module):
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
        return self.layers[1], self.layers[-1]

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W), 0-1, any size -> latents (B, C, h, w), about N(0, 1), of the padded frame."""
        H, W = frames.shape[-2:]
        frames = F.pad(frames, (0, pad_to_multiple(W) - W, 0, pad_to_multiple(H) - H), mode="replicate")
        return self.latent_norm(self.layers(frames * 2 - 1).float())


class Decoder(nn.Module):
    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        C, h, w = config.latent_shape
        self.stem = nn.Conv2d(C, config.channels, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(1, config.channels, h, w))
        self.palette_logits = nn.Sequential(  # of each colour in each pixel, before the softmax
            *(ResidualBlock(config.channels) for _ in range(config.decoder_blocks)),
            nn.SiLU(),
            nn.Conv2d(config.channels, config.num_colors * PATCH**2, 1),
        )
        self.palette = nn.Conv2d(
            config.num_colors, 3, 1
        )  # its weights (3, colours, 1, 1) are the colours, -1 to 1
        nn.init.normal_(self.palette.weight, std=0.7)

    def forward(
        self, latents: Tensor, size: tuple[int, int] | None = None, crop_origin: Tensor | None = None
    ) -> Tensor:
        """Latents (B, C, h, w) -> frames (B, 3, H, W), about 0-1 (not clamped), without the padding.

        `size`: (H, W) to cut to, by default the configuration's. `crop_origin`: where latents are of crops, the row
        and column of each crop's upper left latent pixel in the whole frame's, integers (B, 2)."""
        H, W = size or (self.config.height, self.config.width)
        x = self.stem(latents)
        x = self.palette_logits[:-1](x + self.positions(crop_origin, *latents.shape[-2:]).to(x.dtype))
        # In memory the channels of a place lie side by side, so its 16 pixels stand in a row for each colour: a
        # softmax over such rows, in float32, and one matrix for all pixels of a place, are the fastest way on a
        # CPU.
        num_colors, pixels = self.config.num_colors, PATCH**2
        x = self.palette_logits[-1](x).permute(0, 2, 3, 1).unflatten(3, (num_colors, pixels))
        x = x.float().softmax(dim=3).flatten(3)  # (B, h, w, colours * pixels)
        same_pixel = torch.eye(pixels, device=x.device)
        mix = torch.einsum("rc,pq->cprq", self.palette.weight.flatten(1), same_pixel).flatten(2).flatten(0, 1)
        mixed = x @ mix + self.palette.bias.repeat_interleave(pixels)  # (B, h, w, 3 * pixels)
        frames = F.pixel_shuffle(mixed.permute(0, 3, 1, 2), PATCH)
        return (frames[..., :H, :W] + 1) / 2

    def first_and_last_layers(self) -> tuple[nn.Conv2d, ...]:
        return self.stem, self.palette_logits[-1], self.palette

    def positions(self, crop_origin: Tensor | None, h: int, w: int) -> Tensor:
        """(1, channels, h, w) of the whole frame, or (B, channels, h, w) of crops of it."""
        if crop_origin is None:
            return self.position
        rows, columns = (
            each[:, None] + torch.arange(n, device=each.device)
            for each, n in zip(crop_origin.unbind(dim=1), (h, w), strict=True)
        )  # (B, h), (B, w)
        # an embedding: its gradient is one sum over places, that of a slice for each crop a launch or two each
        places = rows[:, :, None] * self.position.shape[3] + columns[:, None, :]
        return F.embedding(places, self.position[0].flatten(1).T).permute(0, 3, 1, 2)


@torch.no_grad()
def decode(decoder: Decoder, latents: Tensor) -> Tensor:
    """(..., C, h, w) -> frames (..., 3, H, W), DECODE_BATCH at a time."""
    flat = latents.reshape(-1, *latents.shape[-3:])
    frames = torch.cat([decoder(part.float()) for part in flat.split(DECODE_BATCH[latents.device.type])])
    return frames.reshape(*latents.shape[:-3], *frames.shape[1:])
