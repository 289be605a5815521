"""Starts a network from the weights of one that was trained on another game: other frame size, other actions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
