"""Video files of frames: .mp4 (mp4.py) and .gif (gif.py)."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from dream.common.disk_room import DiskFull, check_room
from dream.common.errors import InputError
from dream.common.files import make_folder, temporary_path
from dream.common.gif import GifWriter
from dream.common.mp4 import Mp4Writer, import_opencv

SUFFIXES = (".mp4", ".gif")
GIF_INSTEAD = "; or choose a name that ends in .gif"


def check_opencv() -> None:
    """Raises InputError, which names the alternative, if no mp4 can be written here."""
    try:
        import_opencv()
    except InputError as problem:
        raise InputError(f"{problem}{GIF_INSTEAD}") from None


def default_suffix() -> str:
    """Suffix of a video file if none is given: .mp4 if OpenCV is installed and can be loaded, else .gif."""
    try:
        import_opencv()
    except InputError:
        return ".gif"
    return ".mp4"


def free_path(folder: Path, suffix: str, stem: str = "dream") -> Path:
    """The first of `<stem>_001<suffix>`, `<stem>_002<suffix>` ... that neither exists nor is being written."""
    number = 1
    while any(folder.glob(f"{stem}_{number:03d}{suffix}*")):  # a temporary file has the name in its own
        number += 1
    return folder / f"{stem}_{number:03d}{suffix}"


class VideoFile:
    """`with VideoFile(path, fps, (H, W)) as video: video.write(frame)`, frame uint8 (H, W, 3), RGB.

    fps: frames per second. scale: factor by which each side is enlarged. num_frames: how many frames will be written,
    if it is known, to ask for the room. Frames go to a temporary file, which is opened and its frames counted before it
    replaces `path` on closing. Frames written before Ctrl-C, an error or a full disk are kept, which `atomic_write`
    (files.py) would not do; a video without frames leaves no file.

    Raises InputError if the file cannot be opened, or if the disk has no room for it.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        frame_shape: tuple[int, int],
        scale: int = 2,
        num_frames: int | None = None,
    ) -> None:
        self.path, self.frame_shape = Path(path), tuple(frame_shape)
        self.num_frames = 0  # written; after `close`, in the file
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise InputError(f"cannot record to {self.path}: the name must end in {' or '.join(SUFFIXES)}")
        writer = {".gif": GifWriter, ".mp4": Mp4Writer}[suffix]
        self.tmp_path = temporary_path(self.path, f".writing{suffix}")
        try:
            make_folder(self.path.parent)
            if self.path.is_dir():
                raise IsADirectoryError("it is a folder")
            frames, pixels = num_frames or 1, frame_shape[0] * frame_shape[1] * scale**2
            check_room(
                self.path, frames * pixels * writer.BYTES_PER_PIXEL + 2**16, f"a video of {frames} frames"
            )
            self.tmp_path.touch(exist_ok=False)
        except OSError as error:
            raise InputError(
                f"cannot record to {self.path}: {error.strerror or error}: choose another path"
            ) from None
        try:
            self.encoder = writer(self.tmp_path, fps, self.frame_shape, scale)
        except InputError as problem:  # of OpenCV
            self.tmp_path.unlink()
            raise InputError(f"{problem}{GIF_INSTEAD}") from None

    def write(self, frame_u8: np.ndarray) -> None:
        """Appends a frame, uint8 (H, W, 3), RGB. Raises DiskFull, while there is room to finish the file."""
        assert frame_u8.dtype == np.uint8 and frame_u8.shape == (*self.frame_shape, 3), frame_u8.shape
        try:
            self.encoder.write(frame_u8)
        except DiskFull:
            raise DiskFull(self.path, f"recording stopped after {self.num_frames} frames") from None
        self.num_frames += 1

    def close(self) -> None:
        """Finishes the temporary file and moves it to `path`. A second call does nothing.

        Raises DiskFull if it holds fewer frames than were written; those that it holds are kept."""
        if self.encoder is None:
            return
        encoder, self.encoder = self.encoder, None
        num_written = self.num_frames
        try:
            self.num_frames = encoder.finish()
            if self.num_frames:
                os.replace(self.tmp_path, self.path)
        finally:
            with suppress(OSError):
                self.tmp_path.unlink()
        if self.num_frames < num_written:
            kept = f"it holds the first {self.num_frames} of {num_written} frames"
            raise DiskFull(self.path, kept if self.num_frames else f"none of {num_written} frames is kept")

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
