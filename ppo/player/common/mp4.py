"""Writes mp4 files with OpenCV, which notices neither a full disk nor a frame that it cannot encode.

So the room on the disk is watched, and a finished file is opened and its frames are counted.
sd/dream/common/mp4.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

from pathlib import Path
from types import ModuleType
from typing import Tuple

import numpy as np

from player.common.disk_room import DiskFull, free_bytes
from player.common.errors import InputError, shorten

MAX_BYTES_PER_PIXEL = 0.3  # of a frame of noise
CHECK_FRAMES = 8  # how often the room is asked for
INDEX_BYTES = 2**16  # written at the end, with the encoder's buffer


def import_opencv() -> ModuleType:
    """The module cv2. Raises InputError if it is not installed or lacks a library, such as libGL."""
    try:
        import cv2
    except (ImportError, OSError) as problem:
        fix = "pip install opencv-python"
        if not isinstance(problem, ModuleNotFoundError):  # a library that it needs is missing
            fix = f"it cannot be loaded here ({shorten(problem, 100)}); pip install opencv-python-headless needs less"
        raise InputError(f"an mp4 needs OpenCV: {fix}") from None
    return cv2


class Mp4Writer:
    """Writes frames, uint8 (H, W, 3), RGB, to `path`, each side enlarged by the factor `scale`."""

    BYTES_PER_PIXEL = 0.05  # of a frame of a game, as a rule

    def __init__(self, path: Path, fps: float, frame_shape: Tuple[int, int], scale: int) -> None:
        """Raises InputError if OpenCV is missing or cannot write there."""
        cv2 = import_opencv()
        H, W = frame_shape
        self.path, self.scale, self.num_frames = path, scale, 0
        self.pad = ((0, H * scale % 2), (0, W * scale % 2), (0, 0))  # the codec accepts even sizes only
        size = (W * scale + self.pad[1][1], H * scale + self.pad[0][1])
        self.max_frame_bytes = MAX_BYTES_PER_PIXEL * size[0] * size[1]
        self.writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
        if not self.writer.isOpened():
            raise InputError(f"OpenCV cannot write an mp4 in {path.parent}: choose another folder")

    def write(self, frame_u8: np.ndarray) -> None:
        """Raises DiskFull, before the frame is written, while there is still room to finish the file."""
        room = CHECK_FRAMES * self.max_frame_bytes + INDEX_BYTES
        if self.num_frames % CHECK_FRAMES == 0 and self.num_frames and free_bytes(self.path) < room:
            raise DiskFull(self.path)
        large = frame_u8.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        large = np.pad(large, self.pad, mode="edge")
        self.writer.write(np.ascontiguousarray(large[:, :, ::-1]))  # RGB -> BGR, OpenCV's order
        self.num_frames += 1

    def finish(self) -> int:
        """Finishes the file; returns the number of frames that can be read from it."""
        self.writer.release()
        return count_frames(self.path) if self.num_frames else 0


def count_frames(path: Path) -> int:
    """The number of frames of a video that can be read, one after the other; 0 if it cannot be opened."""
    capture, num_frames = import_opencv().VideoCapture(str(path)), 0
    while capture.isOpened() and capture.grab():
        num_frames += 1
    capture.release()
    return num_frames
