"""Finds the columns of a log of keys by the words that loggers use for them: time or frame, keys, down or up."""

import re
from typing import List, NamedTuple, Optional

from player.common.key_names import to_pygame_key

UNITS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"),
    "us": ("us", "µs", "usec", "usecs", "micros", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nsecs", "nanos", "nanosecond", "nanoseconds"),
}
UNIT_OF_WORD = {word: unit for unit, words in UNITS.items() for word in words}
FRACTION_DIGITS = {"ms": 3, "us": 6, "ns": 9}
# Times that surely count from the start of the video or of the log.
VIDEO_TIME_WORDS = (
    "video_time", "video_timestamp", "video", "video_pos", "video_position", "elapsed", "elapsed_time", "time_elapsed",
    "relative_time", "rel_time", "time_rel", "time_relative", "time_since_start",
)  # fmt: skip
TIME_WORDS = frozenset(
    ["time", "times", "timestamp", "timestamps", "time_stamp", "t", "ts", "event_time", "clock", "datetime",
     "date_time", "tv", *VIDEO_TIME_WORDS]
)  # fmt: skip
FRAME_WORDS = frozenset(
    ["frame", "frames", "frame_number", "frame_no", "frame_nr", "frame_num", "frame_id", "frame_idx", "frame_index",
     "framenumber", "frame_#"]
)  # fmt: skip
# Fields of events by which a key may be known; a log can have several of them.
NAME_WORDS = ("key", "key_name", "keyname", "keysym", "keycode", "key_code", "code", "key_sym", "sym", "name")
KEY_WORDS = (
    "keys", "key", "keys_held", "held_keys", "keys_pressed", "pressed_keys", "keys_down", *NAME_WORDS[1:], "held",
    "pressed", "button", "buttons", "key_s", "button_s", "pressed_key", "held_key",
)  # fmt: skip
EVENT_WORDS = (
    "event", "event_type", "eventtype", "event_name", "type", "state", "state_name", "key_state", "keystate", "action",
    "key_event", "key_action", "kind", "direction", "status", "pressed", "is_pressed", "down", "is_down", "press",
    "up/down", "down/up", "up_down", "updown", "up/dn", "press/release", "message", "msg", "value", "state_code",
)  # fmt: skip
# Columns by which a line holds until its own end and not until the next line: not supported, and not ignored either.
SPAN_WORDS = frozenset(
    ["to", "length", "up_time", "time_up", "uptime", "time_held", "held_for", "held_time", "keys_up",
     "last_frame", "to_frame", "frame_to", "to_time", "time_to", "off", "off_time", "time_off", "key_up_time",
     "up_at", "t2", "time2"]
)  # fmt: skip
_SPAN = re.compile(
    r"(?:^|_)(?:duration|dur|hold|holding|dwell|end|ends|ended|ending|stop|stopped|finish|finished|until|till|"
    r"releas(?:e|es|ed|ing))(?:_|$)|duration|hold_?time"
)
INDEX_WORDS = frozenset(
    ["", "index", "id", "row", "no", "nr", "#", "n"]
)  # pandas writes its index without a name
_EVENT = re.compile(
    r"(?:wm|sdl|glfw|pygame|ns|kcg|x11|event|type|keyboard|native|raw|sys|on|is|keys?|button|state)*"
    r"(?:(down|dn|d|press(?:ed|ing)?|hold|held|(?:auto)?repeat(?:ed)?|make|true|yes|on|active|\+)"
    r"|up|u|releas(?:ed?|ing)|lift(?:ed)?|break|false|no|off|inactive|-)(?:event)?"
)
# Events of a log that are not about keys: of a browser, of pynput and of evdev.
_OTHER_EVENT = re.compile(
    r"(?:on)?(?:mouse|pointer|touch|click|dblclick|auxclick|wheel|scroll|move|focus|blur|contextmenu|input$|resize|"
    r"visibility|drag|ev(?:syn|msc|rel|abs|led|sw|rep)$).*"
)


class Columns(NamedTuple):
    """Indices of the columns of a log, by their names."""

    header: List[str]  # normalized names of all columns
    time: int  # if there are several columns of times, see `times`, the first that counts from the video's start
    times: List[
        int
    ]  # all columns of times, the likeliest first: frame numbers, then times that count from the start
    fraction: Optional[int]  # column with the fraction of a second that is added to `time`, such as usec
    fraction_digits: int  # 3, 6 or 9
    is_frame: bool  # `time` has frame numbers
    unit: Optional[str]  # "s", "ms", "us" or "ns" if the header states it
    keys: List[int]  # columns that may name the keys, the likeliest first
    # If there is no column of names: the columns of one key each, as in `time,up,left`, and their names as written.
    key_columns: List[int]
    key_names: List[str]


def normalize(cell: str) -> str:
    """A column's name in lower case: `Time (ms)` and `time[ms]` become time_ms, `timeStamp` time_stamp."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cell.strip(" '\"\ufeff"))
    name = re.sub(r"[\s_-]*[(\[](.*?)[)\]]$", r"_\1", name.lower())
    return re.sub(r"[\s_-]+", "_", name)


def find_columns(cells: List[str]) -> Optional[Columns]:
    """The columns that the first line of a log names; None if it is no such line."""
    header = [normalize(cell) for cell in cells]
    times = [(i, unit) for i, unit in enumerate(map(_time_unit, header)) if unit is not None]
    frames = [i for i, name in enumerate(header) if name in FRAME_WORDS]
    if not times and not frames:
        return None
    # The frame says for sure where in the video a line belongs; a time may count from anywhere.
    times.sort(key=lambda item: not _is_video_time(header[item[0]]))
    time, unit = (frames[0], "") if frames else times[0]
    keys = [header.index(word) for word in KEY_WORDS if word in header]
    fractions = [i for i, other in times[1:] if unit == "s" and other in FRACTION_DIGITS and not frames]
    key_columns: List[int] = []
    if not keys:
        used = {time, *fractions, *frames, *(i for i, _ in times)}
        key_columns = [i for i, cell in enumerate(cells) if i not in used and to_pygame_key(cell, True)]
        others = {header[i] for i in range(len(header)) if i not in used and i not in key_columns}
        if not key_columns or not all(map(is_index, others)):
            return None
    fraction = fractions[0] if fractions else None
    digits = 0 if fraction is None else FRACTION_DIGITS[_time_unit(header[fraction]) or ""]
    names = [cells[i] for i in key_columns]
    all_times = [*frames, *(i for i, _ in times if i not in fractions)]
    return Columns(
        header, time, all_times, fraction, digits, bool(frames), unit or None, keys, key_columns, names
    )


def at_time(columns: Columns, time: int) -> Columns:
    """The same columns with another column of times."""
    return columns._replace(time=time, unit=_time_unit(columns.header[time]) or None)


def _is_video_time(name: str) -> bool:
    word, _, unit = name.rpartition("_")
    return name in VIDEO_TIME_WORDS or (unit in UNIT_OF_WORD and word in VIDEO_TIME_WORDS)


def _time_unit(name: str) -> Optional[str]:
    """The unit that the name of a column of times states, "" if it states none, None if it is no such column."""
    if name in TIME_WORDS:
        return ""
    word, _, unit = name.rpartition("_")
    if unit in UNIT_OF_WORD and (not word or re.sub("_in$", "", word) in TIME_WORDS):
        return UNIT_OF_WORD[unit]
    return None


def parse_event(cell: str) -> Optional[bool]:
    """Whether a key goes down in `KeyboardEvent.KEY_DOWN`, `pressed`, `1`, `2` (evdev's repeat); None if unclear."""
    if re.fullmatch(r"[012](?:\.0)?", cell):
        return cell[0] != "0"
    match = (
        _EVENT.fullmatch(re.sub(r"[^a-z0-9+-]|(?<=.)-(?=.)", "", cell.lower())) if len(cell) <= 60 else None
    )
    return None if match is None else match.group(1) is not None


def is_other_event(cell: str) -> bool:
    """Whether a cell names an event that is not about keys, such as `mousemove` or `EV_SYN`."""
    return _OTHER_EVENT.fullmatch(re.sub(r"[^a-z]", "", cell.lower())) is not None


def is_span(name: str) -> bool:
    """Whether a column says how long a line holds, such as `duration` or `end_time_ms`."""
    word, _, unit = name.rpartition("_")
    return (
        name in SPAN_WORDS or (unit in UNIT_OF_WORD and word in SPAN_WORDS) or _SPAN.search(name) is not None
    )


def is_index(name: str) -> bool:
    """Whether a column counts the lines, or has no name."""
    return name in INDEX_WORDS or name.startswith("unnamed")


def is_number(cell: str) -> bool:
    """Whether a cell has a number of a key, decimal or hexadecimal."""
    return re.fullmatch(r"\d+|0[xX][0-9a-fA-F]+", cell) is not None


def join_time(seconds: str, fraction: str, digits: int) -> Optional[str]:
    """A time in seconds from whole seconds and their fraction in units of 10 ** -digits; None if they are not that."""
    if not (seconds.isdecimal() and fraction.isdecimal()) or len(fraction) > digits:
        return None
    return f"{seconds}.{fraction.zfill(digits)}"
