"""record_trajectories.py: the script as a command; test_record_person.py: the recording of a person."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import record_trajectories
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError
from player.recording.stopping import StopCondition
from record_trajectories import parse_args

SCRIPT = Path(record_trajectories.__file__)


def run(*options, error: str = "") -> str:
    """Runs the script and returns its output. `error`: it must fail with this message, without a traceback."""
    command = [sys.executable, str(SCRIPT), *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if error:
        assert result.returncode != 0 and error in result.stderr, result.stderr
        assert "Traceback" not in result.stderr, result.stderr
    else:
        assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_recording_with_several_behavior_policies(tmp_path):
    options = ["--policy", "agent,wander=2,random", "--n-envs", 4, "--frames", 90, "--seed", 5]
    output = run(*options, "--output", tmp_path / "a.npz")
    assert "seed 5" in output and [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    data = open_trajectories(tmp_path / "a.npz")
    # 92 frames: the number of steps is the same in all environments
    assert data.frames.shape == (4, 23, 3, 112, 256) and data.fps == 15
    assert data.episode_starts[:, 0].all() and not data.episode_starts[:, 1:].any()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"]))
        assert {"truth/speed", "truth/heading", "truth/place"} <= set(arrays)
    assert meta["drivers"] == ["agent", "wander", "wander", "random"] and meta["seed"] == 5

    run(*options, "--output", tmp_path / "again.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    run(*options[:-1], 6, "--output", tmp_path / "other.npz")
    assert (open_trajectories(tmp_path / "other.npz").actions != data.actions).any()
    run(*options, "--output", tmp_path / "a.npz", error="a recording exists at")


@pytest.mark.slow
def test_recording_of_several_tracks(tmp_path):
    """The tracks are distributed over the environments; the array `track` has the track of each row."""
    options = ["--policy", "agent=2,wander", "--n-envs", 3, "--frames", 15, "--track", 0, 2]
    output = run(*options, "--output", tmp_path / "a.npz")
    assert "assumed: the pretrained agent, trained on track 0, can drive [0, 2]" in output
    data = open_trajectories(tmp_path / "a.npz")
    assert data.extras["track"].tolist() == [[0] * 5, [2] * 5, [0] * 5]
    skies = [tuple(data.frames[row, 0, :, 20, 0]) for row in range(3)]
    assert skies[0] == skies[2] != skies[1]
    other = ["--frames", 9, "--output", tmp_path / "b.npz"]
    run("--policy", "person", "--track", 0, 2, *other, error="one --track")
    run("--game", "Airstriker-Genesis-v0", *options, *other, error="are for Mode7Kart-v0")


def test_agent_with_another_frame_skip(tmp_path):
    """For a world model with 30 frames per second. The assumption that the agent still works is printed."""
    options = ["--policy", "agent", "--n-envs", 2, "--frames", 10, "--frame-skip", 2]
    assert "assumed: an agent trained with a step of 4" in run(*options, "--output", tmp_path / "a.npz")
    data = open_trajectories(tmp_path / "a.npz")
    assert data.fps == 30 and len(set(data.actions.flat)) >= 1


@pytest.mark.slow
def test_random_policies_need_no_agent(tmp_path):
    options = ["--n-envs", 2, "--frames", 10, "--agent", tmp_path / "none.pt"]
    run(*options, "--policy", "random,sticky", "--output", tmp_path / "a.npz")
    run(*options, "--policy", "noisy", "--output", tmp_path / "b.npz", error="no checkpoint at")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_ctrl_c_keeps_every_step(tmp_path):
    """Of a recording that is stopped within its first part, which was lost before."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--policy", "random", "--n-envs", "1", "--frames", "20480",
         "--output", str(tmp_path / "a.npz")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # because background jobs of a shell ignore it
    )  # fmt: skip
    shown = b""
    while not (frames := re.findall(rb"(\d+)/20480 ", shown)) or int(frames[-1]) < 20:
        shown += os.read(process.stderr.fileno(), 1000)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=3600)
    assert process.returncode == 0 and b"keeping what is recorded" in output
    num_frames = int(re.search(rb"a.npz: (\d+) frames", output)[1])
    assert (
        num_frames >= 0.99 * int(frames[-1])
        and open_trajectories(tmp_path / "a.npz").num_frames == num_frames
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_ctrl_c_ends_the_step_and_a_second_one_ends_everything():
    with StopCondition(0.0) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.interrupted and stop.is_due(0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    with pytest.raises(KeyboardInterrupt):  # as before
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_max_minutes_includes_packing(tmp_path, capsys):
    flags = ["--policy", "random", "--n-envs", "2", "--frames", "100000", "--max-minutes", "0.05"]
    record_trajectories.main(parse_args([*flags, "--output", str(tmp_path / "a.npz")]))
    data = open_trajectories(tmp_path / "a.npz")
    assert 16 * 2 <= data.num_frames < 100000 and "or what 0.05 minutes allow" in capsys.readouterr().out
    stop = StopCondition(time.perf_counter(), 100)
    assert not stop.is_due(100)
    stop.writing_s = 90.0  # packing will take as long
    assert stop.is_due(100) and not stop.is_due(3)  # three steps are no recording


def test_defaults(tmp_path, monkeypatch):
    args = parse_args([])
    assert args.frames == 50_000 and args.output == Path("output/recording.npz")
    assert args.policy == "agent=1,wander=7"
    assert parse_args(["--game", "CartPole-v1"]).policy == "random=4,brief=3,sticky=1"
    assert parse_args(["--game", "CartPole-v1", "--agent", "best.pt"]).policy == "agent=1,wander=7"
    assert parse_args(["--policy", "person"]).frames is None
    monkeypatch.chdir(tmp_path)
    Path("output").mkdir()
    Path("output/recording.npz").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"a recording exists at output.recording\.npz: choose another --output"
    ):
        record_trajectories.main(args)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--policy", "ghost"], "--policy ghost: wanted KIND"),
        (["--policy", "agent=0"], "--policy agent=0: wanted KIND"),
        (["--policy", "agent=some"], "--policy agent=some: wanted KIND"),
        (["--policy", "random=inf"], "wanted KIND"),
        (["--frames", 0], "--frames and --n-envs must be at least 1"),
        (["--max-minutes", 0], "--max-minutes must be above 0"),
        (["--output", "recording.txt"], "must end in .npz"),
        (["--policy", "random", "--frames", 10**12], "GB are free"),
    ],
)
def test_invalid_options_are_refused(tmp_path, options, error):
    run("--frames", 10, "--n-envs", 1, "--output", tmp_path / "a.npz", *options, error=error)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_recording_are_reported(tmp_path):
    (tmp_path / "a.recording" / "trajectories.partial").mkdir(parents=True)
    run("--frames", 10, "--output", tmp_path / "a.npz", error="--pack-only --output-dir")


def test_steps_before_a_failure_of_the_game_are_kept(tmp_path, monkeypatch):
    """Its message is the last line."""
    pytest.importorskip("cv2")
    monkeypatch.setattr(record_trajectories, "PART_BYTES", 20 * 64 * 64 * 3)
    flags = ["--game", "odd_environments:Odd-v0", "--game-settings", "odd=raises in step", "--policy", "random",
             "--frames", "200", "--n-envs", "1", "--frame-skip", "1", "--output", str(tmp_path / "a.npz")]  # fmt: skip
    with pytest.raises(InputError, match=r"fails in step.*no step; what was recorded before is in .*a\.npz"):
        record_trajectories.main(parse_args(flags))
    assert open_trajectories(tmp_path / "a.npz").frames.shape[:2] == (1, 35)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_second_recorder_is_refused_at_the_start(tmp_path):
    """Two recorders with one --output removed each other's parts, and both lost everything at the end."""
    flags = ["--policy", "random", "--n-envs", "1", "--frames", "5000", "--output", str(tmp_path / "a.npz")]
    command = [sys.executable, str(SCRIPT), *flags]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while not list((tmp_path / "a.recording").glob("*/epoch_??????")):
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)  # it must not end before the second one has started
        second = subprocess.run(command, capture_output=True, text=True)
        assert second.returncode == 1 and "another process is writing" in second.stderr
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    assert list((tmp_path / "a.recording").glob("*/epoch_??????"))
