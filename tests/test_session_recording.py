"""Recordings of play sessions: their content, replays, failures while they are written."""

import json
import os

import numpy as np
import pytest
from dream.common.errors import InputError
from dream.common.video import free_path
from dream.data.splits import episode_ids
from dream.data.trajectories import open_trajectories
from dream.play.recording import DiskFull, Replay, SessionRecorder
from session_helpers import ACTIONS, assert_replay_is_equal, make_session, record_session
from small import open_small_world_model


def test_a_recording_is_a_trajectories_file(env, tmp_path):
    """It can be inspected and trained on."""
    last_frames = record_session(env, tmp_path / "session.npz")
    data = open_trajectories(tmp_path / "session.npz")
    assert data.frames.shape == (1, 11, 3, *env.frame_shape) and data.action_names == env.action_names
    assert (data.fps, data.action_keys, data.assumptions) == (env.fps, env.action_keys, ())
    assert data.actions[0].tolist() == [*ACTIONS[1:7], *ACTIONS[7:], ACTIONS[0], *ACTIONS[:3]]
    assert np.flatnonzero(data.episode_starts[0]).tolist() == [0, 8] and episode_ids(data).max() == 1
    np.testing.assert_array_equal(data.frames[0, 6], last_frames[0].transpose(2, 0, 1))
    assert sorted(path.name for path in tmp_path.iterdir() if "session" in path.name) == ["session.npz"]


def test_a_replay_gives_the_same_frames(env, paths, tmp_path):
    record_session(env, tmp_path / "session.npz")
    again = open_small_world_model(**paths, seed=5)
    replay = Replay.load(tmp_path / "session.npz", again)
    assert_replay_is_equal(replay, again)
    assert replay.first_episode_length == 8


def test_recordings_of_earlier_versions_can_be_replayed(env, paths, tmp_path):
    """Their events hold a context level as well, which is ignored."""
    record_session(env, tmp_path / "session.npz")
    arrays = dict(np.load(tmp_path / "session.npz"))
    meta = json.loads(str(arrays["meta"]))
    assert all(set(event) <= {"t", "age", "seed", "steps"} for event in meta["replay"])
    for event in meta["replay"]:
        event["context_level"] = 0.0
    np.savez(tmp_path / "session.npz", **{**arrays, "meta": json.dumps(meta)})
    again = open_small_world_model(**paths)
    replay = Replay.load(tmp_path / "session.npz", again)
    assert_replay_is_equal(replay, again)


def test_settings_changed_before_the_first_frame(env, paths, tmp_path):
    """They update the event at which the episode begins."""
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "session.npz"))
    for seed in (3, 4):
        env.seed = seed
        session.step()
        session.step()
        session.restart()
    session.stop_recording()
    again = open_small_world_model(**paths)
    replay = Replay.load(tmp_path / "session.npz", again)
    assert_replay_is_equal(replay, again)


def test_rewinding_beyond_the_first_frame_of_a_recording(env, paths, tmp_path):
    """The recording starts a new episode there and drops the one without frames."""
    session = make_session(env, ACTIONS)
    for _ in range(4):
        session.step()
    session.start_recording(SessionRecorder(tmp_path / "first.npz"))
    session.step()
    session.stop_recording()
    session.start_recording(SessionRecorder(tmp_path / "session.npz"))
    for _ in range(2):
        session.step()
    for _ in range(5):
        session.rewind()
    assert session.recording.num_frames == 0 and session.num_frames == 2
    for _ in range(3):
        session.step()
    session.stop_recording()
    again = open_small_world_model(**paths)
    replay = Replay.load(tmp_path / "session.npz", again)
    assert replay.actions.tolist() == ACTIONS[2:5] and [mark["age"] for mark in replay.events] == [2]
    assert_replay_is_equal(replay, again)


def test_a_recording_from_a_generated_start_state(env, paths, tmp_path):
    """The noise depends on the frames since a recorded start state, and a replay continues that count."""
    session = make_session(env, ACTIONS)
    for _ in range(4):
        session.step()
    env.start_states.append(*env.export_state(), env.num_generated)
    session.change_start(-1)
    session.start_recording(SessionRecorder(tmp_path / "session.npz"))
    for _ in range(3):
        session.step()
    assert (session.num_frames, env.num_generated) == (3, 7)
    session.stop_recording()
    again = open_small_world_model(**paths)
    replay = Replay.load(tmp_path / "session.npz", again)
    assert_replay_is_equal(replay, again)


def test_a_second_ctrl_c_loses_nothing(env, monkeypatch, tmp_path):
    """The second one arrives while the file is written."""
    session, write, interrupts = make_session(env, ACTIONS), SessionRecorder.write, [KeyboardInterrupt]
    session.start_recording(SessionRecorder(tmp_path / "session.npz"))
    for _ in range(5):
        session.step()

    def interrupted(recorder):
        if interrupts:
            raise interrupts.pop()
        write(recorder)

    monkeypatch.setattr(SessionRecorder, "write", interrupted)
    session.stop_recording()
    assert open_trajectories(tmp_path / "session.npz").num_frames == 5


def test_a_partly_written_frame_is_removed(env, paths, tmp_path):
    """The disk fills between two checks of its free space: all earlier frames are kept."""
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "session.npz"))
    for _ in range(5):
        session.step()
    file = session.recording.file

    class Full:
        def __getattr__(self, name):
            return getattr(file, name)

        def write(self, pixels):
            return file.write(pixels[:100])

    session.recording.file = Full()
    with pytest.raises(DiskFull, match=r"session\.npz"):
        session.step()
    assert session.num_frames == env.num_generated == session.recording.num_frames == 5
    session.stop_recording()
    assert open_trajectories(tmp_path / "session.npz").num_frames == 5


def test_a_failed_save_keeps_the_temporary_file(env, monkeypatch, tmp_path):
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "session.npz"))
    session.step()
    monkeypatch.setattr(np, "savez", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        session.stop_recording()
    assert [path.name for path in tmp_path.glob("session*")] == [f"session.npz.{os.getpid()}.frames"]


def test_two_recordings_to_one_path_do_not_mix(env, tmp_path):
    """Two programs once wrote to one temporary file; a link in its place was followed."""
    (tmp_path / "diary.txt").write_text("dear")
    (tmp_path / f"session.npz.{os.getpid()}.frames").symlink_to(tmp_path / "diary.txt")
    one, other = make_session(env, ACTIONS), make_session(env, ACTIONS)
    frames = []
    for session in (one, other):
        session.start_recording(SessionRecorder(tmp_path / "session.npz"))
    for _ in range(3):
        frames.append(one.frame_u8.transpose(2, 0, 1))
        one.step()
    other.step()
    one.stop_recording()
    np.testing.assert_array_equal(np.load(tmp_path / "session.npz")["frames"][0], frames)
    other.stop_recording()
    assert np.load(tmp_path / "session.npz")["actions"].shape == (1, 1)
    assert (tmp_path / "diary.txt").read_text() == "dear" and not list(tmp_path.glob("*.frames"))


def test_a_recording_without_a_frame_leaves_no_file(env, tmp_path):
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "new folder" / "session.npz"))
    session.stop_recording()
    assert list((tmp_path / "new folder").iterdir()) == []
    for path in (tmp_path / "model.pt" / "session.npz", tmp_path / "new folder"):
        with pytest.raises(InputError, match=r"cannot record to|is a file, not a folder"):
            SessionRecorder(path)
    session.start_recording(SessionRecorder(free_path(tmp_path, ".npz")))
    assert free_path(tmp_path, ".npz").name == "dream_002.npz"  # of another window, at the same time
    session.stop_recording()
