"""Flicker: objects that a console draws only in every second to fourth frame, because it has too few sprites.

With frame skip, always the same of these objects would be seen. The maximum of the last two frames (Mnih et al. 2015,
Atari) or, where the flicker has a longer period, of as many frames as the period, shows all of them. It also shows
what moves at each of its places in these frames, and hides what is darker than its background; so it is used only
where it is needed.
"""

from collections import deque
from typing import Deque, Sequence

import numpy as np

MAX_PERIOD = 4  # longest period that is looked for, frames
PROBE_FRAMES = 4 * MAX_PERIOD  # frames that `flicker_period` should get: four periods of the longest flicker
MIN_PIXELS, MIN_FRACTION = 4, 1 / 5000  # of a picture: fewer flickering pixels do not count
MAX_MERGED = 16  # largest accepted number of merged frames
FLICKERING_SYSTEMS = ("Atari2600", "Nes")  # consoles whose games flicker as a rule


class FrameMaximum:
    """Pixel-wise maximum of the last `num_frames` frames since the last `clear`."""

    def __init__(self, num_frames: int) -> None:
        self.frames: Deque[np.ndarray] = deque(maxlen=num_frames)

    def clear(self) -> None:
        """Forgets all frames: at a reset, or when frames in between were not looked at."""
        self.frames.clear()

    def push(self, frame_u8: np.ndarray) -> np.ndarray:
        """Adds a frame, uint8 (H, W, 3), that the caller does not change afterwards; returns the maximum."""
        self.frames.append(frame_u8)
        return frame_u8 if len(self.frames) == 1 else np.maximum.reduce(list(self.frames))


def flicker_period(frames_u8: Sequence[np.ndarray]) -> int:
    """The longest period of flicker in consecutive frames, uint8 (H, W, 3) each: 1 (none) to MAX_PERIOD.

    A pixel flickers with period P if each frame repeats the color of P frames before, but not those in between. What
    moves does not repeat; a pattern that scrolls at exactly this period cannot be told from flicker.
    """
    if len(frames_u8) < 3 * MAX_PERIOD:
        return 1
    frames = np.stack([*frames_u8])
    found, flickering = 1, (frames == frames[0]).all(axis=(0, 3))  # (H, W): constant, or flickering already
    for period in range(2, MAX_PERIOD + 1):
        repeats = (frames[period:] == frames[:-period]).all(axis=(0, 3)) & ~flickering
        if repeats.sum() >= max(MIN_PIXELS, repeats.size * MIN_FRACTION):
            found = period
        flickering |= repeats
    return found
