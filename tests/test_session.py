"""Play sessions on a small random world model: rewinding, start states, controllers."""

import numpy as np
from dream.common.agent_view import preprocess_frame
from dream.common.errors import InputError
from dream.data.start_states import load_start_states
from dream.play.controllers import AgentController, HumanController, make_controllers
from dream.play.recording import SessionRecorder
from dream.play.session import REWIND_SECONDS, PlaySession
from session_helpers import ACTIONS, make_session
from small import open_small_world_model


def test_the_same_actions_after_a_rewind_give_the_same_frames(env):
    """The noise depends on the number of frames since the start state, not on the number of steps taken."""
    session = make_session(env, ACTIONS)
    frames = [session.frame_u8.copy(), *(session.step().copy() for _ in ACTIONS)]
    for number in reversed(range(3, len(ACTIONS))):
        assert session.rewind()
        np.testing.assert_array_equal(session.frame_u8, frames[number])
        assert session.num_frames == env.num_generated == number
    for number in range(4, len(ACTIONS) + 1):
        np.testing.assert_array_equal(session.step(), frames[number])


def test_another_seed_changes_the_last_frame(env, tmp_path):
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "session.npz"))
    session.regenerate_last()  # without effect: a start state is not generated
    for _ in range(3):
        session.step()
    before = session.frame_u8.copy()
    env.seed = 9
    session.regenerate_last()
    assert (
        session.num_frames == env.num_generated == session.recording.num_frames == 3
        and session.action == ACTIONS[2]
    )
    assert (session.frame_u8 != before).any()
    env.seed = 0
    session.regenerate_last()
    np.testing.assert_array_equal(session.frame_u8, before)
    session.stop_recording()


def test_rewinding_ends_at_the_start_state_and_after_some_seconds(env):
    session = make_session(env, ACTIONS)
    assert not session.rewind()
    for _ in range(round(REWIND_SECONDS * env.fps) + 20):
        session.step()
    steps = 0
    while session.rewind():
        steps += 1
    assert steps == round(REWIND_SECONDS * env.fps) and session.num_frames == 20
    session.restart()
    assert session.num_frames == 0 and not session.rewind()


def test_start_states_wrap_around(env):
    session = make_session(env, ACTIONS)
    session.step()
    session.change_start(-1)
    assert (session.start, session.num_frames) == (2, 0)
    session.change_start(1)
    assert session.start == 0


def test_a_saved_start_state_shows_the_same_frame(env, tmp_path, paths):
    """In this session and, from the file, in another one."""
    session = make_session(env, ACTIONS)
    for _ in range(5):
        session.step()
    path = tmp_path / "new folder" / "start_states.npz"
    assert env.save_start_state(path) == 3
    for again in (env, open_small_world_model(**{**paths, "trajectory_path": path})):
        assert again.num_starts == 4
        again.reset(0)
        frame_u8 = again.reset(3).astype(int)
        np.testing.assert_allclose(frame_u8, session.frame_u8, atol=3)  # the file has them in half precision
    assert load_start_states(path, env.backend).game_state(3) is None


def test_a_script_continues_after_a_rewind_and_ends_with_no_op(env):
    session = make_session(env, [1, 2])
    session.step()
    session.rewind()
    taken = []
    for _ in range(4):
        session.step()
        taken.append(session.action)
    assert taken == [1, 2, 0, 0]


def test_a_controller_that_cannot_play_is_skipped_with_a_message(env):
    def load_policy():
        raise InputError("no agent.npz")

    controllers = make_controllers(env, ("a list", [2]), load_policy)
    session = PlaySession(env, controllers=controllers)
    assert session.controller.name == "you" and session.cycle_controller() == "driver: a list"
    output = session.cycle_controller()
    assert (
        "no agent.npz" in output and output.endswith("driver: you") and session.controller is controllers[0]
    )
    alone = PlaySession(env, controllers=[controllers[0], controllers[2]])
    assert "no other driver" in alone.cycle_controller()


def test_the_agent_observes_the_last_frames_at_reset(env):
    observed = []

    def policy(views):
        observed.append(views)
        return np.array([0.0, 100.0, 0.0], np.float32)

    agent = AgentController(lambda: policy, seed=0)
    session = PlaySession(env, controllers=[HumanController(env.action_keys), agent])
    frames = [session.frame_u8, *(session.step().copy() for _ in range(6))]
    views = [preprocess_frame(frame) for frame in frames]
    session.cycle_controller()
    views.append(preprocess_frame(session.step()))
    assert session.action == 1 and np.array_equal(observed[0], views[-5:-1])
    session.step()
    assert np.array_equal(observed[1], views[-4:])
    session.rewind()
    session.rewind()  # the agent is reset to the frames before
    session.step()
    assert np.array_equal(observed[2], views[-5:-1])


def test_the_agent_samples_its_policy_and_repeats_itself_after_a_rewind():
    logits = np.log([0.1, 0.6, 0.3]).astype(np.float32)
    agents = [AgentController(lambda: lambda views: logits, seed) for seed in (0, 0, 1)]
    for agent in agents:
        agent.reset([np.zeros((28, 64, 3), np.uint8)], 0)
    actions = [[agent.act((), t) for t in range(3000)] for agent in agents]
    np.testing.assert_allclose(np.bincount(actions[0]) / 3000, [0.1, 0.6, 0.3], atol=0.03)
    assert actions[0] == actions[1] != actions[2]
    assert [agents[0].act((), t) for t in range(100)] == actions[0][:100]
