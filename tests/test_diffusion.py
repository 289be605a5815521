"""The maths of the diffusion and of the picture metric, against closed forms and slow references."""

import math

import numpy as np
import pytest
import torch
from dream.evaluation.metrics import psnr
from dream.models.diffusion import (
    PREDICTIONS,
    add_noise,
    denoiser_loss,
    predict_x0,
    sample,
    sample_timesteps,
    x0_to_output_scale,
)
from dream.models.unet import timestep_embedding


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_mix_is_clean_at_0_and_noise_at_1():
    """Swapped ends would teach the network to predict noise from pictures, with a loss that still falls."""
    x, noise = normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1)
    mixed = add_noise(x, noise, torch.tensor([0.0, 1.0, 0.25]))
    torch.testing.assert_close(mixed[0], x[0])
    torch.testing.assert_close(mixed[1], noise[1])
    torch.testing.assert_close(mixed[2], 0.75 * x[2] + 0.25 * noise[2])


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_perfect_denoiser_gives_its_answer(steps):
    """An integration that stops short of level 0 leaves noise in every frame."""
    x = normal(2, 4, 3, 5)
    torch.testing.assert_close(sample(lambda z, t: x, normal(2, 4, 3, 5, seed=1), steps), x)


def test_sampling_asks_at_the_right_levels():
    """A denoiser told another level than the one its input has would be quietly worse at more steps."""
    asked, seen = [], []
    x, noise = normal(2, 1, 2, 2), normal(2, 1, 2, 2, seed=1)

    def denoise(z, t):
        asked.append(t)
        seen.append(z)
        return x

    sample(denoise, noise, 4)
    assert all(t.shape == (2,) for t in asked)
    torch.testing.assert_close(torch.stack(asked)[:, 0], torch.tensor([1.0, 0.75, 0.5, 0.25]))
    for z, t in zip(seen, asked, strict=True):  # with a perfect denoiser the path is the straight one
        torch.testing.assert_close(z, add_noise(x, noise, t))


def test_sampling_against_a_slow_integration():
    """A wrong step length cancels for a constant denoiser: here what it says depends on z and t."""

    def denoise(z, t):
        return torch.sin(z) * (1 - t[:, None, None, None]) + 0.3 * t[:, None, None, None]

    noise, steps = normal(3, 2, 2, 3), 7
    z = noise.double().clone()
    for i in range(steps):
        t, t_next = 1 - i / steps, 1 - (i + 1) / steps
        for place in np.ndindex(*z.shape):
            x = np.sin(z[place].item()) * (1 - t) + 0.3 * t
            z[place] += (t_next - t) * (z[place].item() - x) / t  # dz/dt = (z - x) / t
    torch.testing.assert_close(sample(denoise, noise, steps), z.float(), rtol=1e-4, atol=1e-5)


def test_gaussian_data_come_out_with_their_mean_and_variance():
    """With the exact posterior mean the flow must carry N(0, 1) to the data: m + s eps, not a shrunken copy."""
    m, s = 1.5, 0.4

    def denoise(z, t):
        t = t[:, None, None, None]
        return m + (1 - t) * s**2 / ((1 - t) ** 2 * s**2 + t**2) * (z - (1 - t) * m)

    noise = normal(2000, 1, 2, 2)
    found = sample(denoise, noise, 300)
    assert abs(found.mean() - m) < 0.02 and abs(found.std() - s) < 0.01
    torch.testing.assert_close(found, m + s * noise, rtol=0, atol=0.03)
    torch.testing.assert_close(
        sample(denoise, noise, 1), torch.full_like(noise, m)
    )  # one step: the mean alone


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps):
    """Without it the player would be shown plain noise."""
    with pytest.raises(ValueError, match="at least 1"):
        sample(lambda z, t: z, normal(1, 1, 2, 2), steps)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_levels_have_their_share_of_pure_noise(share):
    """One-step play rests on the level 1 alone: without its share it is hardly ever trained."""
    levels = sample_timesteps(20_000, share, torch.Generator().manual_seed(0))
    assert levels.shape == (20_000,) and levels.min() >= 0 and levels.max() <= 1
    pure = levels == 1
    assert abs(pure.float().mean() - share) < 0.02
    if share < 1:
        rest = levels[~pure]
        histogram = torch.histc(rest, 10, 0, 1) / len(rest)
        assert (histogram - 0.1).abs().max() < 0.015  # uniform


def test_levels_come_from_their_generator_alone():
    """A draw from the global generator would make a resumed run another run."""
    torch.manual_seed(1)
    one = sample_timesteps(8, 0.5, torch.Generator().manual_seed(7))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    torch.testing.assert_close(
        sample_timesteps(8, 0.5, torch.Generator().manual_seed(7)), one, rtol=0, atol=0
    )
    assert torch.equal(torch.get_rng_state(), state)


def test_loss_against_a_loop():
    """A sum in place of a mean, or a mean over the wrong axis, would scale the learning rate unseen."""
    predicted, x = normal(3, 2, 2, 3).requires_grad_(), normal(3, 2, 2, 3, seed=1)
    loss, metrics = denoiser_loss(predicted, x, torch.ones(3))
    squares = [0.0, 0.0, 0.0]  # of each sample
    for place in np.ndindex(*x.shape):
        squares[place[0]] += (predicted[place].item() - x[place].item()) ** 2 / x[0].numel()
    assert loss.item() == pytest.approx(sum(math.sqrt(square) for square in squares) / 3, rel=1e-3)
    assert metrics["loss/train"].item() == pytest.approx(sum(squares) / 3, rel=1e-5)
    assert loss.requires_grad and not metrics["loss/train"].requires_grad


def test_every_sample_pulls_alike():
    """Under a mean square a standing kart weighs a hundredth of a driving one. And without an error no slope is NaN."""
    x = normal(3, 2, 2, 3)
    predicted = (x + torch.tensor([3.0, 0.3, 0.0])[:, None, None, None]).requires_grad_()
    denoiser_loss(predicted, x, torch.ones(3))[0].backward()
    pulls = predicted.grad.flatten(1).norm(dim=1)
    assert pulls[1] == pytest.approx(pulls[0].item(), rel=0.01) and pulls[2] == 0


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_each_prediction_is_turned_into_the_clean_latent(prediction_type):
    """What each output stands for, written out: a wrong sign would train well and sample nonsense."""
    x, noise, last = normal(5, 2, 3, 3), normal(5, 2, 3, 3, seed=1), normal(5, 2, 3, 3, seed=2)
    t = torch.tensor([0.01, 0.2, 0.5, 0.9, 0.97])
    wide = t[:, None, None, None]
    z = add_noise(x, noise, t)
    root = (wide**2 + (1 - wide) ** 2).sqrt()
    output = {
        "x0": x - last,
        "regression": x - last,
        "noise": noise,
        "velocity": noise - x,
        "edm": (x - (1 - wide) / root**2 * z) * root / wide - last,
    }[prediction_type]
    torch.testing.assert_close(predict_x0(prediction_type, output, z, t, last), x, rtol=1e-3, atol=1e-4)
    # An error of 0.1 in the output is one of x, of the size that the loss takes it to be.
    off = predict_x0(prediction_type, output + 0.1, z, t, last) - x
    torch.testing.assert_close((off.abs() * x0_to_output_scale(prediction_type, t)[:, None, None, None]).mean(), torch.tensor(0.1),
                               rtol=1e-2, atol=0)  # fmt: skip


def test_edm_asks_for_outputs_of_variance_1():
    """The point of its preconditioning: at every level the network has as much to say (arXiv 2206.00364, eq. 7)."""
    x, noise = normal(20, 4, 32, 32), normal(20, 4, 32, 32, seed=1)
    for level in (0.05, 0.3, 0.7, 1.0):
        t = torch.full((20,), level)
        z = add_noise(x, noise, t)
        zero = torch.zeros_like(x)
        wanted = (x - predict_x0("edm", zero, z, t, zero)) * x0_to_output_scale("edm", t)[:, None, None, None]
        assert wanted.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "loss, expected", [("square", 0.25), ("ramp", 0.25 * (0.1 + 0.9 * 0.75)), ("root", 0.5)]
)
def test_losses_by_hand(loss, expected):
    """Each of the three, of an error of 0.5 at a quarter of the noise."""
    x = normal(2, 2, 3, 3)
    found, metrics = denoiser_loss(x + 0.5, x, torch.full((2,), 0.25), "x0", loss)
    assert found.item() == pytest.approx(expected, rel=1e-3)
    assert metrics["loss/train"].item() == pytest.approx(0.25, rel=1e-4)
    # The second of them is four times as far off as is usual, so it weighs a quarter.
    usual = torch.tensor([0.3, 0.0625])
    weighed, metrics = denoiser_loss(x + 0.5, x, torch.full((2,), 0.25), "x0", loss, usual)
    assert weighed.item() == pytest.approx(expected * (1 + 0.25) / 2, rel=1e-3)
    assert metrics["loss/train"].item() == pytest.approx(0.25, rel=1e-4)
    known = torch.tensor([True, False])  # of the second nobody knows what it should be
    off = torch.tensor([0.5, 9.0])[:, None, None, None]
    found, metrics = denoiser_loss(x + off, x, torch.full((2,), 0.25), "x0", loss, known=known)
    assert found.item() == pytest.approx(expected, rel=1e-3)
    assert metrics["loss/train"].item() == pytest.approx(0.25, rel=1e-4)


def test_level_features_tell_levels_apart():
    """Features with a period in 0-1 would make clean and noisy inputs the same to the network."""
    levels = torch.linspace(0, 1, 101)
    features = timestep_embedding(levels, 32)
    assert features.shape == (101, 32) and features.abs().max() <= 1
    distances = torch.cdist(features, features) + 10 * torch.eye(101)
    assert distances.min() > 0.3
    coarse = features[:, [0, 16]]  # the slowest sine and cosine alone: half a turn, never the same place
    assert (torch.cdist(coarse, coarse) + 10 * torch.eye(101)).min() > 0.02


def test_psnr_against_numpy():
    """Everything is judged by it; it must see what a screen shows: clamped and rounded to 8 bits."""
    shown = normal(4, 3, 6, 8) * 0.5 + 0.5  # goes beyond 0 and 1
    target = (torch.rand(4, 3, 6, 8, generator=torch.Generator().manual_seed(1)) * 255).round() / 255
    found = psnr(shown, target)
    for i in range(4):
        shown_u8 = np.round(np.clip(shown[i].double().numpy(), 0, 1) * 255)
        error = np.mean((shown_u8 - np.round(target[i].double().numpy() * 255)) ** 2)
        assert found[i].item() == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)


def test_psnr_of_what_rounds_to_the_same_picture():
    """Equal pictures give a finite 60 dB, so that a mean over frames stays a number."""
    target = torch.tensor([0, 17, 255]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4) / 255
    torch.testing.assert_close(psnr(target + 0.4 / 255, target), torch.tensor([60.0]))
    one_level_off = psnr(target.clamp(max=0.9) + 0.6 / 255, target.clamp(max=0.9))
    assert one_level_off < 60
