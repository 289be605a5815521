"""Frames to a video file: .mp4 by OpenCV, .gif by Pillow."""

import importlib.util
import os
from itertools import pairwise
from pathlib import Path

import numpy as np

from dream.common.errors import InputError

SUFFIXES = (".mp4", ".gif")


def usual_suffix() -> str:
    """Of a video that nobody named: .mp4 where there is OpenCV to write it."""
    return ".mp4" if importlib.util.find_spec("cv2") else ".gif"


def free_path(folder: Path, suffix: str, stem: str = "dream") -> Path:
    """dream_001, dream_002 ...: the first that neither exists nor is being written."""
    number = 1
    while (folder / f"{stem}_{number:03d}{suffix}").exists() or any(
        folder.glob(f"{stem}_{number:03d}.writing{suffix}*")
    ):
        number += 1
    return folder / f"{stem}_{number:03d}{suffix}"


class VideoFile:
    """`with VideoFile(path, fps, (H, W)) as video: video.write(frame)`, frame uint8 (H, W, 3), RGB.

    Written aside and moved into place at the end. What was written before a Ctrl-C or an error is kept; a recording
    without a frame leaves no file. Raises BadInput where the file cannot be opened.
    """

    def __init__(self, path: Path, fps: float, frame_shape: tuple[int, int], scale: int = 2) -> None:
        self.path, self.fps, self.frame_shape, self.scale = Path(path), fps, tuple(frame_shape), scale
        self.num_frames = 0
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise InputError(f"cannot record to {self.path}: the name must end in {' or '.join(SUFFIXES)}")
        self.aside = self.path.with_name(f"{self.path.stem}.writing{suffix}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise IsADirectoryError("it is a folder")
            self.aside.touch()
        except OSError as problem:
            raise InputError(f"cannot record to {self.path}: {problem.strerror or problem}") from None
        self.sink = _Gif(self.aside, fps, scale) if suffix == ".gif" else self._open_mp4()

    def _open_mp4(self) -> "_Mp4":
        try:
            return _Mp4(self.aside, self.fps, self.frame_shape, self.scale)
        except InputError:
            self.aside.unlink()
            raise

    def write(self, frame_u8: np.ndarray) -> None:
        assert frame_u8.dtype == np.uint8 and frame_u8.shape == (*self.frame_shape, 3), frame_u8.shape
        self.sink.write(frame_u8)
        self.num_frames += 1

    def close(self) -> None:
        """Finishes the file and moves it into place. Closing twice does no harm."""
        if self.sink is None:
            return
        sink, self.sink = self.sink, None
        try:
            sink.finish()
            if self.num_frames:
                os.replace(self.aside, self.path)
        finally:
            self.aside.unlink(missing_ok=True)

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
                "no OpenCV to write an mp4: pip install opencv-python, or a name that ends in .gif"
            ) from None
        H, W = frame_shape
        self.scale, self.pad = scale, ((0, H * scale % 2), (0, W * scale % 2), (0, 0))
        size = (W * scale + self.pad[1][1], H * scale + self.pad[0][1])  # the codec wants even sides
        self.writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
        if not self.writer.isOpened():
            raise InputError(f"OpenCV cannot write an mp4 here ({path.parent}): try a name that ends in .gif")

    def write(self, frame_u8: np.ndarray) -> None:
        picture = frame_u8.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        picture = np.pad(picture, self.pad, mode="edge")
        self.writer.write(np.ascontiguousarray(picture[:, :, ::-1]))  # RGB -> BGR, as OpenCV has it

    def finish(self) -> None:
        self.writer.release()


class _Gif:
    """Keeps the frames small (256 colours, not scaled) until the end, for the format is written in one go."""

    def __init__(self, path: Path, fps: float, scale: int) -> None:
        self.path, self.fps, self.scale, self.frames = path, fps, scale, []

    def write(self, frame_u8: np.ndarray) -> None:
        from PIL import Image

        self.frames.append(Image.fromarray(frame_u8).quantize(256, dither=Image.Dither.NONE))

    def finish(self) -> None:
        if not self.frames:
            return
        # A GIF counts in hundredths of a second: rounding each frame's end, not its length, keeps the whole in time.
        first_and_last_layers = [round(100 * frame / self.fps) for frame in range(len(self.frames) + 1)]
        durations_ms = [10 * (end - begin) for begin, end in pairwise(first_and_last_layers)]
        size = (self.frames[0].width * self.scale, self.frames[0].height * self.scale)
        frames = (frame.resize(size, resample=0) for frame in self.frames)  # 0: nearest
        next(frames).save(self.path, save_all=True, append_images=frames, duration=durations_ms, loop=0)
