"""Play sessions on a small random world model: rewinding, controllers, recordings, replays, the real game."""

import json
import sys
import textwrap

import numpy as np
import play_sd
import pytest
import torch
from dream.common.errors import InputError
from dream.common.video import free_path
from dream.data.splits import episode_ids
from dream.data.start_states import load_start_states, save_start_states, select_start_states
from dream.data.trajectories import open_trajectories
from dream.play.controllers import AgentController, HumanController, ScriptController, make_controllers
from dream.play.real_env import RealEnv, parse_setting
from dream.play.recording import DiskFull, Replay, SessionRecorder
from dream.play.session import REWIND_SECONDS, PlaySession
from small import moving_square, open_small_world_model, save_small_world_model

ACTIONS = [0, 1, 2, 2, 1, 0, 2, 1]


@pytest.fixture
def paths(tmp_path):
    return save_small_world_model(tmp_path)


@pytest.fixture
def env(paths):
    return open_small_world_model(**paths)


def make_session(env, actions, **settings) -> PlaySession:
    return PlaySession(
        env,
        controllers=[ScriptController("a list", actions, 0), HumanController(env.action_keys)],
        **settings,
    )


# ------------------------------------------------------------------------------------------------ rewinding


def test_the_same_actions_after_a_rewind_give_the_same_frames(env):
    """The noise depends on the age of the frame, not on the number of steps taken."""
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
    path = tmp_path / "kept" / "places.npz"
    assert env.save_start_state(path) == 3
    for again in (env, open_small_world_model(**{**paths, "trajectory_path": path})):
        assert again.num_starts == 4
        again.reset(0)
        shown = again.reset(3).astype(int)
        np.testing.assert_allclose(shown, session.frame_u8, atol=3)  # the file has them in half precision
    assert load_start_states(path, env.backend).game_state(3) is None


# ------------------------------------------------------------------------------------------------ controllers


def test_a_script_continues_after_a_rewind_and_ends_with_no_op(env):
    session = make_session(env, [1, 2])
    session.step()
    session.rewind()
    taken = []
    for _ in range(4):
        session.step()
        taken.append(session.action)
    assert taken == [1, 2, 0, 0]


def test_a_controller_that_cannot_play_is_skipped_with_a_message(env, tmp_path):
    controllers = make_controllers(env, ("a list", [2]), tmp_path / "no agent.pt")
    session = PlaySession(env, controllers=controllers)
    assert session.controller.name == "you" and session.cycle_controller() == "driver: a list"
    output = session.cycle_controller()
    assert "no agent.pt" in output and output.endswith("driver: you") and session.controller is controllers[0]
    alone = PlaySession(env, controllers=[controllers[0], controllers[2]])
    assert "no other driver" in alone.cycle_controller()


def test_the_agent_observes_the_last_frames_at_reset(env, monkeypatch):
    seen = []

    class Agent:
        views = "views of an earlier frame"

        def observe(self, frames_u8):
            seen.append(int(frames_u8[0, 0, 0, 0]))

    agent = AgentController("none", env.action_names, 0)
    agent.agent, agent.act = Agent(), lambda held_keys, num_frames: 1
    session = PlaySession(env, controllers=[HumanController(env.action_keys), agent])
    frames = [session.frame_u8, *(session.step() for _ in range(6))]
    session.cycle_controller()
    assert agent.agent.views is None and seen == [int(frame[0, 0, 0]) for frame in frames[-4:]]
    session.step()
    assert session.action == 1 and seen[4:] == [int(session.frame_u8[0, 0, 0])]
    seen.clear()
    session.rewind()  # the agent is reset to the frames before
    assert seen == [int(frame[0, 0, 0]) for frame in frames[-4:]]


# ------------------------------------------------------------------------------------------------ recordings


def record_session(env, path):
    """Two episodes, changed settings, a rewind; returns the last frames of the first episode."""
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
    seen = []
    for _ in range(2):
        seen.append(session.frame_u8)
        session.step()
    session.change_start(1)
    for _ in range(3):
        session.step()
    assert session.stop_recording().num_frames == 6 + 2 + 3
    return seen


def test_a_recording_is_a_trajectories_file(env, tmp_path):
    """It can be inspected and trained on."""
    seen = record_session(env, tmp_path / "session.npz")
    data = open_trajectories(tmp_path / "session.npz")
    assert data.frames.shape == (1, 11, 3, *env.frame_shape) and data.action_names == env.action_names
    assert (data.fps, data.action_keys, data.assumptions) == (env.fps, env.action_keys, ())
    assert data.actions[0].tolist() == [*ACTIONS[1:7], *ACTIONS[7:], ACTIONS[0], *ACTIONS[:3]]
    assert np.flatnonzero(data.episode_starts[0]).tolist() == [0, 8] and episode_ids(data).max() == 1
    np.testing.assert_array_equal(data.frames[0, 6], seen[0].transpose(2, 0, 1))
    assert sorted(path.name for path in tmp_path.iterdir() if "session" in path.name) == ["session.npz"]


def test_a_replay_gives_the_same_frames(env, paths, tmp_path):
    record_session(env, tmp_path / "session.npz")
    again = open_small_world_model(**paths, seed=5)
    replay = Replay.load(tmp_path / "session.npz", again)
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)
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
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)


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
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)


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
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)


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
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)


def test_a_second_ctrl_c_loses_nothing(env, monkeypatch, tmp_path):
    """It comes while the file is written."""
    session, write, interrupts = make_session(env, ACTIONS), SessionRecorder.write, [KeyboardInterrupt]
    session.start_recording(SessionRecorder(tmp_path / "session.npz"))
    for _ in range(5):
        session.step()

    def interrupted(take):
        if interrupts:
            raise interrupts.pop()
        write(take)

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
    assert [path.name for path in tmp_path.glob("session*")] == ["session.writing.npz.frames"]


def test_a_recording_without_a_frame_leaves_no_file(env, tmp_path):
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "new folder" / "session.npz"))
    session.stop_recording()
    assert list((tmp_path / "new folder").iterdir()) == []
    for path in (tmp_path / "model.pt" / "session.npz", tmp_path / "new folder"):
        with pytest.raises(InputError, match="cannot record to"):
            SessionRecorder(path)
    session.start_recording(SessionRecorder(free_path(tmp_path, ".npz")))
    assert free_path(tmp_path, ".npz").name == "dream_002.npz"  # of another window, at the same time
    session.stop_recording()


CORRUPTIONS = {  # arrays that replace those of a recording, and values that replace those of its first event
    "latents of another shape": ({"replay/latents": np.zeros((2, 4, 4, 28, 64), np.float32)}, {}),
    "not a number": ({"replay/latents": np.full((2, 4, 4, 8, 12), np.nan, np.float32)}, {}),
    "an unknown action": ({"actions": np.full((1, 11), 9)}, {}),
    "an action below 0": ({"actions": np.full((1, 11), -1)}, {}),
    "actions of another type": ({"actions": np.zeros((1, 11))}, {}),
    "no frames": ({"actions": np.zeros((1, 0), int), "frames": np.zeros((1, 0, 3, 32, 48), np.uint8)}, {}),
    "unknown start actions": ({"replay/actions": np.full((2, 4), 7)}, {}),
    "too few start actions": ({"replay/actions": np.zeros((2, 3), int)}, {}),
    "steps": ({}, {"steps": 10**9}),
    "no steps": ({}, {"steps": 0}),
    "steps are text": ({}, {"steps": "x"}),
    "a seed below 0": ({}, {"seed": -1}),
    "an age below 0": ({}, {"age": -1}),
    "first event too late": ({}, {"t": 3}),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_corrupt_recording_is_refused(env, tmp_path, corruption):
    path = tmp_path / "session.npz"
    record_session(env, path)
    contents, (arrays, event) = dict(np.load(path)), CORRUPTIONS[corruption]
    meta = json.loads(str(contents["meta"]))
    meta["replay"][0].update(event)
    np.savez(path, **{**contents, **arrays, "meta": json.dumps(meta)})
    with pytest.raises(InputError, match=r"session\.npz cannot be replayed") as caught:
        Replay.load(path, env)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("corruption", ["no recording", "another program's", "cut off", "another model's"])
def test_a_file_that_is_no_recording_is_refused(env, tmp_path, corruption):
    path = tmp_path / "session.npz"
    record_session(env, path)
    contents = dict(np.load(path))
    if corruption == "no recording":
        path.unlink()
    elif corruption == "another program's":
        np.savez(path, frames=contents["frames"], actions=contents["actions"])
    elif corruption == "cut off":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        meta = {**json.loads(str(contents["meta"])), "dream": "another"}
        np.savez(path, **{**contents, "meta": json.dumps(meta)})
    with pytest.raises(InputError, match=r"session\.npz") as caught:
        Replay.load(path, env)
    assert "\n" not in str(caught.value)


def test_play_sd_replays_a_recording(paths, tmp_path, capsys):
    def play(*argv):
        words = [f"--{name.replace('_', '-')}={path}" for name, path in paths.items()]
        play_sd.main(play_sd.parse_args([*words, "--backend", "torch", "--headless", *map(str, argv)]))

    (tmp_path / "keys.txt").write_text("left 5\nright 4\n")
    take = tmp_path / "session.npz"
    play("--keys", tmp_path / "keys.txt", "--steps", 2, "--seed", 3, "--start", 1, "--record", take)
    capsys.readouterr()
    play("--replay", take)
    assert "9 of 9 frames are equal to the recording" in capsys.readouterr().out
    contents = dict(np.load(take))
    contents["frames"][0, 4] = 0
    np.savez(take, **contents)
    with pytest.raises(InputError, match="rounds differently"):
        play("--replay", take)
    assert "8 of 9" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ the real game

GAME = """
    import gymnasium
    import numpy as np

    class Line(gymnasium.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 15}
        action_space = gymnasium.spaces.Discrete(3)
        observation_space = gymnasium.spaces.Box(0, 255, (32, 48, 3), np.uint8)

        def __init__(self, render_mode=None, wide=0):
            self.render_mode, self.wide = render_mode, wide

        def reset(self, seed=None, options=None):
            super().reset(seed=seed)
            self.x = (options or {}).get("state", {"x": 9})["x"]
            return self.render(), {}

        def step(self, action):
            self.x += (0, -1, 1)[action] * (1 + self.wide)
            return self.render(), 0.0, self.x >= 40, False, {}

        def render(self):
            return np.full((32, 48, 3), self.x, np.uint8)

        def get_state(self):
            return self.x

        def set_state(self, state):
            self.x = state

    class Blind(Line):
        def render(self):
            return None

    gymnasium.register("Line-v0", Line)
    gymnasium.register("Blind-v0", Blind)
    gymnasium.register("Words-v0", lambda render_mode=None: gymnasium.wrappers.TransformObservation(
        Line(render_mode), lambda seen: float(seen[0, 0, 0]), gymnasium.spaces.Box(0, 255, ())))
"""


@pytest.fixture
def game(tmp_path, monkeypatch):
    """A module `a_game` in a folder that is not in sys.path."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "a_game.py").write_text(textwrap.dedent(GAME))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield str(folder)
    sys.modules.pop("a_game", None)


def with_game_states(env):
    env.start_states.game_states = {"x": np.array([5, 38, np.nan], np.float32)}
    return env


def test_the_real_game_follows_the_session(env, game):
    """The same start state, the same actions, the same rewinds."""
    session = make_session(with_game_states(env), [2, 2, 1], real=RealEnv("a_game:Line-v0", 3, game))
    assert session.real.in_sync and session.real.frame_u8[0, 0, 0] == 5
    shown = []
    for _ in range(3):
        session.step()
        shown.append(int(session.real.frame_u8[0, 0, 0]))
    assert shown == [6, 7, 6]
    session.rewind()
    session.rewind()
    assert session.real.frame_u8[0, 0, 0] == 6 and session.real.in_sync
    session.step()
    assert session.real.frame_u8[0, 0, 0] == 7
    session.real.close()


def test_a_game_that_ignores_the_state_is_not_in_sync(env, game):
    """Compared with a game in another state, a good world model would look wrong."""
    real = RealEnv("a_game:Line-v0", 3, game)
    reset = real.env.unwrapped.reset
    real.env.unwrapped.reset = lambda seed=None, options=None: reset(seed=seed)
    session = make_session(with_game_states(env), [2, 2], real=real)
    assert not real.in_sync and real.label == "game (not in sync)" and real.frame_u8[0, 0, 0] == 9
    session.step()
    assert real.frame_u8[0, 0, 0] == 10


@pytest.mark.parametrize("failure", ["step", "picture", "state"])
def test_an_exception_of_the_game_stops_the_game_alone(env, game, failure):
    real = RealEnv("a_game:Line-v0", 3, game)
    inner = real.env.unwrapped
    session = make_session(with_game_states(env), [2] * 5, real=real)
    session.step()
    if failure == "step":
        inner.step = lambda action: 1 / 0
    elif failure == "picture":
        inner.render = lambda: np.zeros((4, 4), np.float32)
    else:
        inner.reset = lambda seed=None, options=None: {}["nothing"]
        session.restart()
    before = real.frame_u8.copy()
    for _ in range(2):
        session.step()
    assert real.label.startswith("game (stopped: ") and not real.in_sync
    np.testing.assert_array_equal(real.frame_u8, before)
    if failure == "step":
        del inner.step
        session.restart()
        assert real.label == "game"


def test_a_game_without_frames_is_refused(game):
    with pytest.raises(InputError, match="it renders no frames"):
        RealEnv("a_game:Blind-v0", 3, game)


def test_a_game_that_is_not_in_sync_says_so(env, game):
    session = make_session(
        with_game_states(env), [2, 2, 2], real=RealEnv("a_game:Line-v0", 3, game, ["wide=1"])
    )
    session.change_start(1)
    assert session.real.in_sync and session.real.frame_u8[0, 0, 0] == 38
    session.step()  # the game ends and resets, the world model goes on
    assert not session.real.in_sync and session.real.frame_u8[0, 0, 0] == 9
    session.rewind()
    assert session.real.in_sync and session.real.frame_u8[0, 0, 0] == 38
    session.change_start(1)  # a start state without game state
    assert not session.real.in_sync and session.real.frame_u8[0, 0, 0] == 9
    words = RealEnv("a_game:Words-v0", 3, game)  # its observation is no frame, so it renders one
    assert words.frame_u8.shape == (32, 48, 3)
    del type(words.env.unwrapped).get_state
    words.reset({"x": 5.0})
    words.set_state(words.get_state())  # it cannot restore a state
    assert not words.in_sync


@pytest.mark.parametrize(
    ("name", "num_actions", "path", "settings", "output"),
    [
        ("nowhere:Line-v0", 3, None, [], "--real-path"),
        ("a_game:Line-v0", 3, "no folder", [], "is not a folder"),
        ("a_game:Other-v0", 3, "game", [], "cannot be played"),
        ("a_game:Line-v0", 3, "game", ["colour=red"], "cannot be played"),
        ("a_game:Line-v0", 6, "game", [], "the world model has 6 actions"),
        ("a_game:Line-v0", 3, "game", ["wide"], "NAME=VALUE"),
    ],
)
def test_a_game_that_cannot_be_played_is_refused(game, name, num_actions, path, settings, output):
    with pytest.raises(InputError, match=output) as caught:
        RealEnv(name, num_actions, game if path == "game" else path, settings)
    assert "\n" not in str(caught.value)


def test_settings_are_json_or_strings():
    assert [parse_setting(words) for words in ("track=1", "start=line", "flag=true", 'x="1"')] == [
        ("track", 1),
        ("start", "line"),
        ("flag", True),
        ("x", "1"),
    ]


# ------------------------------------------------------------------------------------------------ start states


def test_selection_of_start_states(tmp_path):
    """One at an episode start, one with low reward that moves, and good ones between them."""
    rows, steps = 2, 80
    starts = np.zeros((rows, steps), bool)
    starts[:, 0] = starts[0, 40] = True
    rewards = np.ones((rows, steps), np.float32)
    rewards[1, 20:30], rewards[1, 50:60] = -5, -9  # off the road, and standing still at a wall
    frames = np.random.default_rng(0).integers(256, size=(rows, steps, 3, 8, 8)).astype(np.uint8)
    frames[1, 50:60] = 7
    meta = {"game": "Test-v0", "fps": 15.0, "action_keys": [[], ["up"]], "record_envs": 2}
    path = tmp_path / "recording.npz"
    np.savez(
        path, frames=frames, actions=np.zeros((rows, steps), int), episode_starts=starts, rewards=rewards,
        action_names=np.array(["nothing", "up"]), meta=np.array(json.dumps(meta)),
    )  # fmt: skip
    data = open_trajectories(path)
    places = select_start_states(data, np.ones((rows, steps), bool), 4, 8)
    assert len(places) == 8 and len(np.unique(places, axis=0)) == 8
    assert starts[tuple(places[1])]
    row, t = places[-1]
    assert row == 1 and 17 <= t < 30
    assert (rewards[places[2:-1, 0], places[2:-1, 1]] == 1).all()
    later = np.ones((rows, steps), bool)
    later[starts] = False
    where = select_start_states(data, later, 4, 8)
    went = [rewards[row, t : t + 4].sum() for row, t in where]
    assert len(went) == 8 and went[-1] < min(went[:-1]) == 4  # the one with low reward is last here as well
    few = np.zeros((rows, steps), bool)
    few[0, 40:44] = few[1, 20:24] = True
    assert select_start_states(data, few, 4, 8).tolist() == [[0, 40], [1, 20]]  # each once


def test_start_states_hold_the_game_state_of_their_last_frame(env, paths, tmp_path):
    """Off by one frame, the real game would always be one frame ahead."""
    frames, actions = moving_square(rows=4, steps=24)
    times = np.arange(4 * 24, dtype=np.float32).reshape(4, 24)
    path = tmp_path / "recording.npz"
    np.savez(path, frames=frames, actions=actions, **{"truth/time": times})
    data, mask = open_trajectories(path), np.ones((4, 24), bool)
    latents = torch.from_numpy(
        np.broadcast_to(times[:, :, None, None, None], (4, 24, 4, 8, 12)).astype(np.float16)
    )
    save_start_states(data, latents, mask, 4, env.fingerprint, tmp_path / "places.npz")
    start_states = load_start_states(tmp_path / "places.npz", env.backend)
    assert len(start_states) == 8
    for index in range(len(start_states)):
        assert start_states.game_state(index) == {"time": start_states.latents[index, -1, 0, 0, 0]}
    start_states.game_states["speed"] = np.where(np.arange(8) == 3, np.nan, 1).astype(np.float32)
    assert (
        start_states.game_state(3) is None and start_states.game_state(4) is not None
    )  # an incomplete state counts as none
