"""Helpers that avoid waiting for the GPU: data in GPU memory, noise drawn on the GPU, no synchronisation points.

On the CPU they have no effect.
"""

import warnings

import numpy as np
import torch
from torch import Tensor


def cache_on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Frames or latents (N, T, ...) as a tensor of the same type; treat it as read only.

    Copied to a CUDA device if it needs less than a third of the device's free memory; else it stays memory-mapped.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(array)
    # Training needs the other two thirds of the GPU memory.
    if device.type == "cuda" and array.nbytes < torch.cuda.mem_get_info(device)[0] / 3:
        on_device = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
        for source, target in zip(
            tensor, on_device, strict=True
        ):  # row by row: all may not fit in CPU memory
            target.copy_(source)
        return on_device
    return tensor


def device_generator(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """On the CPU, `generator` itself (a CPU generator); else a new generator on `device`, seeded by a draw from it."""
    if device.type == "cpu":
        return generator
    seed = torch.randint(2**62, (), generator=generator).item()
    return torch.Generator(device).manual_seed(seed)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies to the device without waiting for the GPU to finish its queued work."""
    return tensor.to(device, non_blocking=True)


def mask_indices(mask: Tensor, device: torch.device) -> Tensor:
    """Indices int64 (M,), on `device`, where a CPU mask, bool (B,), is True.

    Indexing with a mask on the GPU would wait for the GPU, because the size of the result is needed on the CPU.
    """
    return to_device(mask.nonzero()[:, 0], device)
