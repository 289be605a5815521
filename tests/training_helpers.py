"""Helpers of the training tests: one training step, a recording of the moving square, the training scripts with small
networks."""

import contextlib
import csv
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import train_autoencoder
import train_sd
from dream.common.errors import run_script
from dream.models.autoencoder import AutoencoderConfig
from dream.models.diffusion import denoiser_loss
from dream.models.unet import UNetConfig
from dream.training.losses import FlowTargets, NoisyInputs, add_training_noise, warp_and_flow_loss
from small import moving_square
from torch import Tensor

L = 4  # frames of context
ONE_EPOCH = ["--epochs", "1", "--epoch-samples", "16", "--batch-size", "8", "--device", "cpu"]  # two steps


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latent_grid(values: list) -> Tensor:
    """Numbers (B, T) as latents (B, T, 1, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32)[..., None, None, None]


def training_step(
    unet: torch.nn.Module, context: Tensor, actions: Tensor, target: Tensor, is_real: Tensor,
    generator: torch.Generator, has_target: Tensor | None = None, flow_targets: FlowTargets | None = None,
) -> tuple[Tensor, dict[str, Tensor], Tensor, NoisyInputs]:  # fmt: skip
    """Loss, metrics, predicted latents (B, C, h, w) and noisy inputs of one step of train_sd.py, without the
    adversarial loss. flow_targets: needed where the network predicts a flow."""
    has_target = torch.ones(len(target), dtype=torch.bool) if has_target is None else has_target
    noisy = add_training_noise(context, target, is_real, has_target, 0.8, generator)
    warped, flow_loss = noisy.context[:, -1], 0.0
    if unet.config.use_flow:
        warped, flow_loss = warp_and_flow_loss(unet, noisy.context, actions, flow_targets, mask=has_target)
    predicted = unet(noisy.z, noisy.t, noisy.context, actions, noisy.context_noise, warped)
    loss, metrics = denoiser_loss(predicted, target, mask=has_target)
    if unet.config.use_flow:
        metrics["loss/flow"] = flow_loss.detach()
    return loss + flow_loss, metrics, predicted, noisy


def record(path: Path, **options) -> Path:
    """A recording of the moving square that holds `frames` and `actions` alone."""
    frames, actions = moving_square(**options)
    np.savez(path, frames=frames, actions=actions)
    return path


@contextlib.contextmanager
def small_networks() -> Iterator[None]:
    """Both training scripts build networks of a size for tests."""

    def unet_config(**settings) -> UNetConfig:
        return UNetConfig(**{"channels": (16, 32), "blocks": 1, "embedding": 32, **settings})

    unet_config.from_dict = UNetConfig.from_dict
    autoencoder_config = functools.partial(AutoencoderConfig, channels=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_autoencoder, "AutoencoderConfig", autoencoder_config)
        patch.setattr(train_sd, "UNetConfig", unet_config)
        yield


def run_train_autoencoder(*flags) -> None:
    train_autoencoder.main(train_autoencoder.parse_args([*ONE_EPOCH, *map(str, flags)]))


def run_train_sd(*flags) -> None:
    train_sd.main(train_sd.parse_args([*ONE_EPOCH, *map(str, flags)]))


def train_small_models(folder: Path) -> Path:
    """square.npz, and runs of one epoch on it: the autoencoder in a/, the model in b/. Returns the folder."""
    recording = record(folder / "square.npz")
    with small_networks():
        run_train_autoencoder("--trajectories", recording, "--output-dir", folder / "a")
        run_train_sd("--output-dir", folder / "b", *training_data(folder))
    return folder


def training_data(folder: Path) -> list:
    """Options of train_sd.py for the recording and the autoencoder of `train_small_models`."""
    return ["--trajectories", folder / "square.npz", "--autoencoder-dir", folder / "a"]


def error_line(run: Callable[..., None], *flags) -> str:
    """The one line with which a script refuses its input."""
    with pytest.raises(SystemExit) as stopped:
        run_script(lambda: run(*flags))
    line = str(stopped.value.code)
    assert line.startswith("error: ") and "\n" not in line
    return line


def metrics_rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_same(one, other, where: str = "") -> None:
    """Two checkpoints are equal bit for bit, except for `elapsed_s`, which the clock decides."""
    assert type(one) is type(other), where
    if isinstance(one, Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif isinstance(one, dict):
        assert set(one) == set(other), where
        for key in set(one) - {"elapsed_s"}:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{i}")
    else:
        assert one == other, where
