"""The size of recorded frames: a large picture is scaled down, because training time grows with its pixels."""

import argparse
import math
from typing import Optional, Tuple

import numpy as np

from player.common.errors import InputError

MAX_KEPT_PIXELS = (
    36_000  # pictures up to this size keep it, and with it thin objects such as the ball of Breakout
)
MAX_PIXELS = 32_000  # of a scaled picture; Mode7Kart's frames, 112 x 256, have 28,672
MAX_TURN_PIXELS = 8_192  # of a turn-based game, whose tiles are large
MIN_TURN_SIDE = 32
SIZE_MULTIPLE = 16  # of its sides: sd/ pads frames to it
MIN_SIDE, MAX_SIDE = 16, 4096  # of --frame-size
DISTORTION_WEIGHT = 10.0  # a distortion of 1 % is worth 10 % of the pixels
FULL_SIZE = (0, 0)  # stands for the size of the picture itself
FRAME_SIZE_HELP = (
    "size of the recorded frames, in pixels (default: that of the game; a picture of more than "
    f"{MAX_KEPT_PIXELS} pixels is scaled down to at most {MAX_PIXELS}, of a turn-based game to at most "
    f"{MAX_TURN_PIXELS}; a tiny one is enlarged)"
)

Size = Tuple[int, int]  # height, width


def frame_side(text: str) -> int:
    """Parses a height or a width. Raises ArgumentTypeError."""
    if not text.isdecimal() or not MIN_SIDE <= int(text) <= MAX_SIDE:
        raise argparse.ArgumentTypeError(f"{text}: expected HEIGHT WIDTH, each from {MIN_SIDE} to {MAX_SIDE}")
    return int(text)


def choose_frame_size(height: int, width: int) -> Size:
    """The default size of the frames for a picture: its own, a multiple of it if it is tiny, or, if it is large, about
    the largest of at most MAX_PIXELS with nearly the same aspect ratio. Raises InputError if it is a mere strip."""
    if height * width > MAX_KEPT_PIXELS:
        sizes = []
        for rows in range(SIZE_MULTIPLE, MAX_PIXELS // SIZE_MULTIPLE, SIZE_MULTIPLE):
            columns = max(1, round(rows * width / height / SIZE_MULTIPLE)) * SIZE_MULTIPLE
            if rows * columns <= MAX_PIXELS:
                distortion = abs(math.log(rows * width / (columns * height)))
                score = math.log(rows * columns) - DISTORTION_WEIGHT * distortion
                sizes.append((score, (rows, columns)))
        if not sizes:
            raise InputError(
                f"a picture of {height} x {width} pixels: choose a part by --crop, or give --frame-size"
            )
        return max(sizes)[1]
    factor = int(math.sqrt(MAX_PIXELS / (height * width)))
    if factor > 4:
        factor -= factor % 4  # each pixel becomes whole latent pixels
    return height * max(factor, 1), width * max(factor, 1)


def choose_turn_size(height: int, width: int) -> Optional[Size]:
    """The default size of the frames for a large picture of a turn-based game: divided by a whole number, so that tiles
    stay sharp, to at most MAX_TURN_PIXELS. None if it is not large, or there is no such number."""
    if height * width > MAX_KEPT_PIXELS:
        for factor in range(2, min(height, width) // MIN_TURN_SIDE + 1):
            size = height // factor, width // factor
            if height % factor == width % factor == 0 and size[0] * size[1] <= MAX_TURN_PIXELS:
                return size
    return None


def resolve_frame_size(
    frame_size: Optional[Size], height: int, width: int, is_turn_based: bool = False
) -> Size:
    """The size of the frames for a picture; `frame_size`: the user's, FULL_SIZE, or None for the default."""
    if frame_size == FULL_SIZE:
        return height, width
    turn_size = choose_turn_size(height, width) if is_turn_based else None
    return frame_size or turn_size or choose_frame_size(height, width)


def describe_frame_size(height: int, width: int, size: Size) -> str:
    """A line that says how pictures become frames."""
    if tuple(size) == (height, width):
        return f"frames keep the size of the game, {height} x {width}"
    verb = "scaled" if size[0] * size[1] < height * width else "enlarged"
    remedy = f" (--frame-size {height} {width} keeps them)" if min(height, width) >= MIN_SIDE else ""
    return f"frames of {height} x {width} are {verb} to {size[0]} x {size[1]}{remedy}"


def fit_frame(picture: np.ndarray, size: Size) -> np.ndarray:
    """Resizes a picture, uint8 (h, w, 3), to `size`: by the mean of the area that each new pixel covers; an enlarged
    picture keeps its sharp pixels. Raises InputError if OpenCV is missing."""
    height, width = picture.shape[:2]
    if (height, width) == tuple(size):
        return picture
    try:
        import cv2  # imported here because the built-in game does not need it
    except ImportError:
        raise InputError(
            f"scaling frames needs OpenCV: pip install opencv-python, or --frame-size {height} {width}"
        ) from None
    # A forked worker does not have the threads that OpenCV has started in its parent, and would wait for them.
    cv2.setNumThreads(1)
    is_larger = size[0] >= height and size[1] >= width
    method = cv2.INTER_NEAREST if is_larger else cv2.INTER_AREA
    return cv2.resize(picture, (size[1], size[0]), interpolation=method)
