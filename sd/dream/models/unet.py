"""The denoiser: a small U-Net that predicts the clean next latent from the context, the actions and a noisy latent.

The context latents are concatenated with the noisy latent as channels (DIAMOND, arXiv 2405.12399). Actions,
timestep and context-noise level enter through adaptive group normalisation (Dhariwal & Nichol 2021, arXiv
2105.05233). Latents are pixel-unshuffled 2x2 first, so that the widest convolutions run at a quarter of the pixels.
With `use_flow` the prediction is a residual on the last frame warped by a predicted optical flow (flow.py);
without, on the last frame itself."""

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.models.autoencoder import Decoder, Encoder, decode
from dream.models.flow import GROUP_SIZE, INTERPOLATIONS, PIXEL_UNSHUFFLE, FlowNet, upsample_flow, warp

# Bound of the elements of a predicted latent. Latents have variance 1 and stay far below it; without a bound, a
# diverging rollout would grow without limit.
MAX_LATENT = 8.0
PREDICTION_TYPES = ("x0", "regression")


@dataclass(frozen=True)
class UNetConfig:
    """Settings of the denoiser; they are stored in its checkpoint."""

    num_actions: int
    latent_channels: int = 4
    context: int = 4  # L: frames, and actions, that the next frame is predicted from
    channels: tuple[int, ...] = (96, 192)  # at 1/2 and 1/4 of the latent's resolution
    blocks: int = 2  # residual blocks per level, down and up
    embedding: int = 192  # features of actions, timestep and context noise
    change_threshold: float = 0.05  # a sampler setting: see `suppress_small_changes` in rollout.py
    still_threshold: float = (
        0.0  # the same in generated frames, while the picture stands still; 0: no difference
    )
    prediction_type: str = "x0"  # "regression": the same network without noise as input (an ablation)
    use_flow: bool = False  # predict a residual on the warped last frame
    warp: str = "bilinear"  # how the last frame is interpolated: one of INTERPOLATIONS


def timestep_embedding(t: Tensor, size: int) -> Tensor:
    """Sinusoidal features (B, size) of t (B,), 0-1, at frequencies from half a turn to 64 turns."""
    frequencies = math.pi * 2 ** torch.linspace(0, 7, size // 2, device=t.device)
    angles = t[:, None] * frequencies  # (B, size / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class AdaGNResBlock(nn.Module):
    """Residual block of two 3x3 convolutions, each preceded by adaptive group normalization (Dhariwal & Nichol 2021,
    arXiv 2105.05233): the scale and the shift after the norm are linear functions of the embedding."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(inputs // GROUP_SIZE, inputs, affine=False)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(outputs // GROUP_SIZE, outputs, affine=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * (inputs + outputs))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)  # initially the block is its skip connection
        nn.init.zeros_(self.conv2.bias)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.split = (inputs, inputs, outputs, outputs)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (B, inputs, h, w), embedding (B, E) -> (B, outputs, h, w)."""
        modulation = self.modulation(embedding)[:, :, None, None]  # (B, 2 inputs + 2 outputs, 1, 1)
        scale1, shift1, scale2, shift2 = modulation.split(self.split, dim=1)
        h = self.conv1(F.silu(self.norm1(x) * (1 + scale1) + shift1))
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale2) + shift2))
        return self.skip(x) + h


class UNet(nn.Module):
    """The denoiser, with its flow network if `config.use_flow`; that needs `attach_autoencoder` before use."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        E = config.embedding
        assert E % config.context == 0, "each action of the context gets an equal part of the embedding"
        assert config.prediction_type in PREDICTION_TYPES, config.prediction_type
        assert config.warp in INTERPOLATIONS, config.warp
        unshuffled = config.latent_channels * PIXEL_UNSHUFFLE**2
        self.action_embedding = nn.Embedding(config.num_actions, E // config.context)
        self.embed = nn.Sequential(nn.Linear(3 * E, E), nn.SiLU(), nn.Linear(E, E), nn.SiLU())
        self.flow = (
            FlowNet(config.num_actions, config.context, config.latent_channels) if config.use_flow else None
        )
        # For the warp of decoded frames. A tuple is not a submodule: its frozen weights are no parameters of this one.
        self.autoencoder: tuple[Encoder, Decoder] | None = None
        num_input_latents = config.context + 1 + config.use_flow
        self.conv_in = nn.Conv2d(unshuffled * num_input_latents, config.channels[0], 3, padding=1)

        def blocks(inputs: int, outputs: int) -> nn.ModuleList:
            rest = (AdaGNResBlock(outputs, outputs, E) for _ in range(config.blocks - 1))
            return nn.ModuleList([AdaGNResBlock(inputs, outputs, E), *rest])

        widths = config.channels
        self.down = nn.ModuleList(blocks(width, width) for width in widths)
        self.downsample = nn.ModuleList(
            nn.Conv2d(width, wider, 3, stride=2, padding=1) for width, wider in itertools.pairwise(widths)
        )
        self.middle = blocks(widths[-1], widths[-1])
        self.up_proj = nn.ModuleList(
            nn.Conv2d(wider, width, 1) for width, wider in itertools.pairwise(widths)
        )
        self.up = nn.ModuleList(blocks(2 * width, width) for width in widths[:-1])
        self.conv_out = nn.Conv2d(widths[0], unshuffled, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)  # initially the prediction is the warped last frame
        nn.init.zeros_(self.conv_out.bias)

    def forward(
        self, z: Tensor, t: Tensor, context: Tensor, actions: Tensor, context_noise: Tensor | None = None,
        warped: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The clean next latent x0, float32 (B, C, h, w), predicted as the warped last latent plus a residual.

        z: noisy latent (B, C, h, w) at timestep t (B,), 0 (clean) to 1 (pure noise). context: latents (B, L, C, h,
        w), oldest first. actions: int64 (B, L); the last one leads to the predicted frame. context_noise: (B,),
        0-1, standard deviation of the noise that was added to the context (default: 0). warped: (B, C, h, w), the
        result of `warp_last_latent` (default: computed here). h and w must be multiples of 4. In evaluation mode the
        result is clamped to +-MAX_LATENT."""
        if self.config.prediction_type == "regression":
            z, t = torch.zeros_like(z), torch.ones_like(t)
        if warped is None:
            warped = self.warp_last_latent(context, actions)
        context_noise = torch.zeros_like(t) if context_noise is None else context_noise
        B, L, C, h, w = context.shape
        E = self.config.embedding
        action_features = self.action_embedding(actions).reshape(B, L * (E // L))
        embedding = self.embed(
            torch.cat(
                [action_features, timestep_embedding(t, E), timestep_embedding(context_noise, E)], dim=1
            )
        )
        inputs = [z, context.reshape(B, L * C, h, w), *([warped] if self.config.use_flow else [])]
        x = torch.cat(inputs, dim=1)  # (B, (1 + L) C, h, w); with flow (B, (2 + L) C, h, w)
        x = self.conv_in(F.pixel_unshuffle(x, PIXEL_UNSHUFFLE))
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
        residual = F.pixel_shuffle(self.conv_out(F.silu(x)), PIXEL_UNSHUFFLE)
        x0 = warped.float() + residual.float()
        return x0 if self.training else x0.clamp(-MAX_LATENT, MAX_LATENT)

    @torch.no_grad()
    def warp_last_latent(
        self, context: Tensor, actions: Tensor, flow: Tensor | None = None, last_frame: Tensor | None = None
    ) -> Tensor:
        """The last latent of the context, decoded, warped along the flow and encoded again: (B, C, h, w).

        flow: (B, 2, h, w), in frame pixels (default: predicted). last_frame: (B, 3, H, W), the decoded last latent
        (default: computed here). Without `use_flow` the last latent itself is returned.
        """
        latent = context[:, -1]
        if self.flow is None:
            return latent
        encoder, decoder = self.autoencoder
        flow = self.flow(context, actions) if flow is None else flow
        last_frame = decode(decoder, latent) if last_frame is None else last_frame
        flow_px = upsample_flow(flow, last_frame.shape[-2:])
        warped = encoder(warp(last_frame, flow_px, self.config.warp))
        # Where nothing moves, keep the latent: decoded and encoded again in every frame, it would drift.
        moving = flow.square().sum(dim=1, keepdim=True).sqrt().clamp(max=1)  # (B, 1, h, w), at most one pixel
        return torch.lerp(latent, warped, moving)

    def attach_autoencoder(self, encoder: Encoder, decoder: Decoder) -> "UNet":
        """Sets the autoencoder whose latents this network predicts; `warp_last_latent` needs it. Returns self."""
        self.autoencoder = encoder, decoder
        return self

    def first_and_last_layers(self) -> tuple[nn.Conv2d, ...]:
        """Convolutions from and to latents: AdamW trains them, Muon the other convolutions."""
        return self.conv_in, self.conv_out, *(self.flow.first_and_last_layers() if self.flow else ())
