"""Writes frames to a video file: .mp4 with OpenCV, .gif with Pillow."""

import importlib.util
import os
from itertools import pairwise
from pathlib import Path

import numpy as np

from dream.common.errors import InputError

SUFFIXES = (".mp4", ".gif")


def default_suffix() -> str:
    """Suffix of a video file if none is given: .mp4 if OpenCV is installed, else .gif."""
    return ".mp4" if importlib.util.find_spec("cv2") else ".gif"


def free_path(folder: Path, suffix: str, stem: str = "dream") -> Path:
    """The first of `<stem>_001<suffix>`, `<stem>_002<suffix>` ... that neither exists nor is being written."""
    number = 1
    while (folder / f"{stem}_{number:03d}{suffix}").exists() or any(
        folder.glob(f"{stem}_{number:03d}.writing{suffix}*")
    ):
        number += 1
    return folder / f"{stem}_{number:03d}{suffix}"


class VideoFile:
    """`with VideoFile(path, fps, (H, W)) as video: video.write(frame)`, frame uint8 (H, W, 3), RGB.

    fps: frames per second. scale: factor by which each side is enlarged. Frames go to a temporary file that replaces
    `path` on closing. Frames written before Ctrl-C or an error are kept, which `atomic_write` (files.py) would not do;
    a video without frames leaves no file. Raises InputError if the file cannot be opened.
    """

    def __init__(self, path: Path, fps: float, frame_shape: tuple[int, int], scale: int = 2) -> None:
        self.path, self.fps, self.frame_shape, self.scale = Path(path), fps, tuple(frame_shape), scale
        self.num_frames = 0
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise InputError(f"cannot record to {self.path}: the name must end in {' or '.join(SUFFIXES)}")
        self.tmp_path = self.path.with_name(f"{self.path.stem}.writing{suffix}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise IsADirectoryError("it is a folder")
            self.tmp_path.touch()
        except OSError as error:
            raise InputError(f"cannot record to {self.path}: {error.strerror or error}") from None
        self.encoder = _Gif(self.tmp_path, fps, scale) if suffix == ".gif" else self._open_mp4()

    def _open_mp4(self) -> "_Mp4":
        try:
            return _Mp4(self.tmp_path, self.fps, self.frame_shape, self.scale)
        except InputError:
            self.tmp_path.unlink()
            raise

    def write(self, frame_u8: np.ndarray) -> None:
        """Appends a frame, uint8 (H, W, 3), RGB."""
        assert frame_u8.dtype == np.uint8 and frame_u8.shape == (*self.frame_shape, 3), frame_u8.shape
        self.encoder.write(frame_u8)
        self.num_frames += 1

    def close(self) -> None:
        """Finishes the temporary file and moves it to `path`. A second call does nothing."""
        if self.encoder is None:
            return
        encoder, self.encoder = self.encoder, None
        try:
            encoder.finish()
            if self.num_frames:
                os.replace(self.tmp_path, self.path)
        finally:
            self.tmp_path.unlink(missing_ok=True)

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Mp4:
    def __init__(self, path: Path, fps: float, frame_shape: tuple[int, int], scale: int) -> None:
        try:
            import cv2
        except ImportError:
            raise InputError(
                "writing an mp4 needs OpenCV: pip install opencv-python, or choose a name that ends in .gif"
            ) from None
        H, W = frame_shape
        self.scale, self.pad = scale, ((0, H * scale % 2), (0, W * scale % 2), (0, 0))
        size = (W * scale + self.pad[1][1], H * scale + self.pad[0][1])  # the codec accepts even sizes only
        self.writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
        if not self.writer.isOpened():
            raise InputError(f"OpenCV cannot write an mp4 in {path.parent}: choose a name that ends in .gif")

    def write(self, frame_u8: np.ndarray) -> None:
        large = frame_u8.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        large = np.pad(large, self.pad, mode="edge")
        self.writer.write(np.ascontiguousarray(large[:, :, ::-1]))  # RGB -> BGR, OpenCV's order

    def finish(self) -> None:
        self.writer.release()


class _Gif:
    """Keeps all frames in memory (256 colours, not enlarged) until the end: Pillow writes a GIF in one call."""

    def __init__(self, path: Path, fps: float, scale: int) -> None:
        self.path, self.fps, self.scale, self.frames = path, fps, scale, []

    def write(self, frame_u8: np.ndarray) -> None:
        from PIL import Image

        self.frames.append(Image.fromarray(frame_u8).quantize(256, dither=Image.Dither.NONE))

    def finish(self) -> None:
        if not self.frames:
            return
        # GIF durations are multiples of 10 ms. Rounding the times, not the durations, keeps the total length right.
        times = [round(100 * frame / self.fps) for frame in range(len(self.frames) + 1)]
        durations_ms = [10 * (end - begin) for begin, end in pairwise(times)]
        size = (self.frames[0].width * self.scale, self.frames[0].height * self.scale)
        frames = (frame.resize(size, resample=0) for frame in self.frames)  # 0: nearest neighbour
        next(frames).save(self.path, save_all=True, append_images=frames, duration=durations_ms, loop=0)
