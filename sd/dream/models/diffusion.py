"""The maths of the diffusion: how noise is mixed in, what the network is taught, how a frame is sampled. Pure.

Rectified flow (Liu et al. 2022, arXiv 2209.03003): at level t, from 0 (clean) to 1 (pure noise), a latent x is seen as
    z_t = (1 - t) x + t eps,    eps ~ N(0, 1).
The network predicts x itself and the loss is taken there (Dreamer 4, arXiv 2509.24527, section 3.2: errors of clean
predictions are less of the high-frequency kind that builds up when frames feed back). The other PREDICTIONS are for
comparison: whatever the network's output stands for, what leaves it is x.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

# What the network's output stands for. "regression" is "x0" without diffusion: the network is shown no noise.
PREDICTIONS = ("x0", "noise", "velocity", "edm", "regression")
LOSSES = ("root", "square", "ramp")
# With "noise" at level 1 nothing of x is left to be found; it stops a little short of it, as DDPM's schedules do.
MOST_NOISE = 0.98
LEAST_NOISE = 1e-3  # where 1 / t is taken
ROUND_OFF = 1e-4  # a squared error that does not matter; the root's slope is finite at zero

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (z_t (B, C, h, w), t (B,)) -> predicted x (B, C, h, w)


def add_noise(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """z_t for x and noise (B, C, h, w) and levels t (B,)."""
    t = t[:, None, None, None]
    return (1 - t) * x + t * noise


def sample_timesteps(batch: int, pure_noise_share: float, generator: torch.Generator) -> Tensor:
    """Levels t (B,) for training: uniform, but a share of them at pure noise, where sampling begins and one-step
    sampling also ends."""
    levels = torch.rand(batch, generator=generator)
    return torch.where(torch.rand(batch, generator=generator) < pure_noise_share, torch.ones(batch), levels)


def predict_x0(prediction_type: str, output: Tensor, z: Tensor, t: Tensor, last: Tensor) -> Tensor:
    """The clean latent x (B, C, h, w) that the network's `output` for z at levels t (B,) stands for. `last`: of the
    context, (B, C, h, w)."""
    t = t[:, None, None, None]
    if prediction_type == "noise":  # output = eps
        t = t.clamp(max=MOST_NOISE)
        return (z - t * output) / (1 - t)
    if prediction_type == "velocity":  # output = eps - x
        return z - t * output
    if (
        prediction_type == "edm"
    ):  # Karras et al. 2022, arXiv 2206.00364, table 1, for z = (1 - t) x + t eps and variance 1
        power = (1 - t) ** 2 + t**2
        return (1 - t) / power * z + t / power.sqrt() * (last + output)
    return last + output


def x0_to_output_scale(prediction_type: str, t: Tensor) -> Tensor:
    """How much the output's error is of x's, (B,), at levels t (B,): the loss is taken where the network predicts."""
    if prediction_type == "noise":
        t = t.clamp(LEAST_NOISE, MOST_NOISE)
        return (1 - t) / t
    if prediction_type == "velocity":
        return 1 / t.clamp(min=LEAST_NOISE)
    if prediction_type == "edm":
        return ((1 - t) ** 2 + t**2).sqrt() / t.clamp(min=LEAST_NOISE)
    return torch.ones_like(t)


def denoiser_loss(
    predicted: Tensor,
    x: Tensor,
    t: Tensor,
    prediction_type: str = "x0",
    loss: str = "root",
    usual: Tensor | None = None,
    known: Tensor | None = None,
    count: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Of predicted clean latents (B, C, h, w) at levels t (B,), a mean over the batch; logged is the mean square of x.
    usual: (B,), the mean square beyond which a sample weighs the less the further it is (default: none). known: (B,)
    bool, the samples of which x is the truth (default: all); the others count for nothing. count: see `masked_mean`.

    "root": root mean square error of each. All levels weigh alike: the errors near pure noise are the largest of
    themselves, and they are those that a frame sampled in one step shows. The root gives every sample a gradient of the
    same size. Under the mean square a kart that stands still weighs a hundredth of one that drives, and the little that
    the model then changes a frame, always in one direction, is left. "square": mean square error. "ramp": that with a
    weight from 0.1 at pure noise to 1 (Dreamer 4, section 3.2).
    """
    errors = (predicted - x).pow(2).mean(dim=(1, 2, 3))
    weighted = errors * x0_to_output_scale(prediction_type, t) ** 2
    if loss == "root":
        weighted = (weighted + ROUND_OFF).sqrt()
    elif loss == "ramp":
        weighted = weighted * (1 - 0.9 * t)
    weighted = weighted * outlier_weight(errors.detach(), usual)
    return masked_mean(weighted, known, count), {"loss/train": masked_mean(errors.detach(), known, count)}


def outlier_weight(errors: Tensor, usual: Tensor | None) -> Tensor:
    """Of samples with mean square errors (B,): 1 up to the `usual` one, (B,), from there on the less the further."""
    return torch.ones_like(errors) if usual is None else (usual / errors.clamp(min=ROUND_OFF)).clamp(max=1)


def masked_mean(values: Tensor, known: Tensor | None, count: Tensor | None = None) -> Tensor:
    """Over those of values (B,) that are known, (B,) bool; of none it is 0. count: how many there are, where it is not
    this batch alone that tells (shards.py)."""
    if known is None:
        return values.mean()
    return (values * known).sum() / (known.sum() if count is None else count).clamp(min=1e-6)


def sample(denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
    """From noise (B, C, h, w) to latents in `steps` equal Euler steps along dz/dt = (z_t - x) / t = eps - x.

    One step returns the network's prediction from pure noise as it is.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    z = noise
    levels = torch.linspace(1, 0, steps + 1, device=noise.device)
    for t, t_next in itertools.pairwise(levels):
        x = denoise(z, t.expand(len(z)))
        z = euler_step(z, x, t, t_next)
    return z


def euler_step(z: Tensor, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    """z at level t_next, from z (B, C, h, w) at t, where the clean latent x is predicted; levels are single numbers."""
    return x + (z - x) * (t_next / t)
