"""Image metrics and the Frechet distance between feature sets. Functions of tensors, without state.

PSNR and SSIM compare frames one by one. The Frechet distance (Dowson & Landau 1982) compares two distributions of
features as Gaussians, as FID does (Heusel et al. 2017, arXiv 1706.08500); the features are not those of the Inception
network, so the values can be compared with each other, but not with published FID or FVD values.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dream.common.limits import MAX_PSNR_DB

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels
SSIM_K1, SSIM_K2 = 0.01, 0.03


def quantize_frames(frames: Tensor) -> Tensor:
    """Frames of any shape clamped to 0-1 and rounded to multiples of 1/255, as a screen displays them; still floats."""
    return (frames.clamp(0, 1) * 255).round() / 255


def psnr(frames: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB (B,) between frames and target, (B, 3, H, W), 0-1; at most MAX_PSNR_DB.

    The frames are quantized to 8 bits first.
    """
    mse = (quantize_frames(frames) - target).pow(2).mean(dim=(1, 2, 3))
    return -10 * torch.log10(mse.clamp(min=10 ** (-MAX_PSNR_DB / 10)))


def ssim(frames: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (B,) between frames and target, (B, 3, H, W), 0-1 (Wang et al. 2004, equation 13).

    Identical frames have the value 1. Local statistics are taken in a Gaussian window of 11 x 11 pixels (smaller for
    frames that are smaller), sigma 1.5, without padding; the result is the mean over channels and positions. The
    frames are quantized to 8 bits first.
    """
    size = min(SSIM_WINDOW, *frames.shape[2:])
    offsets = torch.arange(size, device=frames.device, dtype=torch.float32) - (size - 1) / 2
    window = torch.exp(-offsets.pow(2) / (2 * SSIM_SIGMA**2))
    window = window / window.sum()

    def local_mean(x: Tensor) -> Tensor:
        x = x.flatten(0, 1)[:, None]  # (3 B, 1, H, W)
        return F.conv2d(F.conv2d(x, window[None, None, :, None]), window[None, None, None])

    x, y = quantize_frames(frames).float(), target.float()
    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x, var_y = local_mean(x * x) - mean_x**2, local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast = (2 * covariance + c2) / (var_x + var_y + c2)
    return (luminance * contrast).reshape(len(frames), -1).mean(dim=1)


def principal_axes(features: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """Principal component analysis of features (M, D): their mean (D,) and the `dimensions` axes (D, d) of largest
    variance, in decreasing order."""
    mean = features.mean(dim=0)
    _, _, axes = torch.linalg.svd((features - mean).double(), full_matrices=False)
    return mean, axes[:dimensions].T.to(features.dtype)


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2), where m and C are the mean and the covariance of the features (M, d)
    and of the others (M', d). M and M' must be well above d."""
    features, others = features.double(), others.double()
    mean_term = (features.mean(dim=0) - others.mean(dim=0)).pow(2).sum()
    c1, c2 = torch.cov(features.T), torch.cov(others.T)
    values, vectors = torch.linalg.eigh(c1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # tr (C1 C2)^1/2 = tr (C1^1/2 C2 C1^1/2)^1/2, and the matrix under the last root is symmetric
    cross = torch.linalg.eigvalsh(root @ c2 @ root).clamp(min=0).sqrt().sum()
    return (mean_term + c1.trace() + c2.trace() - 2 * cross).item()
