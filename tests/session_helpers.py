"""Helpers of the tests of play sessions: a session that plays a list of actions, and a recording of one."""

import numpy as np
from dream.play.controllers import HumanController, ScriptController
from dream.play.recording import Replay, SessionRecorder
from dream.play.session import PlaySession

ACTIONS = [0, 1, 2, 2, 1, 0, 2, 1]


def make_session(env, actions, **settings) -> PlaySession:
    """A session that plays the actions; its second controller is a person."""
    return PlaySession(
        env,
        controllers=[ScriptController("a list", actions, 0), HumanController(env.action_keys)],
        **settings,
    )


def record_session(env, path) -> list[np.ndarray]:
    """Records two episodes with changed settings and a rewind; returns the last two frames of the first episode."""
    session = make_session(env, ACTIONS * 3)
    session.step()  # before the recording starts
    session.start_recording(SessionRecorder(path))
    for _ in range(5):
        session.step()
    env.steps = 2
    for _ in range(4):
        session.step()
    for _ in range(3):
        session.rewind()
    env.seed = 7
    last_frames = []
    for _ in range(2):
        last_frames.append(session.frame_u8)
        session.step()
    session.change_start(1)
    for _ in range(3):
        session.step()
    assert session.stop_recording().num_frames == 6 + 2 + 3
    return last_frames


def assert_replay_is_equal(replay: Replay, env) -> None:
    """Generates a recording again; every frame must be equal to the recorded one."""
    frames = np.stack([frame.copy() for frame in replay.run(env)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)
