"""What keeps a GPU from waiting: data in its own memory, noise drawn there, and no questions asked of it on the way.

On the CPU all of it is as if it were not there.
"""

import warnings

import numpy as np
import torch
from torch import Tensor


def cache_on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Frames or latents (N, T, ...) where they are wanted: in the memory of a GPU that has room to spare, else where
    they are, memory-mapped; nobody writes into them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(array)
    if (
        device.type == "cuda" and array.nbytes < torch.cuda.mem_get_info(device)[0] / 3
    ):  # learning wants the rest
        there = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
        for row, into in zip(tensor, there, strict=True):
            into.copy_(row)
        return there
    return tensor


def device_generator(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """What draws on `device` what `generator`, which is of the CPU, decides: itself there, elsewhere one that it
    seeds."""
    if device.type == "cpu":
        return generator
    seed = torch.randint(2**62, (), generator=generator).item()
    return torch.Generator(device).manual_seed(seed)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, without waiting until the GPU has done all that it was given before."""
    return tensor.to(device, non_blocking=True)


def mask_indices(mask: Tensor, device: torch.device) -> Tensor:
    """Where a mask (B,) on the CPU is True, sent. Of a mask of its own a GPU would first have to count."""
    return to_device(mask.nonzero()[:, 0], device)
