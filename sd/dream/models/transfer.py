"""Starts a network from the weights of another one: of another game, or with optical flow where this one has none."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.models.flow import PIXEL_UNSHUFFLE
from dream.models.unet import UNet

# Of the networks that predict the next frame: actions mean other things in another game; and output layers that are 0
# at first make it begin with the last frame repeated, not with pictures of the other game.
NEW_WEIGHTS = ("action_embedding", "conv_out")


def copy_weights(module: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Copies `weights` (a state_dict) into the module; returns the names of those that keep their initial values:
    NEW_WEIGHTS and weights of another shape. A decoder's position embedding (1, channels, h, w) is resized."""
    own, kept = module.state_dict(), []
    for name, tensor in own.items():
        given = weights.get(name)
        if given is None or any(new in name for new in NEW_WEIGHTS):
            kept.append(name)
        elif given.shape == tensor.shape:
            own[name] = given
        elif name == "position" and given.shape[:2] == tensor.shape[:2]:
            own[name] = F.interpolate(given.float(), tensor.shape[2:], mode="bilinear", align_corners=False)
        else:
            kept.append(name)
    module.load_state_dict({name: torch.as_tensor(tensor) for name, tensor in own.items()})
    return kept


def without_flow(unet: UNet) -> UNet:
    """A copy of the denoiser that predicts a residual on the last latent, not on the warped one: what `unet` would
    predict with a flow of 0."""
    config = unet.config
    plain = UNet(replace(config, use_flow=False))
    weights = {name: tensor for name, tensor in unet.state_dict().items() if not name.startswith("flow.")}
    # Its inputs are z, the context and the warped latent, the last of them; that is now the context's last one.
    inputs = weights["conv_in.weight"].clone()
    size = config.latent_channels * PIXEL_UNSHUFFLE**2
    inputs[:, -2 * size : -size] += inputs[:, -size:]
    weights["conv_in.weight"] = inputs[:, :-size]
    plain.load_state_dict(weights)
    plain.to(inputs.device, memory_format=torch.channels_last)
    return plain.attach_autoencoder(*unet.autoencoder)
