"""The ONNX graphs of the web page, traced from the PyTorch networks: a frame, and the decoder of a start state.

They differ from those of export.py in what a browser is slow at: the whole frame is one graph, with the sampling steps
unrolled; there are no guards against NaN, no rounding and no 8-bit convolutions, for which WebGPU copies every tensor
to the CPU and back; the operator set has the GridSample that WebGPU knows; and the decoder's softmax is rearranged.
Each latent of the context is an input of its own, so that it can stay on the GPU from frame to frame; the colours of a
frame are also there in 8 bits, which is all that a page must read back.
"""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.inference.export import fuse_modulation, without_metadata
from dream.models.autoencoder import PATCH, Decoder
from dream.models.diffusion import euler_step
from dream.models.flow import upsample_flow
from dream.models.rollout import suppress_small_changes, suppression_threshold
from dream.models.unet import UNet

OPSET = 18  # GridSample of opset 20 does not run on WebGPU
ALPHA = -(2**24)  # of an opaque pixel, in the highest of the four bytes of an int32


def pack_rgba(frames: Tensor) -> Tensor:
    """Frames (1, 3, H, W), about 0-1 -> int32 (H, W): the bytes of a number are red, green, blue, alpha, low ones
    first. WebGPU has no tensors of bytes, and no Round."""
    levels = (frames.clamp(0, 1) * 255 + 0.5).floor()
    # below 2^24, so exact in float32
    colors = (levels * torch.tensor([1.0, 2.0**8, 2.0**16]).reshape(1, 3, 1, 1)).sum(dim=1)
    return colors[0].to(torch.int32) + ALPHA


class WebDecoder(nn.Module):
    """The decoder with the colours of a pixel next to each other in memory, so that the softmax needs no transpose."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        colors, pixels = decoder.config.num_colors, PATCH**2
        last = decoder.palette_logits[-1]
        self.logits = nn.Linear(last.in_channels, pixels * colors)
        order = torch.arange(colors * pixels).reshape(colors, pixels).T.flatten()  # (pixels, colours)
        self.logits.weight.data = last.weight[order, :, 0, 0].clone()
        self.logits.bias.data = last.bias[order].clone()
        self.palette = nn.Linear(colors, 3)
        self.palette.weight.data = decoder.palette.weight[:, :, 0, 0].clone()
        self.palette.bias.data = decoder.palette.bias.clone()

    def forward(self, latents: Tensor) -> Tensor:
        """Latent (1, C, h, w) -> frame (1, 3, H, W), about 0-1."""
        config = self.decoder.config
        x = self.decoder.stem(latents) + self.decoder.position
        x = self.decoder.palette_logits[:-1](x)
        h, w = x.shape[-2:]
        x = self.logits(x.flatten(2).transpose(1, 2))  # (1, h w, pixels colours)
        colors = self.palette(x.reshape(h * w * PATCH**2, config.num_colors).softmax(dim=1))
        frames = (
            colors.reshape(1, h, w, PATCH, PATCH, 3)
            .permute(0, 5, 1, 3, 2, 4)
            .reshape(1, 3, h * PATCH, w * PATCH)
        )
        return (frames[..., : config.height, : config.width] + 1) / 2


class WebStart(nn.Module):
    """The frame of a start state's last latent."""

    def __init__(self, decoder: WebDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """latent (1, C, h, w) -> frame (1, 3, H, W), about 0-1, and the same of `pack_rgba`."""
        rgb = self.decoder(latent)
        return rgb, pack_rgba(rgb)


class WebFrame(nn.Module):
    """One frame of the world model: what rollout.sample_next_latent and the decoder do, and what the page shows."""

    def __init__(self, unet: UNet, decoder: WebDecoder, steps: int) -> None:
        super().__init__()
        self.unet, self.decoder, self.steps = fuse_modulation(unet), decoder, steps
        if unet.autoencoder:
            self.encoder = unet.autoencoder[0]

    def warp(self, context: Tensor, actions: Tensor, frame: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The warped last latent (1, C, h, w) as UNet.warp_last_latent gives it, the flow (1, 2, h, w) in frame
        pixels, and the warped frame (1, 3, H, W)."""
        flow = self.unet.flow(context, actions)
        H, W = frame.shape[-2:]
        dx, dy = upsample_flow(flow, (H, W)).unbind(dim=1)
        y, x = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
        grid = torch.stack([(x + dx) * 2 / W - 1, (y + dy) * 2 / H - 1], dim=-1)
        warped_frame = F.grid_sample(frame, grid, self.unet.config.warp, "border", align_corners=False)
        # WebGPU has Clip, but not Min, which clamp(max=1) would be.
        moving = flow.square().sum(dim=1, keepdim=True).sqrt().clamp(0, 1)
        last = context[:, -1]
        return last + moving * (self.encoder(warped_frame) - last), flow, warped_frame

    def forward(self, actions: Tensor, frame: Tensor, noise: Tensor, *latents: Tensor) -> tuple[Tensor, ...]:
        """actions int64 (1, L), frame (1, 3, H, W), noise (1, C, h, w), L latents (1, C, h, w), oldest first -> the
        outputs of `output_names`."""
        context, last, seen = torch.stack(latents, dim=1), latents[-1], ()
        warped = last
        if self.unet.config.use_flow:
            warped, *seen = self.warp(context, actions, frame)
        z = noise
        for t, t_next in itertools.pairwise(np.linspace(1, 0, self.steps + 1, dtype=np.float32)):
            x0 = self.unet(z, torch.tensor([t]), context, actions, warped=warped)
            z = euler_step(z, x0, float(t), float(t_next)) if t_next else x0
        latent = suppress_small_changes(z, last, suppression_threshold(self.unet.config, warped, last))
        rgb = self.decoder(latent)
        return latent, rgb, pack_rgba(rgb), x0 - warped, *seen


def input_names(context: int) -> tuple[str, ...]:
    """Names of the inputs of a frame, of a model with so many latents as context; "latent0" is the oldest one."""
    return ("actions", "frame", "noise", *(f"latent{i}" for i in range(context)))


def output_names(unet: UNet) -> tuple[str, ...]:
    """Names of the outputs of a frame: the latent (1, C, h, w), its frame (1, 3, H, W), its colours (`pack_rgba`), what
    the denoiser has added to the warped latent, and, of a model with a flow network, flow (1, 2, h, w) and warped
    frame (1, 3, H, W)."""
    return ("latent", "rgb", "rgba", "residual", *(("flow", "warped") if unet.config.use_flow else ()))


def trace_graphs(unet: UNet, decoder: Decoder, steps: int) -> dict:
    """The graphs by name, each an onnx.ModelProto with float32 weights: "frame" and "decode"."""
    C, h, w = decoder.config.latent_shape
    L = unet.config.context
    web_decoder = WebDecoder(decoder).eval().requires_grad_(False)
    latent = torch.zeros(1, C, h, w)
    actions = torch.zeros(1, L, dtype=torch.int64)
    frame = torch.zeros(1, 3, decoder.config.height, decoder.config.width)
    web_frame = WebFrame(unet, web_decoder, steps).eval().requires_grad_(False)
    # Clones, because two inputs that share a tensor would become one input of the graph.
    examples = (actions, frame, latent, *(latent.clone() for _ in range(L)))
    inputs = dict(zip(input_names(L), examples, strict=True))
    return {
        "frame": trace(web_frame, inputs, output_names(unet)),
        "decode": trace(WebStart(web_decoder).eval(), {"latent": latent.clone()}, ("rgb", "rgba")),
    }


def trace(module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...]):
    """The onnx.ModelProto of `module`. inputs: examples by name."""
    program = torch.onnx.export(module, tuple(inputs.values()), dynamo=True, verbose=False, opset_version=OPSET,
                                input_names=list(inputs), output_names=list(outputs))  # fmt: skip
    return without_metadata(program.model_proto)
