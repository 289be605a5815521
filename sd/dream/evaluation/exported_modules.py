"""An exported dream in the place of the networks that it was made of: so that what is measured is what is played.

Both answer as those do, frame by frame on the CPU; weights and settings are still to be had.
"""

import numpy as np
import torch
from torch import Tensor

from dream.inference.onnx_backend import OnnxBackend
from dream.models.autoencoder import Decoder, decode
from dream.models.unet import UNet


class ExportedUNet(UNet):
    def __init__(self, unet: UNet, engine: OnnxBackend) -> None:
        super().__init__(unet.config)
        self.load_state_dict(unet.state_dict())
        self.autoencoder, self.engine = unet.autoencoder, engine
        self.eval().requires_grad_(False)

    def forward(
        self, z: Tensor, t: Tensor, context: Tensor, actions: Tensor, context_level: Tensor,
        moved: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        moved = self.warp_last_latent(context, actions) if moved is None else moved
        to_zero = torch.zeros_like(t)  # a step of sampling down to no noise is the clean latent itself
        inputs = {"z": z, "t": t, "t_next": to_zero, "context": context, "actions": actions,
                  "context_level": context_level, "moved": moved}  # fmt: skip
        return one_by_one(self.engine.denoise, inputs, output=0)

    def warp_last_latent(
        self, context: Tensor, actions: Tensor, flow: Tensor | None = None, last: Tensor | None = None
    ) -> Tensor:
        if self.flow is None:
            return context[:, -1]
        last = decode(self.autoencoder[1], context[:, -1]) if last is None else last
        return one_by_one(
            self.engine.warp_last_latent, {"context": context, "actions": actions, "frame": last}, output=0
        )


class ExportedDecoder(Decoder):
    def __init__(self, decoder: Decoder, engine: OnnxBackend) -> None:
        super().__init__(decoder.config)
        self.load_state_dict(decoder.state_dict())
        self.engine = engine
        self.eval().requires_grad_(False)

    def forward(self, latents: Tensor, size=None, crop_origin=None) -> Tensor:
        return one_by_one(self.engine.finish, {"latent": latents, "last": latents}, output=1)


def one_by_one(part, inputs: dict[str, Tensor], output: int) -> Tensor:
    """What a part of the engine gives for each of a batch, by number of its output."""
    arrays = {name: np.ascontiguousarray(each.numpy()) for name, each in inputs.items()}
    count = len(next(iter(arrays.values())))
    found = [part({name: each[i : i + 1] for name, each in arrays.items()})[output] for i in range(count)]
    return torch.from_numpy(np.concatenate(found))
