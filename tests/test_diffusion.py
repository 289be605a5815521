"""Noise, loss and sampling of the diffusion, and PSNR, against closed forms and slow references."""

import math

import numpy as np
import pytest
import torch
from dream.evaluation.metrics import psnr
from dream.models.diffusion import add_noise, sample, sample_timesteps
from dream.models.unet import timestep_embedding
from dream.training.losses import denoiser_loss


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_timestep_0_is_clean_and_1_is_pure_noise():
    """With swapped ends the network would learn to predict noise, and the loss would still fall."""
    x, noise = normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1)
    mixed = add_noise(x, noise, torch.tensor([0.0, 1.0, 0.25]))
    torch.testing.assert_close(mixed[0], x[0])
    torch.testing.assert_close(mixed[1], noise[1])
    torch.testing.assert_close(mixed[2], 0.75 * x[2] + 0.25 * noise[2])


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_sampling_with_a_perfect_denoiser_returns_its_prediction(steps):
    """An integration that stops short of t = 0 leaves noise in every frame."""
    x = normal(2, 4, 3, 5)
    torch.testing.assert_close(sample(lambda z, t: x, normal(2, 4, 3, 5, seed=1), steps), x)


def test_sampling_uses_the_right_timesteps():
    """A denoiser that gets another timestep than that of its input predicts worse, with no error."""
    timesteps, inputs = [], []
    x, noise = normal(2, 1, 2, 2), normal(2, 1, 2, 2, seed=1)

    def denoise(z, t):
        timesteps.append(t)
        inputs.append(z)
        return x

    sample(denoise, noise, 4)
    assert all(t.shape == (2,) for t in timesteps)
    torch.testing.assert_close(torch.stack(timesteps)[:, 0], torch.tensor([1.0, 0.75, 0.5, 0.25]))
    for z, t in zip(inputs, timesteps, strict=True):  # with a perfect denoiser the path is the straight one
        torch.testing.assert_close(z, add_noise(x, noise, t))


def test_sampling_matches_a_slow_integration():
    """With a constant denoiser a wrong step length would cancel; this one depends on z and t."""

    def denoise(z, t):
        return torch.sin(z) * (1 - t[:, None, None, None]) + 0.3 * t[:, None, None, None]

    noise, steps = normal(3, 2, 2, 3), 7
    z = noise.double().clone()
    for i in range(steps):
        t, t_next = 1 - i / steps, 1 - (i + 1) / steps
        for index in np.ndindex(*z.shape):
            x = np.sin(z[index].item()) * (1 - t) + 0.3 * t
            z[index] += (t_next - t) * (z[index].item() - x) / t  # dz/dt = (z - x) / t
    torch.testing.assert_close(sample(denoise, noise, steps), z.float(), rtol=1e-4, atol=1e-5)


def test_gaussian_data_are_sampled_with_their_mean_and_variance():
    """With the exact posterior mean, sampling maps N(0, 1) to the data, m + s eps, without shrinking them."""
    m, s = 1.5, 0.4

    def denoise(z, t):
        t = t[:, None, None, None]
        return m + (1 - t) * s**2 / ((1 - t) ** 2 * s**2 + t**2) * (z - (1 - t) * m)

    noise = normal(2000, 1, 2, 2)
    actual = sample(denoise, noise, 300)
    assert abs(actual.mean() - m) < 0.02 and abs(actual.std() - s) < 0.01
    torch.testing.assert_close(actual, m + s * noise, rtol=0, atol=0.03)
    # In one step, every sample is the mean.
    torch.testing.assert_close(sample(denoise, noise, 1), torch.full_like(noise, m))


@pytest.mark.parametrize("steps", [0, -1])
def test_fewer_than_one_sampling_step_is_refused(steps):
    """The result would be the noise itself."""
    with pytest.raises(ValueError, match="at least 1"):
        sample(lambda z, t: z, normal(1, 1, 2, 2), steps)


@pytest.mark.parametrize("fraction", [0.0, 0.4, 1.0])
def test_timesteps_have_their_fraction_of_pure_noise(fraction):
    """One-step sampling uses t = 1 alone; a uniform distribution would hardly ever train it."""
    timesteps = sample_timesteps(20_000, fraction, torch.Generator().manual_seed(0))
    assert timesteps.shape == (20_000,) and timesteps.min() >= 0 and timesteps.max() <= 1
    pure = timesteps == 1
    assert abs(pure.float().mean() - fraction) < 0.02
    if fraction < 1:
        rest = timesteps[~pure]
        histogram = torch.histc(rest, 10, 0, 1) / len(rest)
        assert (histogram - 0.1).abs().max() < 0.015  # uniform


def test_timesteps_come_from_their_generator_alone():
    """A resumed run restores this generator."""
    torch.manual_seed(1)
    one = sample_timesteps(8, 0.5, torch.Generator().manual_seed(7))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    torch.testing.assert_close(
        sample_timesteps(8, 0.5, torch.Generator().manual_seed(7)), one, rtol=0, atol=0
    )
    assert torch.equal(torch.get_rng_state(), state)


def test_loss_matches_a_slow_loop():
    """A sum, or a mean over the wrong axis, would scale the gradients."""
    predicted, x = normal(3, 2, 2, 3).requires_grad_(), normal(3, 2, 2, 3, seed=1)
    loss, metrics = denoiser_loss(predicted, x)
    squares = [0.0, 0.0, 0.0]  # of each sample
    for index in np.ndindex(*x.shape):
        squares[index[0]] += (predicted[index].item() - x[index].item()) ** 2 / x[0].numel()
    assert loss.item() == pytest.approx(sum(math.sqrt(square) for square in squares) / 3, rel=1e-3)
    assert metrics["loss/train"].item() == pytest.approx(sum(squares) / 3, rel=1e-5)
    assert loss.requires_grad and not metrics["loss/train"].requires_grad


def test_every_sample_has_a_gradient_of_the_same_size():
    """Under a mean square a standing kart counts a hundredth of a driving one. Without an error the gradient is 0,
    not NaN."""
    x = normal(3, 2, 2, 3)
    predicted = (x + torch.tensor([3.0, 0.3, 0.0])[:, None, None, None]).requires_grad_()
    denoiser_loss(predicted, x)[0].backward()
    norms = predicted.grad.flatten(1).norm(dim=1)
    assert norms[1] == pytest.approx(norms[0].item(), rel=0.01) and norms[2] == 0


def test_loss_by_hand():
    """An error of 0.5; then with a sample that has no target."""
    x = normal(2, 2, 3, 3)
    loss, metrics = denoiser_loss(x + 0.5, x)
    assert loss.item() == pytest.approx(0.5, rel=1e-3)
    assert metrics["loss/train"].item() == pytest.approx(0.25, rel=1e-4)
    errors = torch.tensor([0.5, 9.0])[:, None, None, None]
    loss, metrics = denoiser_loss(x + errors, x, mask=torch.tensor([True, False]))
    assert loss.item() == pytest.approx(0.5, rel=1e-3)
    assert metrics["loss/train"].item() == pytest.approx(0.25, rel=1e-4)


def test_timestep_embedding_separates_timesteps():
    """With a period within 0-1 the network could not tell clean inputs from noisy ones."""
    timesteps = torch.linspace(0, 1, 101)
    features = timestep_embedding(timesteps, 32)
    assert features.shape == (101, 32) and features.abs().max() <= 1
    distances = torch.cdist(features, features) + 10 * torch.eye(101)
    assert distances.min() > 0.3
    coarse = features[:, [0, 16]]  # the slowest sine and cosine alone: half a turn, no value twice
    assert (torch.cdist(coarse, coarse) + 10 * torch.eye(101)).min() > 0.02


def test_psnr_matches_numpy():
    """PSNR is that of the displayed frames: clamped and rounded to 8 bits."""
    frames = normal(4, 3, 6, 8) * 0.5 + 0.5  # goes beyond 0 and 1
    target = (torch.rand(4, 3, 6, 8, generator=torch.Generator().manual_seed(1)) * 255).round() / 255
    actual = psnr(frames, target)
    for i in range(4):
        frames_u8 = np.round(np.clip(frames[i].double().numpy(), 0, 1) * 255)
        error = np.mean((frames_u8 - np.round(target[i].double().numpy() * 255)) ** 2)
        assert actual[i].item() == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)


def test_psnr_of_frames_that_round_to_the_same_picture():
    """Equal pictures give a finite 60 dB, so that a mean over frames stays a number."""
    target = torch.tensor([0, 17, 255]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4) / 255
    torch.testing.assert_close(psnr(target + 0.4 / 255, target), torch.tensor([60.0]))
    one_level_off = psnr(target.clamp(max=0.9) + 0.6 / 255, target.clamp(max=0.9))
    assert one_level_off < 60
