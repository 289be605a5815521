"""How far two sets of features lie apart, as Gaussians. Pure tensors.

The Frechet distance between Gaussians (Dowson & Landau 1982), as in FID (Heusel et al. 2017, arXiv 1706.08500), but not
on its network: figures can be held beside each other, not beside anybody's FID or FVD.
"""

import torch
from torch import Tensor


def principal_axes(features: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and the `dimensions` axes (D, d) along which features (M, D) vary most, largest first."""
    mean = features.mean(dim=0)
    _, _, axes = torch.linalg.svd((features - mean).double(), full_matrices=False)
    return mean, axes[:dimensions].T.to(features.dtype)


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """|mean1 - mean2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) of features (M, d) and (M', d). M and M' must be well above d."""
    one, other = one.double(), other.double()
    means = (one.mean(dim=0) - other.mean(dim=0)).pow(2).sum()
    c1, c2 = torch.cov(one.T), torch.cov(other.T)
    values, vectors = torch.linalg.eigh(c1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # tr (C1 C2)^1/2 = tr (C1^1/2 C2 C1^1/2)^1/2, whose inside is symmetric
    cross = torch.linalg.eigvalsh(root @ c2 @ root).clamp(min=0).sqrt().sum()
    return (means + c1.trace() + c2.trace() - 2 * cross).item()
