"""How near two pictures are. Pure tensors."""

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_PSNR_DB = 60.0  # of equal pictures, in place of infinity: a kart that stands must not decide a mean
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels
SSIM_K1, SSIM_K2 = 0.01, 0.03


def as_shown(frames: Tensor) -> Tensor:
    """Frames as a screen shows them: within 0-1, rounded to 8 bits."""
    return (frames.clamp(0, 1) * 255).round() / 255


def psnr(frames: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) in dB of frames (B, 3, H, W), 0-1, as shown; at most MOST_PSNR_DB."""
    error = (as_shown(frames) - target).pow(2).mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp(min=10 ** (-MOST_PSNR_DB / 10)))


def ssim(frames: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (B,) of frames (B, 3, H, W), 0-1, as shown: 1 where equal (Wang et al. 2004, eq. 13).

    A Gaussian window of 11 x 11 pixels (smaller where the picture is), sigma 1.5, within the picture only; the mean
    over colours and places.
    """
    size = min(SSIM_WINDOW, *frames.shape[2:])
    places = torch.arange(size, device=frames.device, dtype=torch.float32) - (size - 1) / 2
    window = torch.exp(-places.pow(2) / (2 * SSIM_SIGMA**2))
    window = window / window.sum()

    def local_mean(x: Tensor) -> Tensor:
        x = x.flatten(0, 1)[:, None]  # (B 3, 1, H, W)
        return F.conv2d(F.conv2d(x, window[None, None, :, None]), window[None, None, None])

    x, y = as_shown(frames).float(), target.float()
    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x, var_y = local_mean(x * x) - mean_x**2, local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast = (2 * covariance + c2) / (var_x + var_y + c2)
    return (luminance * contrast).reshape(len(frames), -1).mean(dim=1)
