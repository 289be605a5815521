"""Image metrics and the Frechet distance, against slow references and closed forms."""

import numpy as np
import pytest
import torch
from dream.evaluation.frame_quality import gain_over_copy, summary
from dream.evaluation.metrics import frechet_distance, principal_axes, ssim
from small import seeded


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """One channel, window by window, as Wang et al. 2004 write it."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    results = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            a, b = (z[row : row + 11, column : column + 11] for z in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            results.append((2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
                         / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))  # fmt: skip
    return float(np.mean(results))


def test_ssim_against_a_slow_one():
    frames = (torch.rand(2, 3, 16, 21, generator=seeded()) * 255).round() / 255
    other = (frames + 0.2 * torch.randn(frames.shape, generator=seeded(1))).clamp(0, 1)
    other = (other * 255).round() / 255
    results = ssim(other, frames)
    for i in range(2):
        expected = np.mean(
            [slow_ssim(other[i, c].double().numpy(), frames[i, c].double().numpy()) for c in range(3)]
        )
        assert results[i].item() == pytest.approx(expected, abs=1e-4)
    torch.testing.assert_close(ssim(frames, frames), torch.ones(2))
    small = frames[..., :5, :7]  # smaller than the window
    assert ssim(small, small).tolist() == pytest.approx([1, 1])


def test_summary_and_gain():
    scores = {"psnr": torch.tensor([20.0, 22.0, 24.0, 60.0]), "ssim": torch.tensor([0.5, 0.5, 0.7, 0.7])}
    score = summary(scores)
    assert score["psnr_db"] == 31.5 and score["psnr_db_median"] == 22.0 and score["frames"] == 4
    assert score["psnr_db_p10"] == pytest.approx(20.6) and score["ssim"] == pytest.approx(0.6)
    assert score["lpips"] is None
    results = gain_over_copy(score, {"psnr_db": 21.5}, {"psnr_db": 41.5})
    assert results["gain_db"] == 10 and results["normalized_gain"] == 0.5
    perfect = {"psnr_db": 60.0}
    assert gain_over_copy(score, perfect, perfect)["normalized_gain"] is None


def test_frechet_distance_against_the_closed_form():
    """Gaussians with the same axes: the squared distances of means and of standard deviations add up."""
    points = torch.randn(20_000, 3, generator=seeded(), dtype=torch.float64)
    points = (points - points.mean(dim=0)) / points.std(dim=0)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=seeded(1), dtype=torch.float64))
    whitened = points @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(points.T)).T)
    one = whitened * torch.tensor([1.0, 2.0, 3.0])
    other = whitened * torch.tensor([2.0, 2.0, 0.5]) + torch.tensor([1.0, 0.0, -2.0])
    expected = 1 + 4 + (2 - 1) ** 2 + (3 - 0.5) ** 2
    assert frechet_distance(one @ turn, other @ turn) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


def test_principal_axes_are_those_of_most_variance():
    points = torch.randn(500, 4, generator=seeded()) * torch.tensor([0.1, 5.0, 0.2, 2.0]) + 7
    mean, axes = principal_axes(points, 2)
    torch.testing.assert_close(mean, points.mean(dim=0))
    assert axes.shape == (4, 2)
    assert axes[:, 0].abs().argmax() == 1 and axes[:, 1].abs().argmax() == 3
