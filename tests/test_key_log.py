"""Logs of keys in the dialects of many loggers: the keys at each second, what is noted, and what is refused."""

import numpy as np
import pytest
from player.common.errors import InputError
from player.video.key_log import read_log
from player.video.log_times import parse_time

SECONDS = 12
FRAME_TIMES = np.arange(60 * SECONDS) / 60


def read(tmp_path, content, notes=None):
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_log(path, FRAME_TIMES, float(SECONDS), [] if notes is None else notes)


def held(log) -> list:
    """The keys in the middle of each second."""
    return log.keys_at(np.arange(SECONDS) + 0.5)


def lines(form, up="up", none="", offset=0.0, scale=1) -> str:
    """A line a second, with "up" held in every even one. `form`: with t (a number), i (seconds) and keys."""
    return "".join(
        form.format(t=(offset + s) * scale, i=s, clock=f"{s:02d}", keys=none if s % 2 else up) + "\n"
        for s in range(SECONDS)
    )


UP = [frozenset() if s % 2 else frozenset({"up"}) for s in range(SECONDS)]
DIALECTS = {
    "seconds": "time,keys\n" + lines("{t},{keys}"),
    "frames": "frame,keys\n" + lines("{t:.0f},{keys}", scale=60),
    "milliseconds": "time,keys\n" + lines("{t:.0f},{keys}", scale=1000),
    "microseconds": "time,keys\n" + lines("{t:.0f},{keys}", scale=10**6),
    "nanoseconds": "time,keys\n" + lines("{t:.0f},{keys}", scale=10**9),
    "unit in the name": "Time (ms);Keys\n" + lines("{t:.0f};{keys}", scale=1000),
    "unit as the name": "ms,key\n" + lines("{t},{keys}", scale=1000),
    "unit in the cell": "time,keys\n" + lines("{t:.0f}ms,{keys}", scale=1000),
    "epoch": "time,keys\n" + lines("{t},{keys}", offset=1729433002.25),
    "epoch in milliseconds": "timestamp,keys\n" + lines("{t:.0f},{keys}", offset=1729433002.25, scale=1000),
    "epoch in nanoseconds": "time_ns,keys\n" + lines("{t:.0f},{keys}", offset=1729433002, scale=10**9),
    "clock": "time,keys\n" + lines("00:00:{clock}.000,{keys}"),
    "clock in minutes": "time,keys\n" + lines("0:{clock},{keys}"),
    "clock of subtitles": "time;keys\n" + lines("0:00:{clock},000;{keys}"),
    "time of day": "time,keys\n" + lines("14:03:{clock}.5,{keys}"),
    "timedelta of pandas": "time,keys\n" + lines("0 days 00:00:{clock},{keys}"),
    "ISO": "time,keys\n" + lines("2024-10-20T14:03:{clock}.250Z,{keys}"),
    "ISO with a zone": "datetime,keys\n" + lines("2024-10-20 14:03:{clock}+02:00,{keys}"),
    "decimal comma": "time;keys\r\n" + lines("{i},0;{keys}\r"),
    "tab": "time\tkeys\n" + lines("{t}\t{keys}"),
    "capitals": "Time,Keys\n" + lines("{t},{keys}", up="UP"),
    "comments": "# by a logger\n\ntime,keys\n# drive 1\n" + lines("{t},{keys}\n"),
    "empty columns": "time,keys,,\n" + lines("{t},{keys},,") + ",,,\n,,,\n",
    "index of pandas": ",time,keys\n" + lines("{i},{t},{keys}"),
    "other order": "keys,time\n" + lines("{keys},{t}"),
    "first times below 0": "time,keys\n-4,x\n-1,\n" + lines("{t},{keys}"),
    "UTF-16": ("time,keys\r\n" + lines("{t},{keys}\r")).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + ("time,keys\n" + lines("{t},{keys}")).encode(),
    "NUL tail": "time,keys\n" + lines("{t},{keys}") + "\0" * 500,
    "a last line cut off": "time,keys\n" + lines("{t},{keys}") + "12.5,le\0\0\0",
    "none": "time,keys\n" + lines("{t},{keys}", none="none"),
    "NaN": "time,keys\n" + lines("{t},{keys}", none="NaN"),
    "null": "time,keys\n" + lines("{t},{keys}", none="null"),
    "lists": "time,keys\n" + lines('{t},"{keys}"', up="['up']", none="[]"),
    "sets of pynput": "time,keys\n" + lines('{t},"{keys}"', up="{<Key.up: <65362>>}", none="set()"),
    "pynput": "time,keys\n" + lines("{t},{keys}", up="Key.up"),
    "browser": "time,keys\n" + lines("{t},{keys}", up="ArrowUp"),
    "events": "time,key,event\n" + lines("{t},up,{keys}", up="down", none="up"),
    "events of a browser": "timestamp;type;code\n" + lines("{t};{keys};ArrowUp", up="keydown", none="keyup"),
    "events with repeats": "frame,key,pressed\n" + lines("{t:.0f},Key.up,{keys}\n", up="1", none="0", scale=60),
    "events of evdev": "time,type,code,value\n" + lines("{t},EV_KEY,KEY_UP,{keys}", up="1", none="0"),
    "repeats of evdev": "time,type,code,value\n"
    + lines("{t},EV_KEY,KEY_UP,{keys}\n{t},EV_SYN,SYN_REPORT,0", up="2", none="0"),
    "evdev in numbers": "sec,usec,type,code,value\n"
    + lines("17294330{clock},250000,1,KEY_UP,{keys}", up="1", none="0"),
    "constant type": "time,type,key,pressed\n" + lines("{t},EV_KEY,KEY_UP,{keys}", up="1", none="0"),
    "a browser with all fields": "type,code,key,repeat,shiftKey,timeStamp\n"
    + lines("{keys},ArrowUp,ArrowUp,false,false,{t:.1f}", up="keydown", none="keyup", scale=1000),
    "a browser with the mouse": "timeStamp,type,code,x\n"
    + lines("{t},{keys},ArrowUp,\n{t},mousemove,,5", up="keydown", none="keyup", scale=1000),
    "a hook of Windows": "time_ms,vkCode,name,message\n".replace("name", "keyName")
    + lines("{t},38,VK_UP,{keys}", up="WM_KEYDOWN", none="WM_KEYUP", scale=1000),
    "pygame": "time,event,key\n" + lines("{t},{keys},K_UP", up="pygame.KEYDOWN", none="pygame.KEYUP"),
    "the module keyboard": lines(
        '{{"event_type": "{keys}", "scan_code": 72, "name": "up", "time": {t}}}', up="down", none="up"
    ),
    "AutoHotkey": "Time,Key,UpDown\n" + lines("{t},Up,{keys}", up="D", none="U"),
    "Tk": "time,event,keysym\n" + lines("{t},{keys},Up", up="EventType.KeyPress", none="EventType.KeyRelease"),
    "JSON lines": lines('{{"t": {t}, "key": "up", "event": "{keys}"}}', up="press", none="release"),
    "JSON lines of states": lines('{{"t": {t}, "keys": [{keys}]}}', up='"up"'),
    "JSON lines of a dict": lines('{{"time": {t}, "keys": {{"up": {keys}, "a": false}}}}', up="true", none="false"),
    "JSON lines of Minecraft": lines('{{"milli": {t:.0f}, "mouse": {{"x": 5, "buttons": []}}, "isGuiOpen": false, '
    '"keyboard": {{"keys": [{keys}], "chars": ""}}}}', up='"key.keyboard.up"', offset=1729433002.25, scale=1000),
    "JSON lines of Wayland": lines('{{"time_stamp": {t:.0f}, "event_name": "KEYBOARD_KEY", "event_type": 300, '
    '"key_name": "KEY_UP", "key_code": 103, "state_name": "{keys}"}}', up="PRESSED", none="RELEASED", scale=1000),
    "a list of JSON": "[\n" + lines('{{"t": {t}, "key": "up", "down": {keys}}},', up="true", none="false").strip(",\n")
    + "\n]\n",
    "a column per key": "frame,UP,a,space\n" + lines("{t:.0f},{keys},0,0", up="1", none="0", scale=60),
    "dicts": "time,keys\n" + lines("{t},\"{{'up': {keys}, 'a': False}}\"", up="True", none="False"),
    "assignments": "time,keys\n" + lines('{t},"up={keys},a=0"', up="1", none="0"),
    "no key": "time,keys\n" + lines("{t},{keys}", none="no key"),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(tmp_path, dialect):
    assert held(read(tmp_path, DIALECTS[dialect])) == UP


@pytest.mark.parametrize(
    ("cell", "keys"),
    [
        ('"up,left"', {"up", "left"}), ("up,left", {"up", "left"}), ("up left", {"up", "left"}),
        ("['up', 'left']", {"up", "left"}), ("\"['up', 'left']\"", {"up", "left"}), ("up++", {"up", "+"}), ("+", {"+"}),
        ("Up+Shift_L", {"up", "left shift"}), ("'w'", {"w"}), ("left shift+enter", {"left shift", "return"}),
        ("key.keyboard.w+key.keyboard.left.control", {"w", "left ctrl"}), ("minus", {"-"}), ("VK_UP KEY_LEFT",
        {"up", "left"}),
    ],
)  # fmt: skip
def test_cells_of_several_keys(tmp_path, cell, keys):
    log = read(tmp_path, f"time,keys\n0,\n6,{cell}\n")
    assert held(log) == [frozenset()] * 6 + [frozenset(keys)] * 6


def test_events_of_several_keys(tmp_path):
    log = read(
        tmp_path, "time,key,event\n1,up,down\n2,left,down\n3,left,down\n4,left,up\n5,x,up\n6,up,release\n"
    )
    up, both = frozenset({"up"}), frozenset({"up", "left"})
    assert held(log) == [frozenset(), up, both, both, up, up, *[frozenset()] * 6]


@pytest.mark.parametrize(
    ("dialect", "note"),
    [
        ("milliseconds", "assumed: a.csv has times in milliseconds"), ("nanoseconds", "assumed: .* nanoseconds"),
        ("epoch", "assumed: .* its first line is the video's first frame"), ("ISO", "assumed: .* first line"),
        ("time of day", "assumed: .* first line"), ("pynput", "assumed: keys of a.csv: Key.up is 'up'"),
        ("a last line cut off", "cut off in its last line"),
    ],
)  # fmt: skip
def test_what_is_assumed_is_said(tmp_path, dialect, note):
    import re

    notes = []
    read(tmp_path, DIALECTS[dialect], notes)
    assert len(notes) == 1 and re.search(note, notes[0]) and len(notes[0]) < 300


@pytest.mark.parametrize(
    "dialect", ["seconds", "frames", "clock", "none", "lists", "events", "index of pandas"]
)
def test_nothing_is_said_about_a_plain_log(tmp_path, dialect):
    notes = []
    read(tmp_path, DIALECTS[dialect], notes)
    assert not notes


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("time,keys\n0,up\n1,\n2,Button.left+up\n9,\n", "no keyboard has the keys 'button.left'"),
        ("time,keys\n0,up\n3,\n", r"ends at 3 s, its video at 12 s"),
        ("time,keys\n0,up\n30,\n", r"ends at 30 s, its video at 12 s"),
        ("frame,keys\n0,up\n1440,\n", r"ends at 24 s, its video at 12 s"),
        ("time,keys,mouse_x\n0,up,5\n9,,6\n", "columns that are not used: mouse_x"),
        ("time,keys,action\n0,up,jump\n9,,run\n", "columns that are not used: action"),
        ("time,keys\n0,up\n11,", "its last line may be cut off"),
        ("time,keys,paused\n0,up,0\n9,,1\n", "columns that are not used: paused"),
        ("index,time,keys,player\n0,0,up,1\n1,9,up,1\n", "columns that are not used: player"),
        ("time,keys,player\n0,up,1\n9,left,1\n", "columns that are not used: player"),
    ],
)
def test_what_is_odd_is_noted(tmp_path, content, note):
    import re

    notes = []
    log = read(tmp_path, content, notes)
    assert len(notes) == 1 and re.search(note, notes[0]) and "up" in log.keys[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "time,keys\n0,up\n120,\n240,up\n",
            "fit a video of 12 s in no unit: name the column time_s, time_ms",
        ),
        ("time,keys\n83213.5,up\n83224.5,\n", "in no unit"),  # seconds since the computer was started
        ("time,keys\n100,up\n110,\n", "outside of the video"),
        ("time_ms,keys\n50000,up\n60000,\n", "outside of the video"),
        ("frame,keys\n5000,up\n", "outside of the video"),
        ("time,keys\n-9,up\n-5,\n", "outside of the video"),
        ("frame,keys\n0,up\n1.5,\n", "line 3: '1.5' is not the number of a frame"),
        ("time,keys\n0,up\n6,-\n", "line 3: '-' is the minus key or no key"),
        ("time,keys\n0,up++left\n", "line 2: .*a key is missing"),
        ("time,keys\n0,up\n6,u\x07p\n", "damaged: it contains the character"),
        ("time,keys\n0,up\0\n6,\n", "damaged"),
        (f"time,keys\n0,{'u' * 50}\n", "line 2: 'u+' is no key's name"),
        (f"time,keys\n0,{'u' * 5000}\n", "not a CSV file"),
        ('time,keys\n0,"up\n6,\n', "not a CSV file .*close the quotes"),
        ("time,keys\n0,up\nnan,\n", "line 3: 'nan' is not a number"),
        ("time,keys\n0,up\n1e999,\n", "line 3: '1e999' is not a number"),
        ("time,keys\n0,up\n,left\n", "line 3: no time"),
        ("time,keys\n0,up\n0:06,\n", "line 3: '0:06' is a time of another form"),
        ("time,keys\n0,up\n6,\n5,up\n", "line 4: .* earlier than the line before"),
        ("time,keys\n0,5,up\n", "line 2: more columns"),  # a decimal comma
        ("time,key,duration\n0,up,5\n", "a column 'duration'"),
        ("time,key,event\n0,up,down\n6,up,sideways\n", "line 3: expected a key and down or up"),
        ("time,key,evt\n0,up,0\n6,up,1\n", "does the column 'evt' say whether a key goes down or up"),
        ("time,wParam,key\n0,256,up\n6,257,up\n", "does the column 'w_param' say"),
        ("time,pressed,released\n0,up,\n3,left,\n6,,up\n", "a column 'released'"),
        ("time,key,pressed\n0,up,1\n3,left,1\n", "no key ever goes up"),
        ("time,type,key\n0,256,up\n6,257,up\n", "line 2: expected a key and down or up"),
        ("time,key,event\n0,up,begin\n6,up,finish\n", "line 2: expected a key and down or up"),
        ("time,keys\n0,up pressed\n6,up released\n", "line 2: 'up pressed' is an event"),
        ("time,keys\n0,{w down}\n6,{w up}\n", "line 2: .* is an event"),
        ("time,keys\n0,w down\n6,w up\n", "line 2: .* is an event"),
        ("time,key,hold_ms\n0,up,500\n6,up,200\n", "a column 'hold_ms'"),
        ("time,up,left\n0,1,0\n6,0.5,0\n", "line 3: '0.5' in a column of one key"),
        ("time,keys\n0,w:5\n", "line 2: .*stand next to a name"),
        ('{"t": 0, "value": 1}\n', "must have the fields time .* and keys, found 't, value'"),
        ('{"t": 0, "keys": "up"}\n{"t": 6, "ke\n', "line 2: no JSON"),
        ('{"t": 0, "keys": "up"}\n[6]\n', "line 2: write one object a line"),
        ("time,key,event\n0,up,down\n6,,up\n", "line 3: expected a key and down or up"),
        ("time,keys\n", "no lines after the first"),
        ("0,up,9\n6,,9\n", "first line must be time,keys or frame,keys, found '0,up,9'"),
        ("time\n0\n", "first line must be"),
        ("", "first line must be"),
        (b"\xff\xfe\x00", "not a CSV file"),
        (b"time,keys\n0,\xfc\n", "not a CSV file .*UTF-8"),
    ],
)
def test_what_is_ambiguous_or_damaged_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, content)
    line = str(error.value).replace(str(tmp_path), "")
    assert len(line) <= 300 and line.isprintable()


def test_frame_numbers_are_the_times_of_these_frames(tmp_path):
    """Of a clip whose frames are not equally long, or of which some are missing."""
    times = np.concatenate([np.arange(10) / 60, 5 + np.arange(10) / 15])
    path = tmp_path / "a.csv"
    path.write_text("frame,keys\n5,up\n12,left\n19,\n20,x\n")
    log = read_log(path, times, 6.0, [])
    np.testing.assert_allclose(log.times, [times[5], times[12], times[19], 6.0])


def test_times():
    assert parse_time("-1.5") == (-1.5, "number") and parse_time("1,5") == (1.5, "number")
    assert parse_time("1:02:03,5") == (3723.5, "clock") and parse_time("-0:01") == (-1.0, "clock")
    assert parse_time("1970-01-02T00:00:01Z") == (86401.0, "date")
    assert parse_time("1970-01-01 02:00:00+02:00") == (0.0, "date")
    for text in (
        "",
        "x",
        "inf",
        "nan",
        "1_000",
        "0x10",
        "9" * 400,
        "1:2:3:4",
        "2024-13-01T00:00:00",
        f"{'9' * 99}:00",
    ):
        with pytest.raises(ValueError):
            parse_time(text)
