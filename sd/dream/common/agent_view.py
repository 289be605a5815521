"""Preprocessing of frames for the agent: grey, OBS_SIZE x OBS_SIZE pixels. NumPy only, for use in worker processes.

ppo/player/common/agent_view.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

from functools import lru_cache
from math import gcd
from typing import Tuple

import numpy as np

OBS_SIZE = 84  # height and width of the agent's observation, pixels
MAX_PRODUCT = 2**18  # multiplications of a matrix product above which OpenBLAS starts threads
GREY = (0.299, 0.587, 0.114)  # luma weights of R, G, B (ITU-R BT.601)


@lru_cache(maxsize=8)
def area_resize_matrix(size: int) -> np.ndarray:
    """Matrix of area averaging that resizes `size` pixels to OBS_SIZE: row i holds the weights of target pixel i.

    The pattern of weights repeats, so only its first period is returned: shape (OBS_SIZE / g, size / g) with g the
    greatest common divisor of `size` and OBS_SIZE.
    """
    divisor = gcd(size, OBS_SIZE)
    edges = np.arange(size // divisor + 1) * OBS_SIZE / size
    cells = np.arange(OBS_SIZE // divisor)[:, None]
    overlap = (np.minimum(edges[1:], cells + 1) - np.maximum(edges[:-1], cells)).clip(min=0)
    return overlap / overlap.sum(axis=1, keepdims=True)


@lru_cache(maxsize=8)
def averaging_matrices(height: int, width: int) -> Tuple[np.ndarray, np.ndarray]:
    """float32 matrices of one period: over rows (v, h), and over columns and colours (3 w, v)."""
    rows, columns = area_resize_matrix(height), np.kron(area_resize_matrix(width), GREY).T
    return rows.astype(np.float32), np.ascontiguousarray(columns, np.float32)


def preprocess_frame(frame_u8: np.ndarray) -> np.ndarray:
    """RGB frame uint8 (H, W, 3) -> grey uint8 (OBS_SIZE, OBS_SIZE); each pixel is the mean of the area it covers.

    Many small matrix products, one per period, instead of two large ones that consist mostly of zeros: six times
    faster, and too small for BLAS to use several threads, which would compete with the other worker processes.
    """
    H, W, _ = frame_u8.shape
    rows, columns = averaging_matrices(H, W)
    h = rows.shape[1]
    size = h * W * 3 // len(columns)  # rows of the first product
    while size * columns.size > MAX_PRODUCT and size % 2 == 0:
        size //= 2
    periods = frame_u8.reshape(-1, size, len(columns)).astype(np.float32)  # (H W / (w size), size, 3 w)
    narrow = (periods @ columns).reshape(-1, h, OBS_SIZE)
    return np.rint(rows @ narrow).astype(np.uint8).reshape(OBS_SIZE, OBS_SIZE)


def preprocess_frames(frames_u8: np.ndarray) -> np.ndarray:
    """RGB frames uint8 (B, H, W, 3) -> grey uint8 (B, OBS_SIZE, OBS_SIZE)."""
    return np.stack([preprocess_frame(frame) for frame in frames_u8])
