"""Helpers that avoid waiting for the GPU: data in GPU memory, noise drawn on the GPU, no synchronisation points.

On the CPU they have no effect.
"""

import warnings

import numpy as np
import torch
from torch import Tensor


def cache_on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A tensor of frames or latents (N, T, ...), to be treated as read only.

    It is copied to the GPU if it takes less than a third of the free memory; else it stays memory-mapped in CPU memory.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(array)
    if (
        device.type == "cuda" and array.nbytes < torch.cuda.mem_get_info(device)[0] / 3
    ):  # training needs the rest
        on_device = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
        for source, target in zip(
            tensor, on_device, strict=True
        ):  # by row: the whole may not fit in CPU memory
            target.copy_(source)
        return on_device
    return tensor


def device_generator(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """A generator on `device` that is determined by `generator` (on the CPU): itself on the CPU, else seeded by it."""
    if device.type == "cpu":
        return generator
    seed = torch.randint(2**62, (), generator=generator).item()
    return torch.Generator(device).manual_seed(seed)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies to the device without waiting for the GPU to finish its queued work."""
    return tensor.to(device, non_blocking=True)


def mask_indices(mask: Tensor, device: torch.device) -> Tensor:
    """Indices, on `device`, where a CPU mask (B,) is True. Indexing with a mask on the GPU would have to wait for it,
    because the size of the result is known only after counting."""
    return to_device(mask.nonzero()[:, 0], device)
