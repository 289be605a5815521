"""Saves frames as an mp4 (mp4.py). OpenCV is imported only when needed: training works without it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Iterable, Optional

import numpy as np

from player.common.disk_room import DiskFull, check_room
from player.common.files import make_folder, temporary_path
from player.common.mp4 import INDEX_BYTES, Mp4Writer, import_opencv


def save_video(
    frames: Iterable[np.ndarray], path: Path, fps: float, scale: int = 2, num_frames: Optional[int] = None
) -> int:
    """Writes RGB frames uint8 (H, W, 3) to an mp4, enlarged `scale` times; returns how many. Creates the folder if
    it is missing; without a frame there is no file. `num_frames`: how many there will be, to ask for the room.

    Frames written before an error, a full disk or Ctrl-C are kept. Raises InputError if there is no room or no OpenCV,
    DiskFull if the file holds fewer frames than it should, OSError if it cannot be written.
    """
    import_opencv()
    path = Path(path)
    make_folder(path.parent)
    if path.is_dir():
        raise IsADirectoryError(f"cannot write a video to {path}: it is a folder")
    tmp_path = temporary_path(path, f".writing{path.suffix}")
    tmp_path.touch(exist_ok=False)
    writer, num_written, num_kept, stopped = None, 0, 0, False
    try:
        for frame in frames:
            if writer is None:
                H, W, _ = frame.shape
                num_bytes = (num_frames or 1) * H * W * scale**2 * Mp4Writer.BYTES_PER_PIXEL + INDEX_BYTES
                check_room(path, num_bytes, "this video")
                writer = Mp4Writer(tmp_path, fps, (H, W), scale)
            try:
                writer.write(frame)
            except DiskFull:
                stopped = True
                break
            num_written += 1
    finally:  # also after Ctrl-C: the frames written so far can be watched
        try:
            num_kept = writer.finish() if writer else 0
            if num_kept:
                os.replace(str(tmp_path), str(path))
        finally:
            with suppress(OSError):
                tmp_path.unlink()
    if num_kept < num_written or stopped:
        kept = (
            f"it holds the first {num_kept} frames" if num_kept else f"none of {num_written} frames is kept"
        )
        raise DiskFull(path, kept)
    return num_kept
