"""Writes GIF files with Pillow. All frames stay in memory until the end: Pillow writes a GIF in one call."""

import io
import os
from itertools import pairwise
from pathlib import Path

import numpy as np

from dream.common.errors import DISK_FULL_ERRNOS


class GifWriter:
    """Writes frames, uint8 (H, W, 3), RGB, to `path` (256 colours), each side enlarged by the factor `scale`."""

    BYTES_PER_PIXEL = 0.25  # of a frame of a game, as a rule

    def __init__(self, path: Path, fps: float, frame_shape: tuple[int, int], scale: int) -> None:
        self.path, self.fps, self.scale, self.frames = path, fps, scale, []

    def write(self, frame_u8: np.ndarray) -> None:
        from PIL import Image

        self.frames.append(Image.fromarray(frame_u8).quantize(256, dither=Image.Dither.NONE))

    def finish(self) -> int:
        """Writes the file; returns the number of its frames: the first ones, as many as there is room for."""
        num_frames = len(self.frames)
        while num_frames:
            content = self.encode(num_frames)
            room = self.save(content)
            if room is None:
                return num_frames
            # Later frames may be larger than the first ones, hence the margin.
            num_frames = min(num_frames - 1, int(0.95 * num_frames * room / len(content)))
        return 0

    def encode(self, num_frames: int) -> bytes:
        """The GIF file of the first `num_frames` frames."""
        # GIF durations are multiples of 10 ms. Rounding the times, not the durations, keeps the total length right.
        times = [round(100 * frame / self.fps) for frame in range(num_frames + 1)]
        durations_ms = [10 * (end - begin) for begin, end in pairwise(times)]
        size = (self.frames[0].width * self.scale, self.frames[0].height * self.scale)
        nearest = 0  # of Pillow's filters
        frames = (frame.resize(size, resample=nearest) for frame in self.frames[:num_frames])
        file = io.BytesIO()
        next(frames).save(file, "GIF", save_all=True, append_images=frames, duration=durations_ms, loop=0)
        return file.getvalue()

    def save(self, content: bytes) -> int | None:
        """Writes the file and checks it. If there is no room for it, returns the bytes that there is room for."""
        from PIL import Image

        written = 0
        try:
            with open(self.path, "wb", buffering=0) as file:
                while written < len(content):
                    written += file.write(content[written : written + 2**20])
                os.fsync(file.fileno())
        except OSError as problem:
            if problem.errno not in DISK_FULL_ERRNOS:
                raise
            return min(written, len(content) - 1)
        with Image.open(self.path) as image:
            image.seek(image.n_frames - 1)
        return None
