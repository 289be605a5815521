"""play_sd.py with a fake environment."""

import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import play_sd
import pytest
from dream.common.errors import InputError
from dream.data.trajectories import open_trajectories
from dream.inference import load_networks
from fakes import FakeEnv


@pytest.fixture
def env(monkeypatch):
    env = FakeEnv()
    monkeypatch.setattr(play_sd, "load_env", lambda args: env)
    monkeypatch.setattr(load_networks, "pick_runtime", lambda backend, path: "onnxruntime")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    return env


def play(*argv):
    play_sd.main(play_sd.parse_args([str(word) for word in argv]))


def test_headless_by_keys(env, tmp_path, capsys):
    (tmp_path / "keys.txt").write_text("up+left 2\n- 1\n")
    video = tmp_path / "video.mp4"
    play("--headless", "--keys", tmp_path / "keys.txt", "--frames", 5, "--start", 2, "--record", video)
    assert env.actions == [4, 4, 0, 0, 0] and env.starts == [2]
    printed = capsys.readouterr().out
    assert (
        "seed 0" in printed
        and "5 frames" in printed
        and "ms a frame, worst" in printed
        and str(video) in printed
    )
    assert "latency from key press to frame" in printed
    assert cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) == 5


def test_headless_without_keys(env, capsys):
    play("--headless")
    assert len(env.actions) == 150 and set(env.actions) == {1, 4}  # 2.5 seconds of the demo script


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux is asked for a display")
def test_without_a_display_ten_seconds_are_recorded(env, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(play_sd, "OUTPUT_DIR", tmp_path / "output")
    play("--fps", 6, "--model-path", tmp_path / "model.pt")
    video = tmp_path / "output" / "dream.mp4"
    assert len(env.actions) == 60 and cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FPS) == 6
    printed = capsys.readouterr().out.splitlines()
    assert any("no display" in line for line in printed) and any(str(video) in line for line in printed)
    monkeypatch.setenv("DISPLAY", ":9876")  # names a display that does not exist
    play("--fps", 6, "--record", tmp_path / "promised.gif", "--model-path", tmp_path / "model.pt")
    assert sorted(os.listdir(tmp_path)) == ["output", "promised.gif"]


def test_without_a_display_the_driver_is_kept(env, monkeypatch, tmp_path):
    """The keys of --keys were once replaced by the agent, without a message."""
    monkeypatch.setattr(play_sd, "OUTPUT_DIR", tmp_path / "output")
    (tmp_path / "keys.txt").write_text("left 5\nright 5\n")
    play("--keys", tmp_path / "keys.txt", "--model-path", tmp_path / "model.pt")
    assert env.actions == [2] * 5 + [3] * 5


def test_a_full_disk_keeps_what_was_recorded(env, monkeypatch, tmp_path, capsys):
    usage = iter([10**9, 10**9, 1000])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=next(usage)))
    with pytest.raises(InputError, match=r"take\.npz: the disk is full: .*free some space"):
        play("--headless", "--record", tmp_path / "take.npz")
    assert "128 frames" in capsys.readouterr().out
    assert open_trajectories(tmp_path / "take.npz").num_frames == 128
    assert os.listdir(tmp_path) == ["take.npz"]


@pytest.mark.parametrize("option", ["--record a.mp4", "--steps 2", "--keys a.txt", "--frames 9"])
def test_options_that_a_replay_ignores_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        play_sd.parse_args(["--headless", "--replay", "a.npz", *option.split()])
    assert option.split()[0] in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no such signals here")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_closed_terminal_loses_no_recording(tmp_path, name):
    process = subprocess.Popen(
        [sys.executable, play_sd.__file__, "--headless", "--frames", "1000000",
         "--record", str(tmp_path / "take.npz")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),  # nohup ignores one
    )  # fmt: skip
    tmp_frames, deadline = tmp_path / f"take.npz.{process.pid}.frames", time.monotonic() + 3600
    while not tmp_frames.exists() or tmp_frames.stat().st_size < 9 * 3 * 112 * 256:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    printed, wrong = process.communicate(timeout=3600)
    assert process.returncode == 1 and wrong.startswith("interrupted"), wrong
    assert f"recorded {tmp_path / 'take.npz'}" in printed and os.listdir(tmp_path) == ["take.npz"]
    assert open_trajectories(tmp_path / "take.npz").num_steps >= 9


def session_of(env, *argv):
    return play_sd.make_session(play_sd.parse_args([*map(str, argv)]), env, env.fps)


def test_tab_offers_the_action_list_only_if_the_user_names_one(env, tmp_path):
    (tmp_path / "keys.txt").write_text("up 3\n")
    options = ["--model-path", tmp_path / "model.pt", "--agent-path", tmp_path / "agent.pt"]
    names = [controller.name for controller in session_of(env, *options).controllers]
    assert names == ["you", "agent"]
    session = session_of(env, *options, "--keys", tmp_path / "keys.txt")
    assert [controller.name for controller in session.controllers] == ["you", "keys.txt", "agent"]
    assert session.controller.name == "keys.txt"
    assert session_of(env, *options, "--driver", "list").controller.name == "action list"


def test_without_a_display_the_agent_drives(env, monkeypatch, tmp_path, capsys):
    """The demo script is made for another track: the kart leaves the road, and the video shows grass."""
    monkeypatch.setattr(play_sd, "OUTPUT_DIR", tmp_path / "output")
    monkeypatch.setattr(play_sd, "load_policy", lambda *args: lambda views: np.eye(6)[3] * 100)
    play("--fps", 6, "--agent-path", tmp_path / "agent.npz")
    assert env.actions == [3] * 60 and "driver: agent" in capsys.readouterr().out


def test_laps_are_reported_and_a_broken_probe_does_not_stop_play(env, monkeypatch, tmp_path, capsys):
    (tmp_path / "laps.npz").write_bytes(b"no probe")
    play("--headless", "--frames", 3, "--model-path", tmp_path / "model.pt")
    printed = capsys.readouterr().out
    assert "laps.npz is damaged" in printed and "playing without laps" in printed and "3 frames" in printed
    monkeypatch.setattr(load_networks, "load_network", lambda *args, **options: lambda views: (1.0, 0.0))
    play("--headless", "--frames", 3, "--model-path", tmp_path / "model.pt")
    assert "laps 0" in capsys.readouterr().out


def test_without_opencv_videos_are_gifs(env, monkeypatch, tmp_path):
    """sd/req.txt, which is enough for playing, has no OpenCV."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr(play_sd, "OUTPUT_DIR", tmp_path / "output")
    play("--fps", 6, "--model-path", tmp_path / "model.pt")
    assert os.listdir(tmp_path / "output") == ["dream.gif"]
    with pytest.raises(InputError, match="opencv-python"):
        play("--headless", "--frames", 2, "--record", tmp_path / "video.mp4")
    assert os.listdir(tmp_path) == ["output"]


@pytest.mark.parametrize(
    "code",
    [
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
        "raise OSError('libc.so.6: version GLIBC_2.34 not found')",
    ],
)
def test_opencv_that_cannot_be_loaded_is_as_if_it_were_not_there(env, monkeypatch, tmp_path, code):
    """On a server without libGL, the GIF that the README promises was a traceback."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "cv2.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, "cv2")
    monkeypatch.setattr(play_sd, "OUTPUT_DIR", tmp_path / "output")
    play("--fps", 6, "--model-path", tmp_path / "model.pt")
    assert os.listdir(tmp_path / "output") == ["dream.gif"]
    with pytest.raises(InputError, match=r"cannot be loaded here.*not found|cannot be loaded here.*libGL"):
        play("--headless", "--frames", 2, "--record", tmp_path / "video.mp4")


def test_interrupted_headless_play_keeps_the_video(env, monkeypatch, tmp_path, capsys):
    step = env.step
    monkeypatch.setattr(env, "step", lambda action: step(action) if len(env.actions) < 4 else interrupt())
    with pytest.raises(KeyboardInterrupt):
        play("--headless", "--record", tmp_path / "video.mp4")
    assert os.listdir(tmp_path) == ["video.mp4"] and "4 frames" in capsys.readouterr().out


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "argv",
    [
        "--frames 10",
        "--headless --frames 0",
        "--steps 1001",
        "--fps 0",
        "--scale 17",
        "--start -1",
        "--record a.avi",
        "--steps 0",
    ],
)
def test_options_out_of_range_are_refused(argv, capsys):
    with pytest.raises(SystemExit):
        play_sd.parse_args(argv.split())
    assert "error: --" in capsys.readouterr().err
