"""Helpers of the training tests: a network that records its inputs, the training scripts with small networks."""

import contextlib
import csv
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import train_autoencoder
import train_sd
from dream.common.errors import run_script
from dream.models.autoencoder import AutoencoderConfig
from dream.models.unet import UNetConfig
from dream.training import setup
from small import moving_square
from torch import Tensor, nn

L = 4  # frames of context
ONE_EPOCH = ["--epochs", "1", "--epoch-samples", "16", "--batch-size", "8", "--device", "cpu"]  # two steps


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latent_grid(values: list) -> Tensor:
    """Numbers (B, T) as latents (B, T, 1, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32)[..., None, None, None]


class RecordingUNet(nn.Module):
    """Stands in for a UNet of 1x1 latents of one channel: a latent is a number.

    Predicts 10 x the last latent of the context + the last action, and appends the inputs of each call to `calls`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            context=L,
            num_actions=10,
            change_threshold=0.05,
            still_threshold=0.0,
            prediction_type="x0",
            use_flow=False,
        )
        self.weight = nn.Parameter(torch.ones(()))
        self.calls = []

    def warp_last_latent(self, context, actions, last_frame=None):
        return context[:, -1]

    def forward(self, z, t, context, actions, context_noise=None, warped=None):
        context_noise = torch.zeros_like(t) if context_noise is None else context_noise
        inputs = {"z": z, "t": t, "context": context, "actions": actions, "context_noise": context_noise}
        inputs = {name: tensor.detach().clone() for name, tensor in inputs.items()}
        self.calls.append(SimpleNamespace(**inputs))
        return self.weight * (10 * context[:, -1] + actions[:, -1].float().reshape(-1, 1, 1, 1))


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

    autoencoder_config = functools.partial(AutoencoderConfig, channels=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_autoencoder, "AutoencoderConfig", autoencoder_config)
        patch.setattr(setup, "UNetConfig", unet_config)
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
    """Two checkpoints are equal bit for bit, except for the times that the clock decides."""
    assert type(one) is type(other), where
    if isinstance(one, Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif isinstance(one, dict):
        assert set(one) == set(other), where
        for key in set(one) - {"elapsed_s", "trained_s", "spent_s", "budget"}:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{i}")
    else:
        assert one == other, where
