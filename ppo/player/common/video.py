"""Saves frames as a video file. OpenCV is imported only when needed: training works without it."""

from pathlib import Path
from typing import Iterable

import numpy as np


def save_video(frames: Iterable[np.ndarray], path: Path, fps: float, scale: int = 2) -> None:
    """Writes RGB frames uint8 (H, W, 3) to an mp4, enlarged `scale` times; creates the folder if missing.

    Raises OSError if the file cannot be written, ImportError without OpenCV.
    """
    import cv2

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = None
    try:
        for frame in frames:
            large = frame.repeat(scale, axis=0).repeat(scale, axis=1)
            if writer is None:
                size = (large.shape[1], large.shape[0])
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
                if not writer.isOpened():
                    raise OSError(f"cannot write a video to {path}")
            writer.write(large[..., ::-1])  # RGB -> BGR, OpenCV's order
    finally:  # also after Ctrl-C: the frames written so far can be watched
        if writer is not None:
            writer.release()
