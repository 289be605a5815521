"""record_trajectories.py: the script as a command, and the recording of a person."""

import json
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
from player.envs.vector_env import make_env
from player.games.registry import find_game
from record_trajectories import PERSON_STEPS, RecordingSession, make_writer, parse_args

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


def test_ctrl_c_keeps_the_finished_rows(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--policy", "random", "--n-envs", "1", "--frames", "20480",
         "--output", str(tmp_path / "a.npz")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # because background jobs of a shell ignore it
    )  # fmt: skip
    parts = tmp_path / "a.recording" / "trajectories.partial"
    deadline = time.monotonic() + 3600
    while not (parts / "epoch_000000").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=3600)
    assert process.returncode == 0 and "keeping the finished rows" in output
    assert len(open_trajectories(tmp_path / "a.npz").frames) >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--policy", "ghost"], "--policy ghost: wanted KIND"),
        (["--policy", "agent=0"], "--policy agent=0: wanted KIND"),
        (["--policy", "agent=some"], "--policy agent=some: wanted KIND"),
        (["--policy", "random=inf"], "wanted KIND"),
        (["--frames", 0], "--frames and --n-envs must be at least 1"),
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


def person_session(tmp_path, num_steps: int) -> RecordingSession:
    session = RecordingSession(num_steps, decision_frames=4, seed=3)
    args = parse_args(
        ["--policy", "person", "--frames", "1", "--output", str(tmp_path / "a.npz"), "--seed", "3"]
    )
    session.writer = make_writer(args, session.game, 1, ["person"], tmp_path / "parts")
    return session


def test_recorded_actions_of_a_person_reproduce_the_frames(tmp_path):
    """The game, stepped with the recorded actions, shows the recorded frames and gives the recorded rewards."""
    session = person_session(tmp_path, 2 * PERSON_STEPS)
    rng, held = np.random.default_rng(0), frozenset()
    while not session.finished:
        if rng.random() < 0.1:  # keys also change between decisions
            held = frozenset(key for key in ("up", "left", "right") if rng.random() < 0.6)
        session.step(held)
    session.write_row()
    session.env.close()
    path = session.writer.pack()
    data = open_trajectories(path)
    assert data.frames.shape[:2] == (2, PERSON_STEPS) and len(np.unique(data.actions)) > 3
    env = make_env(find_game("Mode7Kart-v0"), 4, start="line", stall_seconds=0.0, max_seconds=600.0)
    frame, _ = env.reset(seed=3)
    rewards = []
    for t, action in enumerate(data.actions.ravel()):
        np.testing.assert_array_equal(
            data.frames[t // PERSON_STEPS, t % PERSON_STEPS], frame.transpose(2, 0, 1)
        )
        frame, reward, *_ = env.step(int(action))
        rewards.append(reward)
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["rewards"].ravel(), rewards, atol=1e-4)
    assert data.episode_starts.ravel().nonzero()[0].tolist() == [0]


def test_short_press_between_two_decisions_counts_for_the_next_one(tmp_path):
    session = person_session(tmp_path, PERSON_STEPS)
    for frame in range(12):
        session.step(frozenset({"up"}) if frame == 2 else frozenset())
    assert [step["actions"] for step in session.row] == [0, 1, 0]
    session.env.close()


def test_restart_begins_an_episode(tmp_path):
    session = person_session(tmp_path, PERSON_STEPS)
    for _ in range(10):  # two decisions, and half of the third
        session.step(frozenset({"up"}))
    session.restart()
    while not session.finished:
        session.step()
    starts = [step["episode_starts"] for step in session.row]
    assert [t for t, first in enumerate(starts) if first] == [0, 3]
    assert [step["actions"] for step in session.row[:4]] == [1, 1, 1, 0]
    session.env.close()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_recording_a_person_needs_a_display(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    person = ["--policy", "person", "--frames", 20, "--output", tmp_path / "a.npz"]
    run(*person, error="no screen")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    output = run(*person)
    assert "recorded" in output and open_trajectories(tmp_path / "a.npz").actions.shape == (1, PERSON_STEPS)


def test_rows_before_a_failure_of_the_game_are_kept(tmp_path, monkeypatch):
    """Its message is the last line."""
    pytest.importorskip("cv2")
    monkeypatch.setattr(record_trajectories, "PART_STEPS", 20)
    flags = ["--game", "odd_environments:Odd-v0", "--game-settings", "odd=raises in step", "--policy", "random",
             "--frames", "200", "--n-envs", "1", "--frame-skip", "1", "--output", str(tmp_path / "a.npz")]  # fmt: skip
    with pytest.raises(InputError, match=r"fails in step.*no step; the finished rows are in .*a\.npz"):
        record_trajectories.main(parse_args(flags))
    assert open_trajectories(tmp_path / "a.npz").frames.shape[:2] == (1, 20)
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
