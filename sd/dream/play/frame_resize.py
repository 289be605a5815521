"""Resizes the frames of the real game to the size of the recording, as the recorder does. NumPy only."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=8)
def area_matrix(size: int, target: int) -> np.ndarray:
    """Matrix of area averaging, float32 (target, size): row i holds the weights of target pixel i."""
    edges = np.arange(size + 1) * (target / size)
    cells = np.arange(target)[:, None]
    overlap = (np.minimum(edges[1:], cells + 1) - np.maximum(edges[:-1], cells)).clip(min=0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def resize_frame(frame_u8: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A frame, uint8 (h, w, 3), with `size` (H, W): by the mean of the area that each new pixel covers, or, if it is
    enlarged, with sharp pixels."""
    (h, w, _), (H, W) = frame_u8.shape, size
    if (h, w) == (H, W):
        return frame_u8
    if h <= H and w <= W:
        return frame_u8[np.arange(H) * h // H][:, np.arange(W) * w // W]
    rows = area_matrix(h, H) @ frame_u8.reshape(h, w * 3).astype(np.float32)  # (H, w * 3)
    columns = area_matrix(w, W) @ rows.reshape(H, w, 3)  # (H, W, 3)
    return np.rint(columns).astype(np.uint8)
