"""Saves frames as an mp4. OpenCV is imported only when needed: training works without it.

OpenCV notices neither a full disk nor a frame that it cannot encode. So the room on the disk is watched, and a finished
file is opened and its frames are counted before it gets its name."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterable, Optional

import numpy as np

from player.common.disk_room import DiskFull, check_room, free_bytes

BYTES_PER_PIXEL = 0.05  # of a frame of a game, as a rule
MAX_BYTES_PER_PIXEL = 0.3  # of a frame of noise
CHECK_FRAMES = 8  # how often the room is asked for
INDEX_BYTES = 2**16  # written at the end, with the encoder's buffer


def save_video(
    frames: Iterable[np.ndarray], path: Path, fps: float, scale: int = 2, num_frames: Optional[int] = None
) -> int:
    """Writes RGB frames uint8 (H, W, 3) to an mp4, enlarged `scale` times; returns how many. Creates the folder if
    it is missing; without a frame there is no file. `num_frames`: how many there will be, to ask for the room.

    Frames written before an error, a full disk or Ctrl-C are kept. Raises InputError if there is no room, DiskFull if
    the file holds fewer frames than it should, OSError if it cannot be written, ImportError without OpenCV.
    """
    cv2 = import_opencv()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(f"cannot write a video to {path}: it is a folder")
    tmp_path = path.with_name(f"{path.stem}.writing{path.suffix}")
    with suppress(FileNotFoundError):
        tmp_path.unlink()  # of a process that was killed, or a link to somewhere else
    tmp_path.touch(exist_ok=False)
    writer, num_written, stopped = None, 0, False
    try:
        for frame in frames:
            large = frame.repeat(scale, axis=0).repeat(scale, axis=1)
            H, W, _ = large.shape
            large = np.pad(
                large, ((0, H % 2), (0, W % 2), (0, 0)), mode="edge"
            )  # the codec accepts even sizes only
            if writer is None:
                check_room(path, (num_frames or 1) * H * W * BYTES_PER_PIXEL + INDEX_BYTES, "this video")
                size = (large.shape[1], large.shape[0])
                writer = cv2.VideoWriter(str(tmp_path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
                if not writer.isOpened():
                    raise OSError(f"cannot write a video to {path}")
            room = CHECK_FRAMES * H * W * MAX_BYTES_PER_PIXEL + INDEX_BYTES
            if num_written and num_written % CHECK_FRAMES == 0 and free_bytes(tmp_path) < room:
                stopped = True
                break
            writer.write(np.ascontiguousarray(large[..., ::-1]))  # RGB -> BGR, OpenCV's order
            num_written += 1
    finally:  # also after Ctrl-C: the frames written so far can be watched
        num_kept = finish(cv2, writer, tmp_path, path) if num_written else 0
        with suppress(OSError):
            tmp_path.unlink()
    if num_kept < num_written or stopped:
        kept = (
            f"it holds the first {num_kept} frames" if num_kept else f"none of {num_written} frames is kept"
        )
        raise DiskFull(path, kept)
    return num_kept


def import_opencv() -> Any:
    """The module cv2. Raises ImportError if it is not installed, or lacks a library such as libGL."""
    try:
        import cv2
    except OSError as problem:
        raise ImportError(str(problem)) from None
    return cv2


def finish(cv2: Any, writer: Any, tmp_path: Path, path: Path) -> int:
    """Finishes the temporary file, counts the frames that can be read from it, and gives it its name if there are
    any; returns their number."""
    writer.release()
    capture, num_frames = cv2.VideoCapture(str(tmp_path)), 0
    while capture.isOpened() and capture.grab():
        num_frames += 1
    capture.release()
    if num_frames:
        os.replace(str(tmp_path), str(path))
    return num_frames
