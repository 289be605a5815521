"""Decodes a video with OpenCV: the time of every frame as the file states it, and the pictures of chosen frames.

The frame rate that a file states is an average, or wrong; only the time stamps of the frames say when each was shown.
"""

import os
import shlex
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

import numpy as np
from tqdm import tqdm

from player.common.errors import InputError, refuse_damaged

MIN_OPENCV = (4, 1, 1)  # earlier versions compute a time stamp from the frame number
# AVI stores no display times: with reordered frames the last ones come out of the decoder without a time stamp.
MAX_UNTIMED_AT_END = 16
MAX_EQUAL = 0.01  # fraction of frames with the time of the frame before, as short bursts have in milliseconds
POS_MSEC, FPS, FRAME_COUNT, FOURCC = 0, 5, 7, 6  # cv2.CAP_PROP_*


class Clip(NamedTuple):
    """A video that was decoded once."""

    path: Path
    times: np.ndarray  # float64 (N,), seconds after the first frame at which each frame is shown, ascending
    length: float  # seconds, with the last frame
    size: Tuple[int, int]  # width, height in pixels


def open_video(path: Path):
    """A cv2.VideoCapture. Raises InputError if OpenCV is missing or too old, or if the file is not a video."""
    _refuse_by_name_or_content(path)
    # The decoder's own messages about damaged frames are for programmers; what is lost is reported by `read_clip`.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        import cv2
    except ImportError as problem:
        raise InputError(f"videos need OpenCV: `pip install opencv-python` ({str(problem)[:120]})") from None
    version = tuple(int(part) for part in cv2.__version__.split(".")[:3] if part.isdecimal())
    if version < MIN_OPENCV:
        raise InputError(
            f"OpenCV {cv2.__version__} reads no time stamps: `pip install --upgrade opencv-python`"
        )
    # Other backends read numbered pictures and devices as well, and compute times in their own ways.
    has_ffmpeg = cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG if has_ffmpeg else cv2.CAP_ANY)
    if not capture.isOpened():
        raise InputError(
            f"{path} cannot be read as a video: it is damaged, or its recording was cut off: copy or record it again"
        )
    return capture


def _refuse_by_name_or_content(path: Path) -> None:
    """Raises InputError for files that OpenCV would crash on, or read with a frame rate that is made up."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise InputError(f"{shown}: the name is not UTF-8 and cannot be opened: rename it") from None
    try:
        with open(str(path), "rb") as file:
            start = file.read(3)
    except OSError:
        return  # reported by the decoder
    if start == b"\xff\xd8\xff":
        raise InputError(
            f"{path} is JPEG pictures without times: if their rate is constant, such as 30 a second, convert it: "
            f"{_convert_command(path, '-f mjpeg -r 30 ')}"
        )


def read_clip(path: Path, notes: List[str]) -> Clip:
    """Decodes all frames of a video to learn their times. Appends to `notes` what is missing at its end.

    Raises InputError, with a command that repairs the file, if no frame can be decoded or if frames have no ascending
    time stamps.
    """
    with refuse_damaged(path, "copy or convert it again"):
        return _read_clip(path, notes)


def _read_clip(path: Path, notes: List[str]) -> Clip:
    capture = open_video(path)
    try:
        stated = (capture.get(FRAME_COUNT), capture.get(FPS))
        codec = int(capture.get(FOURCC)).to_bytes(4, "little", signed=True).decode("ascii", "replace")
        milliseconds, size = [], (0, 0)
        total = stated[0] if 0 < stated[0] < 1e9 else None
        # Decoding takes minutes per hour of video: progress is shown in a terminal.
        with tqdm(total=total, desc=path.name[:30], unit="frame", leave=False, disable=None) as progress:
            while capture.grab():
                milliseconds.append(capture.get(POS_MSEC))
                if len(milliseconds) == 1:
                    success, frame = capture.retrieve()
                    size = (frame.shape[1], frame.shape[0]) if success else size
                progress.update()
    finally:
        capture.release()
    if not milliseconds or 0 in size:
        name = codec if codec.isprintable() else "unknown"
        raise InputError(
            f"{path}: no frame can be decoded (codec {name}): convert it: {_convert_command(path)}"
        )
    times = _ascending_times(path, np.array(milliseconds) / 1000)
    length = float(times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 0.0))
    count, rate = stated
    if rate > 0 and count / rate > 1.1 * length + 0.5:
        notes.append(
            f"{path.name} states {count / rate:.1f} s, but {length:.1f} s can be decoded: these are used"
        )
    return Clip(path, times, length, size)


def _ascending_times(path: Path, times: np.ndarray) -> np.ndarray:
    """Times in seconds from 0. Raises InputError unless they ascend; a few may be equal, or missing at the end."""
    times, steps = times - times[0], np.diff(times)
    num_timed = len(times)
    while num_timed > 2 and times[num_timed - 1] <= 0:
        num_timed -= 1
    if 0 < len(times) - num_timed <= MAX_UNTIMED_AT_END:
        step = np.median(steps[: num_timed - 1])
        more = times[num_timed - 1] + step * np.arange(1, len(times) - num_timed + 1)
        times = np.concatenate([times[:num_timed], more])
        steps = np.diff(times)
    bad = np.flatnonzero(steps < 0 if np.mean(steps == 0) <= MAX_EQUAL else steps <= 0)
    if len(bad):
        raise InputError(
            f"{path}: its frames have no ascending times from frame {bad[0] + 1} on: if their rate is constant, such "
            f"as 30 a second, convert it: {_convert_command(path, '-r 30 ')}"
        )
    return times


def _convert_command(path: Path, options: str = "") -> str:
    """An ffmpeg command line, for the folder of the video, whose output keeps the name before the suffix."""
    suffix = ".mkv" if path.suffix.lower() == ".mp4" else ".mp4"
    return f"ffmpeg {options}-i {shlex.quote(path.name)} -c:v libx264 {shlex.quote(path.stem + suffix)}"


def read_pictures(clip: Clip, frame_numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the pictures of the frames `frame_numbers` (S,), ascending with repeats, BGR uint8 (H, W, 3).

    Ends early where decoding ends early or where the pictures change their size.
    """
    capture, position, picture = open_video(clip.path), -1, None
    try:
        for number in frame_numbers:
            if position < number:
                while position < number and capture.grab():
                    position += 1
                success, picture = capture.retrieve() if position == number else (False, None)
                if not success or picture.shape[1::-1] != clip.size:
                    return
            yield picture
    finally:
        capture.release()
