"""The denoiser: a small U-Net over the latents of the context and the noisy next one. Pure model.

The four context latents are concatenated with the noisy one as channels (DIAMOND, arXiv 2405.12399); actions, noise
level and context-noise level go in through adaptive group normalisation (Dhariwal & Nichol 2021, arXiv 2105.05233).
The latent is first folded 2x2 into channels, so the widest convolutions run at a quarter of the pixels. With motion
(motion.py) it begins from the last frame moved as foreseen, and sees it; without, from the last frame.
"""

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.models.autoencoder import Decoder, Encoder, decode
from dream.models.diffusion import MOST_NOISE, predict_x0
from dream.models.flow import FOLD, GROUP, FlowNet, upsample_flow, warp

# Latents, which have variance 1, are never so far from 0. A noise prediction near pure noise is, and fed back to itself
# grows without bounds; samplers of its kind clip it.
LARGEST = 8.0


@dataclass(frozen=True)
class UNetConfig:
    """Travels in the checkpoint."""

    num_actions: int
    latent_channels: int = 4
    context: int = 4  # frames, and actions, that the next frame is dreamed from
    channels: tuple[int, ...] = (96, 192)  # at 1/2 and 1/4 of the latent's resolution
    blocks: int = 2  # residual blocks a level, each way
    embedding: int = 192
    change_threshold: float = (
        0.05  # smaller changes of a latent pixel are none (`suppress_small_changes`, rollout.py)
    )
    prediction_type: str = "x0"  # of PREDICTIONS, diffusion.py
    actions_by: str = "norm"  # how actions reach the blocks: adaptive "norm", or cross-"attention"
    use_flow: bool = False  # does it begin from the last frame moved?
    fold: int = (
        FOLD  # latent pixels folded into channels on each side: channels are at 1 / fold of its resolution
    )

    @classmethod
    def from_dict(cls, saved: dict) -> "UNetConfig":
        """From `asdict`, by way of a file. Raises TypeError or KeyError where it is not one."""
        return cls(**{**saved, "channels": tuple(saved["channels"])})


# As large and as costly as the network of the original Dream-Mario-Kart, 19.9 M weights and 4.33 GFLOP a pass, of which
# it takes seven a frame: what quality and speed are held against.
REFERENCE = UNetConfig(num_actions=6, channels=(48, 96, 416), embedding=520, prediction_type="noise", fold=1)
REFERENCE_STEPS = 7


def timestep_embedding(t: Tensor, size: int) -> Tensor:
    """Sines and cosines (B, size) of levels t (B,) from 0 to 1, at frequencies from half a turn to 64 turns."""
    frequencies = math.pi * 2 ** torch.linspace(0, 7, size // 2, device=t.device)
    angles = t[:, None] * frequencies  # (B, size / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class AdaGNResBlock(nn.Module):
    """Two 3x3 convolutions with a way around them, each after a group norm that the embedding scales and shifts."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(inputs // GROUP, inputs, affine=False)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(outputs // GROUP, outputs, affine=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * (inputs + outputs))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)  # begins as the identity
        nn.init.zeros_(self.conv2.bias)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.split = (inputs, inputs, outputs, outputs)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        modulation = self.modulation(embedding)[:, :, None, None]  # (B, 2 inputs + 2 outputs, 1, 1)
        scale1, shift1, scale2, shift2 = modulation.split(self.split, dim=1)
        h = self.conv1(F.silu(self.norm1(x) * (1 + scale1) + shift1))
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale2) + shift2))
        return self.skip(x) + h


class ActionAttention(nn.Module):
    """Every pixel asks the actions of the context (cross-attention, as in GameNGen); a way around it."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(channels // GROUP, channels)
        self.ask = nn.Conv2d(channels, channels, 1)
        self.offer = nn.Linear(embedding, 2 * channels)
        self.answer = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.answer.weight)  # begins as the identity
        nn.init.zeros_(self.answer.bias)

    def forward(self, x: Tensor, actions: Tensor) -> Tensor:
        """x: (B, channels, h, w); actions: (B, L, embedding)."""
        queries = self.ask(self.norm(x)).flatten(2).mT  # (B, h w, channels)
        keys, values = self.offer(actions).chunk(2, dim=2)  # (B, L, channels) each
        found = F.scaled_dot_product_attention(queries, keys, values)
        return x + self.answer(found.mT.unflatten(2, x.shape[2:]))


class UNet(nn.Module):
    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        E = config.embedding
        assert E % config.context == 0, "each action of the context gets an equal part of the embedding"
        folded = config.latent_channels * config.fold**2
        self.action_embedding = nn.Embedding(config.num_actions, E // config.context)
        self.embed = nn.Sequential(nn.Linear(3 * E, E), nn.SiLU(), nn.Linear(E, E), nn.SiLU())
        self.flow = (
            FlowNet(config.num_actions, config.context, config.latent_channels) if config.use_flow else None
        )
        self.autoencoder: tuple[Encoder, Decoder] | None = None  # for motion; frozen, no weights of its own
        seen = config.context + 1 + config.use_flow  # latents
        self.conv_in = nn.Conv2d(folded * seen, config.channels[0], 3, padding=1)

        def blocks(inputs: int, outputs: int) -> nn.ModuleList:
            rest = (AdaGNResBlock(outputs, outputs, E) for _ in range(config.blocks - 1))
            return nn.ModuleList([AdaGNResBlock(inputs, outputs, E), *rest])

        self.attention = nn.ModuleList()  # one at the end of each level on the way up, from the bottom
        if config.actions_by == "attention":
            self.action_tokens = nn.Embedding(
                config.num_actions * config.context, E
            )  # an action and its place
            self.attention.extend(ActionAttention(width, E) for width in reversed(config.channels))

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
        self.conv_out = nn.Conv2d(widths[0], folded, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)  # begins by predicting that nothing changes but by moving
        nn.init.zeros_(self.conv_out.bias)

    def forward(
        self, z: Tensor, t: Tensor, context: Tensor, actions: Tensor, context_level: Tensor,
        moved: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The clean next latent (B, C, h, w), by default predicted as the last of the context, moved, plus a change.

        z: (B, C, h, w) at noise levels t (B,), 0-1. context: latents (B, L, C, h, w), oldest first. actions: int64
        (B, L); the last is the one that leads to the frame asked for. context_level: (B,), 0-1, the standard deviation
        of the noise that was added to the context. moved: (B, C, h, w) as from `warp_last_latent`, which is asked where it is
        not given. h and w must be multiples of 4.
        """
        if self.config.prediction_type == "regression":
            z, t = torch.zeros_like(z), torch.ones_like(t)
        if self.config.prediction_type == "noise":
            t = t.clamp(max=MOST_NOISE)  # sampling begins above what it was trained on
        if moved is None:
            moved = self.warp_last_latent(context, actions)
        B, L, C, h, w = context.shape
        E = self.config.embedding
        if self.attention:
            tokens = self.action_tokens(actions * L + torch.arange(L, device=actions.device))  # (B, L, E)
            said = tokens.new_zeros(B, L * (E // L))
        else:
            tokens, said = None, self.action_embedding(actions).reshape(B, L * (E // L))
        levels = [timestep_embedding(t, E), timestep_embedding(context_level, E)]
        embedding = self.embed(torch.cat([said, *levels], dim=1))
        shown = [z, context.reshape(B, L * C, h, w), *([moved] if self.config.use_flow else [])]
        x = torch.cat(shown, dim=1)  # (B, C + L C, h, w), with motion C more
        x = self.conv_in(F.pixel_unshuffle(x, self.config.fold))
        skips = []
        for level, stage in enumerate(self.down):
            for block in stage:
                x = block(x, embedding)
            if level < len(self.downsample):
                skips.append(x)
                x = self.downsample[level](x)
        for block in self.middle:
            x = block(x, embedding)
        x = self.attend(x, tokens, 0)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.up_proj[level](x), scale_factor=2.0, mode="nearest")
            x = torch.cat([x, skips[level]], dim=1)
            for block in self.up[level]:
                x = block(x, embedding)
            x = self.attend(x, tokens, len(self.up) - level)
        output = F.pixel_shuffle(self.conv_out(F.silu(x)), self.config.fold)
        x = predict_x0(self.config.prediction_type, output.float(), z, t, moved.float())
        return x if self.training else x.clamp(-LARGEST, LARGEST)

    @torch.no_grad()
    def warp_last_latent(
        self, context: Tensor, actions: Tensor, flow: Tensor | None = None, last: Tensor | None = None
    ) -> Tensor:
        """The last latent of the context as it will have moved, (B, C, h, w): where the denoiser begins.

        flow: (B, 2, h, w), and last: frames (B, 3, H, W), the last latent decoded, where they are at hand.
        """
        latent = context[:, -1]
        if self.flow is None:
            return latent
        encoder, decoder = self.autoencoder
        flow = self.flow(context, actions) if flow is None else flow
        last = decode(decoder, latent) if last is None else last
        moved = encoder(warp(last, upsample_flow(flow, last.shape[-2:])))
        # What stands still keeps its very latent: encoded again and again it would drift.
        how_much = flow.square().sum(dim=1, keepdim=True).sqrt().clamp(max=1)  # (B, 1, h, w), of a pixel
        return torch.lerp(latent, moved, how_much)

    def attach_autoencoder(self, encoder: Encoder, decoder: Decoder) -> "UNet":
        """Gives it the autoencoder of its latents, for `warp_last_latent`; both stay where they are."""
        self.autoencoder = encoder, decoder
        return self

    def first_and_last_layers(self) -> tuple[nn.Conv2d, ...]:
        return self.conv_in, self.conv_out, *(self.flow.first_and_last_layers() if self.flow else ())

    def attend(self, x: Tensor, tokens: Tensor | None, level: int) -> Tensor:
        return x if tokens is None else self.attention[level](x, tokens)
