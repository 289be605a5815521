"""The loaders of import_video.py that tests/fuzz.py tries: logs of keys and videos."""

import functools
from pathlib import Path

import numpy as np
from fuzz import Target
from player.video.frame_times import read_clip
from player.video.key_log import read_log
from video_helpers import write_log, write_video

FRAME_TIMES = np.arange(360) / 30
LOGS = {
    "log_seconds": {},
    "log_frames": {"header": "frame,keys\n", "up": "Key.up+'w'"},
    "log_dates": {"line": "2024-10-20T14:03:{s:02}.5Z;\"{keys}\"\n", "header": "Time;Keys\n", "up": "['up', 'left']"},
    "log_events": {"line": "{s},ArrowUp,{keys}\n", "header": "time,key,event\n", "up": "down", "none": "up"},
    "log_json": {"line": '{{"t": {s}, "key": "ArrowUp", "event": "{keys}"}}\n', "header": "", "up": "press",
                 "none": "release"},
}  # fmt: skip


def make_log(name: str, folder: Path) -> Path:
    write_log(folder / "a.csv", 12, **LOGS[name])
    return folder / "a.csv"


def load_log(path: Path) -> tuple:
    log = read_log(path, FRAME_TIMES, 12.0, [])
    return tuple(log.times), tuple(log.keys)


def is_log(log: tuple) -> bool:
    times, keys = log
    names = {name for held in keys for name in held}
    return (
        len(times) == len(keys) > 0
        and bool(np.isfinite(times).all() and (np.diff(times) >= 0).all())
        and all(0 < len(name) <= 40 and name.isprintable() for name in names)
    )


def make_video(folder: Path) -> Path:
    write_video(folder / "a.mp4", [(30, 1 / 30), (15, 1 / 15)])
    return folder / "a.mp4"


def load_video(path: Path) -> tuple:
    clip = read_clip(path, [])
    return tuple(clip.times), clip.length, clip.size


def is_video(clip: tuple) -> bool:
    times, length, size = clip
    return (
        bool(np.isfinite(times).all() and (np.diff(times) >= 0).all())
        and length >= times[-1]
        and min(size) > 0
    )


# A video's pictures have no checksums: a decoder conceals what is damaged.
VIDEO_TARGETS = {
    **{
        name: Target(functools.partial(make_log, name), load_log, has_checksum=False, is_valid=is_log)
        for name in LOGS
    },
    "video": Target(make_video, load_video, has_checksum=False, is_valid=is_video),
}
