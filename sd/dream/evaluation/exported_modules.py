"""Modules that run an exported world model instead of its PyTorch networks, so that evaluation measures the backend
that is used in play.

They compute on the CPU, one sample at a time; weights and configuration of the original module stay accessible.
"""

import numpy as np
import torch
from torch import Tensor

from dream.inference.onnx_backend import OnnxBackend
from dream.inference.runtimes import Graph
from dream.models.autoencoder import Decoder, decode
from dream.models.unet import UNet


class OnnxUNet(UNet):
    """A UNet whose `forward` and `warp_last_latent` run the exported graphs."""

    def __init__(self, unet: UNet, backend: OnnxBackend) -> None:
        super().__init__(unet.config)
        self.load_state_dict(unet.state_dict())
        self.autoencoder, self.backend = unet.autoencoder, backend
        self.eval().requires_grad_(False)

    def forward(
        self, z: Tensor, t: Tensor, context: Tensor, actions: Tensor, context_noise: Tensor | None = None,
        warped: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """As `UNet.forward`; the export has no input for context noise, so `context_noise` must be None."""
        assert context_noise is None, "the exported denoiser has no input for context noise"
        warped = self.warp_last_latent(context, actions) if warped is None else warped
        t_next = torch.zeros_like(t)  # an Euler step to t = 0 ends at the predicted clean latent itself
        inputs = {"z": z, "t": t, "t_next": t_next, "context": context, "actions": actions, "warped": warped}
        return run_per_sample(self.backend.denoise, inputs, output=0)

    def warp_last_latent(
        self, context: Tensor, actions: Tensor, flow: Tensor | None = None, last_frame: Tensor | None = None
    ) -> Tensor:
        """As `UNet.warp_last_latent`; `flow` is ignored, because the exported graph predicts its own."""
        if self.flow is None:
            return context[:, -1]
        last_frame = decode(self.autoencoder[1], context[:, -1]) if last_frame is None else last_frame
        inputs = {"context": context, "actions": actions, "frame": last_frame}
        return run_per_sample(self.backend.warp, inputs, output=0)


class OnnxDecoder(Decoder):
    """A Decoder whose `forward` runs the exported graph."""

    def __init__(self, decoder: Decoder, backend: OnnxBackend) -> None:
        super().__init__(decoder.config)
        self.load_state_dict(decoder.state_dict())
        self.backend = backend
        self.eval().requires_grad_(False)

    def forward(self, latents: Tensor, size=None, crop_origin=None) -> Tensor:
        """Latents (B, C, h, w) -> frames (B, 3, H, W) of the full size; `size` and `crop_origin` are ignored."""
        return run_per_sample(
            self.backend.decode, {"latent": latents, "last": latents, "warped": latents}, output=1
        )


def run_per_sample(graph: Graph, inputs: dict[str, Tensor], output: int) -> Tensor:
    """Runs an exported graph, whose batch size is 1, on each sample of `inputs` (B, ...).

    Returns the output number `output`, (B, ...)."""
    arrays = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in inputs.items()}
    batch = len(next(iter(arrays.values())))
    results = [
        graph({name: array[i : i + 1] for name, array in arrays.items()})[output] for i in range(batch)
    ]
    return torch.from_numpy(np.concatenate(results))
