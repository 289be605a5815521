"""Converts the times of a log of keys to seconds of the video: units, clocks, dates, frame numbers.

Time 0 of the video is its first frame. A log that states no unit has the one in which it is about as long as the video.
"""

import datetime
import re
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from player.common.errors import InputError
from player.video.log_columns import UNIT_OF_WORD
from player.video.log_table import LogTable

PER_SECOND: Dict[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
EPOCH = (9.4e8, 4.2e9)  # seconds since 1970 in the years 2000 to 2102
MAX_RATIO = 10.0  # between the lengths of log and video in seconds; units differ by 1000
MAX_UNIT_RATIO = 2.0  # between the lengths of log and video in a unit that no header states
MIN_SPAN = 0.1  # seconds
ADVICE = "name the column time_s, time_ms, time_us or time_ns, and count from the video's first frame"

DAY = 86400.0  # seconds

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_HALF_DAY = re.compile(r"(\d\d?)(:.+?) ?([ap])\.?m\.?", re.IGNORECASE)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-zµ]*)")
_CLOCK = re.compile(r"([+-]?)(?:(\d{1,6}) days?,? )?(?:(\d{1,6}):)?([0-5]?\d):([0-5]?\d(?:[.,]\d+)?)")
_DATE = re.compile(
    r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)[T_ ]+(\d\d?:\d\d:\d\d(?:[.,]\d+)?) ?(Z|UTC|[+-]\d\d:?\d\d)?", re.I
)


def parse_time(text: str) -> Tuple[float, str]:
    """A time as a number and its kind: "number", a unit of PER_SECOND, "clock" (seconds), "date" (seconds since 1970).

    Raises ValueError if it is none of them.
    """
    text = text.strip(" '\"")
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        text = text.replace(",", ".")
    match = _NUMBER.fullmatch(text)
    if match and (not match.group(2) or match.group(2) in UNIT_OF_WORD):
        value = float(match.group(1))
        if not abs(value) < 1e20:
            raise ValueError("too large")
        return value, UNIT_OF_WORD[match.group(2)] if match.group(2) else "number"
    half = _HALF_DAY.fullmatch(text)
    if half and 1 <= int(half.group(1)) <= 12:
        text = f"{int(half.group(1)) % 12 + 12 * (half.group(3) in 'pP')}{half.group(2)}"
        text += ":00" if text.count(":") == 1 else ""
    match = _CLOCK.fullmatch(text)
    if match:
        sign, days, hours, minutes, seconds = match.groups()
        value = 86400.0 * int(days or 0) + 3600 * int(hours or 0) + 60 * int(minutes)
        return (-1 if sign == "-" else 1) * (value + float(seconds.replace(",", "."))), "clock"
    match = _DATE.fullmatch(text)
    if match:
        year, month, day, clock, zone = match.groups()
        seconds_of_day, _ = parse_time(clock)
        days_since = datetime.date(int(year), int(month), int(day)).toordinal() - 719163  # 1970-01-01
        return 86400.0 * days_since + seconds_of_day - _offset(zone), "date"
    raise ValueError("no time")


def _offset(zone: str) -> int:
    """Seconds by which a time zone such as +02:00 is ahead of UTC."""
    if not zone or zone[0] not in "+-":
        return 0
    return (-1 if zone[0] == "-" else 1) * (3600 * int(zone[1:3]) + 60 * int(zone[-2:]))


def video_seconds(
    path: Path, table: LogTable, frame_times: np.ndarray, length: float, notes: List[str]
) -> np.ndarray:
    """The time of each line of the log `path` in seconds after the video's first frame, float64 (lines,), in the
    order of the log.

    `frame_times` (N,) and `length`: of the video, in seconds. What is assumed is appended to `notes`. Raises InputError
    if a time cannot be read, if the unit is ambiguous, or if log and video have no time in common.
    """
    values, kind = _read_values(path, table)
    if table.is_frame:
        seconds = _frame_seconds(path, table, values, kind, frame_times, length)
    else:
        seconds = _align(path, values, table.unit if kind == "number" and table.unit else kind, length, notes)
    first, last = float(seconds.min()), float(seconds.max())
    if len(seconds) > 2 and last - first < MIN_SPAN and length > 100 * MIN_SPAN:
        raise InputError(
            f"{path}: all its times, {first:.6g} to {last:.6g} s, are within {MIN_SPAN} s, the video has {length:.6g}: "
            f"{ADVICE}"
        )
    if first >= length or last < 0:
        raise InputError(
            f"{path}: its times, {first:.6g} to {last:.6g} s, are outside of the video, 0 to {length:.6g} s: {ADVICE}"
        )
    if last > 1.2 * length + 1 or (last < 0.5 * length and len(seconds) > 1):
        notes.append(
            f"{path.name} ends at {last:.6g} s, its video at {length:.6g} s: do they start together?"
        )
    return seconds


def _read_values(path: Path, table: LogTable) -> Tuple[np.ndarray, str]:
    values, kinds = [], []
    for number, text in zip(table.lines, table.times):
        try:
            value, kind = parse_time(text)
        except ValueError:
            raise InputError(
                f"{path}, line {number}: {text[:40]!r} is not a number, nor a time such as 0:01:02.5 or "
                "2026-01-31T12:00:00.5"
            ) from None
        if kinds and kind != kinds[0]:
            raise InputError(
                f"{path}, line {number}: {text[:40]!r} is a time of another form than the lines before"
            )
        values.append(value)
        kinds.append(kind)
    commas = [i for i, text in enumerate(table.times) if "," in text]
    if kinds[0] == "number" and commas and all(_THOUSANDS.fullmatch(table.times[i]) for i in commas):
        raise InputError(
            f"{path}, line {table.lines[commas[0]]}: is {table.times[commas[0]]!r} a thousand or more, or a fraction? "
            "write times without separators and with a point, such as 1000 or 1.000"
        )
    if kinds[0] == "clock":  # a time of day goes on after midnight
        values = list(values + DAY * np.cumsum(np.diff(values, prepend=values[0]) < -DAY / 2))
    return np.array(values), kinds[0]


def _frame_seconds(
    path: Path, table: LogTable, values: np.ndarray, kind: str, frame_times: np.ndarray, length: float
) -> np.ndarray:
    """The times of the frames with the numbers `values`: each frame's own time. Numbers after the end stay after it."""
    whole = values == np.floor(values)
    if kind != "number" or not whole.all():
        line = int(np.argmin(whole)) if kind == "number" else 0
        raise InputError(
            f"{path}, line {table.lines[line]}: {table.times[line]!r:.40} is not the number of a frame, 0, 1, 2 ..."
        )
    num_frames = len(frame_times)
    seconds = frame_times[np.clip(values, 0, num_frames - 1).astype(np.int64)]
    mean_step = length / num_frames
    seconds = np.where(values < 0, values * mean_step, seconds)
    return np.where(values >= num_frames, length + (values - num_frames) * mean_step, seconds)


def _align(path: Path, values: np.ndarray, kind: str, length: float, notes: List[str]) -> np.ndarray:
    """Seconds of the video for times in the unit `kind` ("number": to be found out), see `video_seconds`."""
    first, span = values[0], values.max() - values[0]
    # A clock that begins after the video's end is a time of day.
    is_absolute = kind == "date" or (kind == "clock" and first >= length and span <= MAX_RATIO * length)
    unit = kind if kind in PER_SECOND else "s"
    if kind in PER_SECOND or kind == "number":
        for candidate in [kind] if kind in PER_SECOND else PER_SECOND:
            scale = PER_SECOND[candidate]
            if EPOCH[0] <= first / scale <= EPOCH[1] and span / scale <= MAX_RATIO * length:
                unit, is_absolute = candidate, True
    if is_absolute:
        notes.append(
            f"assumed: {path.name} has times of day or dates: its first line is the video's first frame"
        )
        return (values - first) / PER_SECOND[unit]
    if kind == "number":
        unit = _find_unit(path, values, length)
        if unit != "s":
            notes.append(
                f"assumed: {path.name} has times in {UNIT_NAMES[unit]}, because it is then as long as its video"
            )
    return values / PER_SECOND[unit]


def _find_unit(path: Path, values: np.ndarray, length: float) -> str:
    """The unit in which the log is about as long as the video. Raises InputError if it is ambiguous."""
    last = float(values.max())
    if last <= MAX_RATIO * length:
        return "s"
    for unit in ("ms", "us", "ns"):
        if length / MAX_UNIT_RATIO <= last / PER_SECOND[unit] <= MAX_UNIT_RATIO * length:
            return unit
    raise InputError(
        f"{path}: times from {values[0]:.12g} to {last:.12g} fit a video of {length:.6g} s in no unit: {ADVICE}"
    )
