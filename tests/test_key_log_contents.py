"""Logs of keys whose columns, times and cells are known by what they contain, and what has two meanings is refused."""

import numpy as np
import pytest
from player.common.errors import InputError
from player.video.key_log import KeyLog
from test_key_log import UP, held, lines, read

NONE, KEY_UP = frozenset(), frozenset({"up"})
EPOCH = "1729433{i:03d}.25"
CONTENTS = {
    # columns of events with names of any kind
    "eventType": "time,key,eventType\n" + lines("{t},up,{keys}", up="keydown", none="keyup"),
    "isDown": "time,key,isDown\n" + lines("{t},up,{keys}", up="true", none="false"),
    "is_pressed": "time,key,is_pressed\n" + lines("{t},up,{keys}", up="True", none="False"),
    "event_name": "time,key,event_name\n" + lines("{t},up,{keys}", up="key_down", none="key_up"),
    "message": "time,message,key\n" + lines("{t},{keys},VK_UP", up="WM_KEYDOWN", none="WM_KEYUP"),
    "val": "time,key,val\n" + lines("{t},up,{keys}", up="1", none="0"),
    "+/-": "time,key,+/-\n" + lines("{t},up,{keys}", up="+", none="-"),
    "a column without meaning": "time,key,what\n" + lines("{t},up,{keys}", up="Pressed", none="Released"),
    "two columns of events": "time,type,key,action\n" + lines("{t},keyboard,up,{keys}", up="press", none="release"),
    "lines of other events": "time,action,key\n0,focus,window\n" + lines("{t},{keys},up", up="press", none="release"),
    "unknown events": "time,action,key\n0,started,\n" + lines("{t},{keys},up", up="press", none="release"),
    "the module keyboard": "time,name,event_type\n" + lines("{t},up,{keys}", up="down", none="up"),
    # several columns of times
    "frames and dates": "frame,timestamp,keys\n" + lines("{t:.0f}," + EPOCH + ",{keys}", scale=60),
    "frames and game seconds": "frame,time,keys\n" + lines("{t:.0f},{i}9,{keys}", scale=60),
    "dates and video times": "datetime,video_time,keys\n" + lines("2026-01-31 12:00:{clock},{t},{keys}"),
    "dates and times": "timestamp,time,keys\n" + lines("2026-01-31 12:00:{clock},{t},{keys}"),
    "Python's logging": "time,level,keys\n" + lines("2026-01-31 12:00:{clock},000,INFO,{keys}"),
    "Python's logging of keys": "time,keys\n" + lines("2026-01-31 12:00:{clock},000,{keys}"),
    "a clock of 12 hours": "time,keys\n" + lines("12:59:{clock} PM,{keys}"),
    "over midnight": "time,keys\n23:59:55,\n23:59:59,\n00:00:00,\n".replace("23:59:55,\n23:59:59,\n00:00:00,\n", "")
    + "".join(f"{'23:59:5' + str(5 + s) if s < 5 else f'00:00:0{s - 5}'},{'' if s % 2 else 'up'}\n" for s in range(12)),
    # cells
    "comments in cells": "time,keys\n" + lines("{t},{keys}", up="up # go"),
    "a set of pynput": "time,keys\n" + lines('{t},"{keys}"', up="{<Key.up: <65362>>}", none="set()"),
    **{
        f"no key: {text}": "time,keys\n" + lines("{t},{keys}", none=text)
        for text in ("--", "<none>", "False", "neutral", "release", "(empty)")
    },
    # files
    "no first line": lines("{t},{keys}"),
    "no first line of events": lines("{t},up,{keys}", up="down", none="up"),
    "lines before the columns": "Recorded by a logger\nDate: 2026\n\ntime,keys\n" + lines("{t},{keys}"),
    "Key(s)": "Time,Key(s)\n" + lines("{t},{keys}"),
    "UTF-16 without a mark": ("time,keys\r\n" + lines("{t},{keys}\r")).encode("utf-16-le"),
    "two byte order marks": b"\xef\xbb\xbf" * 2 + ("time,keys\n" + lines("{t},{keys}")).encode(),
}  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS)
def test_contents(tmp_path, content):
    assert held(read(tmp_path, CONTENTS[content])) == UP


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("time,key,duration_ms\n0,up,500\n", "a column 'duration_ms'"),
        ("time,key,hold_time\n0,up,1.5\n", "a column 'hold_time'"),
        ("time,key,released_at\n0,up,1\n2,up,3\n", "a column 'released_at'"),
        ("time,keys,time_end\n0,up,1\n2,up,3\n", "a column 'time_end'"),
        ("time,keys,key_release_ts\n0,up,1\n2,up,3\n", "a column 'key_release_ts'"),
        ("time,key,what\n0,up,down\n3,up,up\n6,up,up\n", "does the column 'what' say"),
        ('time_ms,keys\n0,up\n"1,000",\n"11,000",up\n', "line 3: is '1,000' a thousand or more"),
        ("time,keys\n0,up\n900,\n3599,up\n", "in no unit"),  # of an hour; the video has 12 s
        ("time,keys\n0,up\n0.0001,\n0.0002,up\n", "all its times, .* are within 0.1 s"),
        ("time,keys\n0,up\n6,\n5.9,up\n", "line 4: .* earlier than the line before"),
        ("time,key\n0,Key.up pressed\n6,Key.up released\n", "line 2: .* is an event"),
        ("time,keys\n0,keydown up\n6,keyup up\n", "line 2: .* is an event"),
        ("time,keys\n0,{Up down}\n6,{Up up}\n", "line 2: .* is an event"),
        ("time,keys\n0,1000\n6,0000\n", "line 2: '1000' is no name of a key"),
        ("time,keys\n0,True\n6,up\n", "line 2: 'True' is no name of a key"),
        ("time,keys\n0,***\n6,up\n", r"line 2: '\*\*\*' is no name of a key"),
        ("time,button\n0,2\n3,0\n6,2\n", "the column 'button' has numbers"),
        ("time,w,a,s,d,pressed\n0,1,0,0,0,1\n3,0,0,0,0,0\n6,1,0,0,0,1\n", "the column 'pressed' has numbers"),
    ],
)
def test_what_has_two_meanings_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, content)
    assert len(str(error.value).replace(str(tmp_path), "")) <= 300


@pytest.mark.parametrize(
    ("cell", "keys"),
    [
        ("up and left", {"up", "left"}), ("\"{<Key.up: 0>, KeyCode.from_char('a')}\"", {"up", "a"}),
        ("KeyCode.from_char('a')", {"a"}), ("up # left", {"up"}), ("#", {"#"}),
    ],
)  # fmt: skip
def test_cells(tmp_path, cell, keys):
    assert held(read(tmp_path, f"time,keys\n0,\n6,{cell}\n"))[-1] == frozenset(keys)


@pytest.mark.parametrize(
    "events",
    [
        "1,Key.shift,down\n2,!,down\n3,Key.shift,up\n4,1,up\n",  # a keyboard of the USA
        "1,1,down\n2,Key.shift,down\n3,!,up\n4,Key.shift,up\n",
        "1,Key.shift,down\n2,/,down\n3,Key.shift,up\n4,7,up\n",  # a keyboard of Germany
    ],
)
def test_characters_typed_with_shift_do_not_stick(tmp_path, events):
    states = held(read(tmp_path, "time,key,event\n" + events))
    assert not states[5] and len(states[2]) == 2


def test_lines_a_little_out_of_order_are_sorted(tmp_path):
    notes = []
    log = read(tmp_path, "time,key,event\n1.001,up,down\n1,a,down\n6.02,up,up\n6,a,up\n", notes)
    assert held(log) == [NONE] + [frozenset({"up", "a"})] * 5 + [NONE] * 6
    assert notes == ["assumed: a.csv: 2 lines, at most 20 ms late, are sorted"]


def test_keys_pressed_within_a_step_count_for_it():
    """In steps of 1 s, read in their middle: taps before and after the middle, and one that is held in the middle."""
    times = np.array([0.1, 0.2, 2.7, 2.9, 4.4, 4.6, 6.6, 7.4])
    log = KeyLog(times, [KEY_UP, NONE] * 4)
    steps = log.keys_during(np.arange(9) + 0.5, 1.0)
    assert [i for i, keys in enumerate(steps) if keys] == [0, 2, 4, 6]


def test_without_taps_keys_are_those_in_the_middle_of_a_step(tmp_path):
    log = read(tmp_path, "time,keys\n" + lines("{t},{keys}"))
    middles = (np.arange(180) + 0.5) / 15
    assert log.keys_during(middles, 1 / 15) == log.keys_at(middles)
