"""What the agent sees of a frame: grey, VIEW x VIEW. numpy alone, so that the games' own processes can make it.

The same lines stand in sd/dream/common/agent_view.py; the two sides share no Python, and a test keeps them equal.
"""

from functools import lru_cache
from math import gcd
from typing import Tuple

import numpy as np

VIEW = 84  # pixels on a side of what the agent sees
GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601


@lru_cache(maxsize=8)
def area_resize_matrix(size: int) -> np.ndarray:
    """Row i averages the stretch of pixels that falls on target pixel i, as `size` pixels become VIEW. Only the part
    after which the pattern repeats: VIEW / g of VIEW and size / g of size pixels, g the greatest common divisor."""
    part = gcd(size, VIEW)
    edges = np.arange(size // part + 1) * VIEW / size
    cells = np.arange(VIEW // part)[:, None]
    overlap = (np.minimum(edges[1:], cells + 1) - np.maximum(edges[:-1], cells)).clip(min=0)
    return overlap / overlap.sum(axis=1, keepdims=True)


@lru_cache(maxsize=8)
def averaging_matrices(height: int, width: int) -> Tuple[np.ndarray, np.ndarray]:
    """float32: for a part of the rows (v, h); for a part of the columns, their colours mixed too (3 w, v)."""
    rows, columns = area_resize_matrix(height), np.kron(area_resize_matrix(width), GREY).T
    return rows.astype(np.float32), np.ascontiguousarray(columns, np.float32)


def preprocess_frame(frame_u8: np.ndarray) -> np.ndarray:
    """An RGB frame uint8 (H, W, 3) -> grey uint8 (VIEW, VIEW), each pixel the mean of what it covers.

    By many small products in place of two large ones, most of whose factors are 0: a sixth of the time, and too small
    for the threads of a BLAS, which wait for one another where other processes want the cores.
    """
    H, W, _ = frame_u8.shape
    rows, columns = averaging_matrices(H, W)
    h = rows.shape[1]
    parts = frame_u8.reshape(H // h, -1, len(columns)).astype(np.float32)  # (H / h, h W / w, 3 w)
    narrow = (parts @ columns).reshape(-1, h, VIEW)
    return np.rint(rows @ narrow).astype(np.uint8).reshape(VIEW, VIEW)


def preprocess_frames(frames_u8: np.ndarray) -> np.ndarray:
    """Of each frame (B, H, W, 3): (B, VIEW, VIEW)."""
    return np.stack([preprocess_frame(frame) for frame in frames_u8])
