"""How near two pictures are. Pure tensors."""

import torch
from torch import Tensor


def psnr(frames: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each of (B, 3, H, W), 0-1, as a screen shows them: rounded to 8 bits.

    Equal pictures get 100 dB in place of infinity.
    """
    as_shown = (frames.clamp(0, 1) * 255).round() / 255
    error = (as_shown - target).pow(2).mean(dim=(1, 2, 3)).clamp(min=1e-10)
    return -10 * torch.log10(error)
