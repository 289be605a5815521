"""The recording of a person: RecordingSession, and record_trajectories.py --policy person."""

import os
import signal
import sys
import time

import numpy as np
import pytest
import record_trajectories
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError
from player.envs.vector_env import make_env
from player.games.registry import find_game
from player.window.recording_session import PERSON_STEPS, RecordingSession
from record_trajectories import make_writer, parse_args


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
    session.write_complete_steps()
    session.env.close()
    path = session.writer.pack()
    data = open_trajectories(path)
    assert data.frames.shape[:2] == (1, 2 * PERSON_STEPS) and len(np.unique(data.actions)) > 3
    env = make_env(find_game("Mode7Kart-v0"), 4, start="line", stall_seconds=0.0, max_seconds=600.0)
    frame, _ = env.reset(seed=3)
    rewards = []
    for t, action in enumerate(data.actions.ravel()):
        np.testing.assert_array_equal(data.frames[0, t], frame.transpose(2, 0, 1))
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_recording_a_person_needs_a_display(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="no screen"):
        record_trajectories.main(parse_args(["--policy", "person", "--output", str(tmp_path / "a.npz")]))


@pytest.mark.parametrize("ending", ["frames", "quit", "ctrl-c"])
def test_recording_of_a_person(tmp_path, monkeypatch, capsys, ending):
    """All steps are kept, however it ends; the actions are said before."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame")
    calls = iter(range(10**6))

    def events() -> list:
        call = next(calls)
        if call == 300 and ending == "ctrl-c":
            raise KeyboardInterrupt
        keys = {
            5: "up",
            6: "space",
            300: "q" if ending == "quit" else "up",
        }  # the second one skips the countdown
        return (
            [pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(keys[call]))] if call in keys else []
        )

    monkeypatch.setattr(pygame.event, "get", events)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    frames = ["--frames", "70"] if ending == "frames" else []
    record_trajectories.main(parse_args(["--policy", "person", *frames, "--output", str(tmp_path / "a.npz")]))
    data = open_trajectories(tmp_path / "a.npz")
    # frames 6 to 300: 294 frames of the game, 73 complete steps
    assert data.actions.shape == (1, 70 if ending == "frames" else 73) and (data.actions == 1).all()
    assert "forward+left     up + left" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_ctrl_c_while_a_row_is_written_loses_nothing(tmp_path):
    session = person_session(tmp_path, 2 * PERSON_STEPS)
    write = session.writer.write

    def interrupted(part, rows):
        os.kill(os.getpid(), signal.SIGINT)
        write(part, rows)

    session.writer.write = interrupted
    with pytest.raises(KeyboardInterrupt):
        while not session.finished:
            session.step()
    session.writer.write = write
    assert session.num_written == PERSON_STEPS and session.row == []
    session.env.close()
    assert open_trajectories(session.writer.pack()).num_frames == PERSON_STEPS
