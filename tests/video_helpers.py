"""Videos whose picture is white while "up" is held, and how far keys and picture of their recording agree."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import import_video
import numpy as np
import pytest
from dream.data.trajectories import Trajectories, open_trajectories

# As in frame_times.py: OpenCV reads these when it is imported, which a test may do before.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
WIDTH, HEIGHT = 64, 32
# The picture is white in every even second; T is the time of a frame.
PICTURE = r"color=black:s=64x32:r=60,geq=lum=if(lt(mod(T\,2)\,1)\,235\,16):cb=128:cr=128"
ENCODER = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def is_white(seconds: float) -> bool:
    return seconds % 2 < 1


def write_log(path: Path, seconds: int, line="{s},{keys}\n", header="time,keys\n", up="up", none="") -> None:
    """A log with "up" held in every even second. `line`: format with s, the time, and keys."""
    lines = [line.format(s=s, keys=up if is_white(s) else none) for s in range(seconds)]
    path.write_text(header + "".join(lines))


def write_video(path: Path, runs: list[tuple[int, float]]) -> None:
    """An .mp4, made with OpenCV alone, with runs of (number of frames, seconds per frame).

    The file still states one frame rate, the average, as files of variable frame rate do.
    """
    cv2 = pytest.importorskip("cv2")
    durations = [duration for count, duration in runs for _ in range(count)]
    rate = len(durations) / sum(durations)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (WIDTH, HEIGHT))
    assert writer.isOpened()
    time = 0.0
    for duration in durations:
        writer.write(np.full((HEIGHT, WIDTH, 3), 235 if is_white(time + 1e-6) else 16, np.uint8))
        time += duration
    writer.release()
    data = path.read_bytes()
    moov = data.rindex(b"moov") - 4
    assert data.rindex(b"mdat") < moov, "the table of contents must be last, so that it may grow"
    scale = struct.unpack(">I", data[data.index(b"mdhd", moov) + 16 :][:4])[0]
    table = b"".join(struct.pack(">II", count, round(duration * scale)) for count, duration in runs)
    stts = data.index(b"stts", moov) - 4
    old_size = struct.unpack(">I", data[stts : stts + 4])[0]
    new_box = struct.pack(">I4sII", 16 + len(table), b"stts", 0, len(runs)) + table
    result = bytearray(data[:stts] + new_box + data[stts + old_size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # the boxes around it
        start = result.index(name, moov) - 4
        size = struct.unpack(">I", result[start : start + 4])[0] + len(new_box) - old_size
        result[start : start + 4] = struct.pack(">I", size)
    path.write_bytes(result)


def ffmpeg(*arguments: object) -> None:
    """Runs ffmpeg; skips the test if there is none."""
    program = shutil.which("ffmpeg")
    if program is None:
        reason = "neither ffmpeg nor the package imageio-ffmpeg is installed"
        program = pytest.importorskip("imageio_ffmpeg", reason=reason).get_ffmpeg_exe()
    subprocess.run([program, "-y", "-loglevel", "error", *map(str, arguments)], check=True)


def encode(path: Path, seconds: float, *options: str) -> None:
    """A video of PICTURE at 60 frames a second before `options`, such as a filter or another encoder."""
    encoder = () if "-c:v" in options else ENCODER
    ffmpeg("-f", "lavfi", "-t", seconds, "-i", PICTURE, *encoder, *options, path)


def import_folder(folder: Path, *options: object) -> Trajectories:
    """Imports the videos in `folder` into a new file next to it, and opens it."""
    output = folder.with_name(f"{folder.name}.npz")
    flags = [folder, "--output", output, "--frame-size", HEIGHT, WIDTH, *options]
    import_video.main(import_video.parse_args([*map(str, flags)]))
    return open_trajectories(output)


def agreement(data: Trajectories, key: str = "up") -> float:
    """The fraction of steps at which the picture is white exactly if `key` is held."""
    white = np.asarray(data.frames).mean((2, 3, 4)) > 128
    held = np.array([key in keys for keys in data.action_keys])[data.actions]
    return float((white == held).mean())
