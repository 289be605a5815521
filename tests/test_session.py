"""A ride through a small random dream: back and on again, who drives, the game beside it, recordings driven again."""

import json
import sys
import textwrap

import numpy as np
import play_sd
import pytest
import torch
from dream.common.errors import InputError
from dream.common.video import free_path
from dream.data.latents import save_start_states
from dream.data.start_states import load_start_states
from dream.data.trajectories import episode_ids, open_trajectories, select_start_states
from dream.play.controllers import AgentController, HumanController, ScriptController, make_controllers
from dream.play.real_env import RealEnv, parse_setting
from dream.play.recording import DiskFull, Replay, SessionRecorder
from dream.play.session import REWIND_SECONDS, PlaySession
from small import moving_square, open_dream, save_dream

ACTIONS = [0, 1, 2, 2, 1, 0, 2, 1]


@pytest.fixture
def paths(tmp_path):
    return save_dream(tmp_path)


@pytest.fixture
def env(paths):
    return open_dream(**paths)


def make_session(env, actions, **settings) -> PlaySession:
    return PlaySession(
        env,
        controllers=[ScriptController("a list", actions, 0), HumanController(env.action_keys)],
        **settings,
    )


# ------------------------------------------------------------------------------------------------ back, and on again


def test_back_and_the_same_way_again_is_the_same(env):
    """What one meets must not depend on how often one went back, or nobody could look at a place twice."""
    session = make_session(env, ACTIONS)
    frames = [session.frame_u8.copy(), *(session.step().copy() for _ in ACTIONS)]
    for number in reversed(range(3, len(ACTIONS))):
        assert session.rewind()
        np.testing.assert_array_equal(session.frame_u8, frames[number])
        assert session.age == env.age == number
    for number in range(4, len(ACTIONS) + 1):
        np.testing.assert_array_equal(session.step(), frames[number])


def test_a_knob_shows_on_the_frame_one_looks_at(env, tmp_path):
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "take.npz"))
    session.regenerate_last()  # a place was not dreamed
    for _ in range(3):
        session.step()
    before = session.frame_u8.copy()
    env.seed = 9
    session.regenerate_last()
    assert session.age == env.age == session.recording.num_frames == 3 and session.action == ACTIONS[2]
    assert (session.frame_u8 != before).any()
    env.seed = 0
    session.regenerate_last()
    np.testing.assert_array_equal(session.frame_u8, before)
    session.stop_recording()


def test_the_way_back_ends_at_the_place_and_after_some_seconds(env):
    session = make_session(env, ACTIONS)
    assert not session.rewind()
    for _ in range(round(REWIND_SECONDS * env.fps) + 20):
        session.step()
    steps = 0
    while session.rewind():
        steps += 1
    assert steps == round(REWIND_SECONDS * env.fps) and session.age == 20
    session.restart()
    assert session.age == 0 and not session.rewind()


def test_places_go_round(env):
    session = make_session(env, ACTIONS)
    session.step()
    session.change_start(-1)
    assert (session.start, session.age) == (2, 0)
    session.change_start(1)
    assert session.start == 0


def test_a_kept_place_is_where_one_stood(env, tmp_path, paths):
    """Also by the file, in another run."""
    session = make_session(env, ACTIONS)
    for _ in range(5):
        session.step()
    path = tmp_path / "kept" / "places.npz"
    assert env.save_start_state(path) == 3
    for again in (env, open_dream(**{**paths, "trajectory_path": path})):
        assert again.num_starts == 4
        again.reset(0)
        shown = again.reset(3).astype(int)
        np.testing.assert_allclose(shown, session.frame_u8, atol=3)  # the file has them in half precision
    assert load_start_states(path, env.engine).game_state(3) is None


# ------------------------------------------------------------------------------------------------ who drives


def test_a_list_goes_on_where_it_is_and_presses_nothing_after_its_end(env):
    session = make_session(env, [1, 2])
    session.step()
    session.rewind()
    taken = []
    for _ in range(4):
        session.step()
        taken.append(session.action)
    assert taken == [1, 2, 0, 0]


def test_who_cannot_drive_is_passed_over_with_a_word(env, tmp_path):
    controllers = make_controllers(env, ("a list", [2]), tmp_path / "no agent.pt")
    session = PlaySession(env, controllers=controllers)
    assert session.controller.name == "you" and session.cycle_controller() == "driver: a list"
    said = session.cycle_controller()
    assert "no agent.pt" in said and said.endswith("driver: you") and session.controller is controllers[0]
    alone = PlaySession(env, controllers=[controllers[0], controllers[2]])
    assert "no other driver" in alone.cycle_controller()


def test_the_agent_sees_the_last_frames_when_it_takes_over(env, monkeypatch):
    seen = []

    class Agent:
        views = "those of before"

        def see(self, frames_u8):
            seen.append(int(frames_u8[0, 0, 0, 0]))

    driver = AgentController("none", env.action_names, 0)
    driver.agent, driver.act = Agent(), lambda held_keys, age: 1
    session = PlaySession(env, controllers=[HumanController(env.action_keys), driver])
    frames = [session.frame_u8, *(session.step() for _ in range(6))]
    session.cycle_controller()
    assert driver.agent.views is None and seen == [int(frame[0, 0, 0]) for frame in frames[-4:]]
    session.step()
    assert session.action == 1 and seen[4:] == [int(session.frame_u8[0, 0, 0])]
    seen.clear()
    session.rewind()  # what it saw since is undone
    assert seen == [int(frame[0, 0, 0]) for frame in frames[-4:]]


# ------------------------------------------------------------------------------------------------ recordings


def drive_and_record(env, path):
    """Two episodes, a knob turned, a way back; returns what was seen when each action was chosen."""
    session = make_session(env, ACTIONS * 3)
    session.step()  # before it begins
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


def test_a_recording_is_one_of_the_project_s(env, tmp_path):
    """So that it can be looked at, and another dream be trained on it."""
    seen = drive_and_record(env, tmp_path / "take.npz")
    data = open_trajectories(tmp_path / "take.npz")
    assert data.frames.shape == (1, 11, 3, *env.frame_shape) and data.action_names == env.action_names
    assert (data.fps, data.action_keys, data.assumptions) == (env.fps, env.action_keys, ())
    assert data.actions[0].tolist() == [*ACTIONS[1:7], *ACTIONS[7:], ACTIONS[0], *ACTIONS[:3]]
    assert np.flatnonzero(data.episode_starts[0]).tolist() == [0, 8] and episode_ids(data).max() == 1
    np.testing.assert_array_equal(data.frames[0, 6], seen[0].transpose(2, 0, 1))
    assert sorted(path.name for path in tmp_path.iterdir() if "take" in path.name) == ["take.npz"]


def test_driven_again_a_recording_gives_the_same_frames(env, paths, tmp_path):
    drive_and_record(env, tmp_path / "take.npz")
    again = open_dream(**paths, seed=5)
    replay = Replay.load(tmp_path / "take.npz", again)
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)
    assert replay.first_episode_length == 8


def test_recordings_of_earlier_versions_can_be_replayed(env, paths, tmp_path):
    """Their events hold a context level as well, which is ignored."""
    drive_and_record(env, tmp_path / "take.npz")
    arrays = dict(np.load(tmp_path / "take.npz"))
    meta = json.loads(str(arrays["meta"]))
    assert all(set(event) <= {"t", "age", "seed", "steps"} for event in meta["replay"])
    for event in meta["replay"]:
        event["context_level"] = 0.0
    np.savez(tmp_path / "take.npz", **{**arrays, "meta": json.dumps(meta)})
    again = open_dream(**paths)
    replay = Replay.load(tmp_path / "take.npz", again)
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)


def test_a_knob_turned_before_the_first_frame(env, paths, tmp_path):
    """It belongs to the episode's beginning, which must not be lost by it."""
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "take.npz"))
    for seed in (3, 4):
        env.seed = seed
        session.step()
        session.step()
        session.restart()
    session.stop_recording()
    again = open_dream(**paths)
    replay = Replay.load(tmp_path / "take.npz", again)
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)


def test_going_back_beyond_the_beginning_of_a_recording(env, paths, tmp_path):
    """From there on it is another way: what was recorded before belongs to no episode."""
    session = make_session(env, ACTIONS)
    for _ in range(4):
        session.step()
    session.start_recording(SessionRecorder(tmp_path / "first.npz"))
    session.step()
    session.stop_recording()
    session.start_recording(SessionRecorder(tmp_path / "take.npz"))
    for _ in range(2):
        session.step()
    for _ in range(5):
        session.rewind()
    assert session.recording.num_frames == 0 and session.age == 2
    for _ in range(3):
        session.step()
    session.stop_recording()
    again = open_dream(**paths)
    replay = Replay.load(tmp_path / "take.npz", again)
    assert replay.actions.tolist() == ACTIONS[2:5] and [mark["age"] for mark in replay.events] == [2]
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)


def test_a_recording_that_begins_on_the_way(env, paths, tmp_path):
    """The noise hangs on the frames since the game's place, also where a replay begins at none of the game's."""
    session = make_session(env, ACTIONS)
    for _ in range(4):
        session.step()
    env.places.add(*env.place(), env.age)
    session.change_start(-1)
    session.start_recording(SessionRecorder(tmp_path / "take.npz"))
    for _ in range(3):
        session.step()
    assert (session.age, env.age) == (3, 7)
    session.stop_recording()
    again = open_dream(**paths)
    replay = Replay.load(tmp_path / "take.npz", again)
    frames = np.stack([frame.copy() for frame in replay.run(again)])
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), replay.frames)


def test_who_is_in_a_hurry_loses_nothing(env, monkeypatch, tmp_path):
    """A second Ctrl-C comes while the file is written."""
    session, write, interrupts = make_session(env, ACTIONS), SessionRecorder.write, [KeyboardInterrupt]
    session.start_recording(SessionRecorder(tmp_path / "take.npz"))
    for _ in range(5):
        session.step()

    def interrupted(take):
        if interrupts:
            raise interrupts.pop()
        write(take)

    monkeypatch.setattr(SessionRecorder, "write", interrupted)
    session.stop_recording()
    assert open_trajectories(tmp_path / "take.npz").num_frames == 5


def test_a_frame_that_is_not_written_whole_is_none(env, paths, tmp_path):
    """A disk that fills between two looks at it: all before that frame is kept."""
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "take.npz"))
    for _ in range(5):
        session.step()
    file = session.recording.file

    class Full:
        def __getattr__(self, name):
            return getattr(file, name)

        def write(self, pixels):
            return file.write(pixels[:100])

    session.recording.file = Full()
    with pytest.raises(DiskFull, match=r"take\.npz"):
        session.step()
    assert session.age == env.age == session.recording.num_frames == 5
    session.stop_recording()
    assert open_trajectories(tmp_path / "take.npz").num_frames == 5


def test_what_cannot_be_saved_stays_aside(env, monkeypatch, tmp_path):
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "take.npz"))
    session.step()
    monkeypatch.setattr(np, "savez", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        session.stop_recording()
    assert [path.name for path in tmp_path.glob("take*")] == ["take.writing.npz.frames"]


def test_a_recording_without_a_frame_leaves_no_file(env, tmp_path):
    session = make_session(env, ACTIONS)
    session.start_recording(SessionRecorder(tmp_path / "new folder" / "take.npz"))
    session.stop_recording()
    assert list((tmp_path / "new folder").iterdir()) == []
    for path in (tmp_path / "model.pt" / "take.npz", tmp_path / "new folder"):
        with pytest.raises(InputError, match="cannot record to"):
            SessionRecorder(path)
    session.start_recording(SessionRecorder(free_path(tmp_path, ".npz")))
    assert free_path(tmp_path, ".npz").name == "dream_002.npz"  # another window's, at the same time
    session.stop_recording()


HARMS = {  # what is written over a recording's own, and its marks
    "another dream's shape": ({"replay/latents": np.zeros((2, 4, 4, 28, 64), np.float32)}, {}),
    "not a number": ({"replay/latents": np.full((2, 4, 4, 8, 12), np.nan, np.float32)}, {}),
    "an action too many": ({"actions": np.full((1, 11), 9)}, {}),
    "an action below 0": ({"actions": np.full((1, 11), -1)}, {}),
    "actions of another type": ({"actions": np.zeros((1, 11))}, {}),
    "no frames": ({"actions": np.zeros((1, 0), int), "frames": np.zeros((1, 0, 3, 32, 48), np.uint8)}, {}),
    "actions before it": ({"replay/actions": np.full((2, 4), 7)}, {}),
    "too few before it": ({"replay/actions": np.zeros((2, 3), int)}, {}),
    "steps": ({}, {"steps": 10**9}),
    "no steps": ({}, {"steps": 0}),
    "words": ({}, {"steps": "x"}),
    "a seed below 0": ({}, {"seed": -1}),
    "an age below 0": ({}, {"age": -1}),
    "a mark elsewhere": ({}, {"t": 3}),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_hostile_recording_is_refused(env, tmp_path, harm):
    path = tmp_path / "take.npz"
    drive_and_record(env, path)
    whole, (arrays, mark) = dict(np.load(path)), HARMS[harm]
    meta = json.loads(str(whole["meta"]))
    meta["replay"][0].update(mark)
    np.savez(path, **{**whole, **arrays, "meta": json.dumps(meta)})
    with pytest.raises(InputError, match=r"take\.npz cannot be replayed") as caught:
        Replay.load(path, env)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("harm", ["no recording", "another's", "cut off", "another dream's"])
def test_what_cannot_be_driven_again_is_refused(env, tmp_path, harm):
    path = tmp_path / "take.npz"
    drive_and_record(env, path)
    whole = dict(np.load(path))
    if harm == "no recording":
        path.unlink()
    elif harm == "another's":
        np.savez(path, frames=whole["frames"], actions=whole["actions"])
    elif harm == "cut off":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        meta = {**json.loads(str(whole["meta"])), "dream": "another"}
        np.savez(path, **{**whole, "meta": json.dumps(meta)})
    with pytest.raises(InputError, match=r"take\.npz") as caught:
        Replay.load(path, env)
    assert "\n" not in str(caught.value)


def test_the_script_drives_a_recording_again(paths, tmp_path, capsys):
    def play(*argv):
        words = [f"--{name.replace('_', '-')}={path}" for name, path in paths.items()]
        play_sd.main(play_sd.parse_args([*words, "--backend", "torch", "--headless", *map(str, argv)]))

    (tmp_path / "keys.txt").write_text("left 5\nright 4\n")
    take = tmp_path / "take.npz"
    play("--keys", tmp_path / "keys.txt", "--steps", 2, "--seed", 3, "--start", 1, "--record", take)
    capsys.readouterr()
    play("--replay", take)
    assert "9 of 9 frames are equal to the recording" in capsys.readouterr().out
    whole = dict(np.load(take))
    whole["frames"][0, 4] = 0
    np.savez(take, **whole)
    with pytest.raises(InputError, match="rounds differently"):
        play("--replay", take)
    assert "8 of 9" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ the game itself

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
    """An installed package `a_game`, in a folder that Python does not look into by itself."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "a_game.py").write_text(textwrap.dedent(GAME))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield str(folder)
    sys.modules.pop("a_game", None)


def knowing_places(env):
    env.places.truth = {"x": np.array([5, 38, np.nan], np.float32)}
    return env


def test_the_game_goes_beside_its_dream(env, game):
    """From the same place, by the same actions, and back with it."""
    session = make_session(knowing_places(env), [2, 2, 1], real=RealEnv("a_game:Line-v0", 3, game))
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


def test_a_game_that_does_not_hear_where_to_stand(env, game):
    """Shown beside the dream as if it stood there, it would make a good dream look wrong."""
    real = RealEnv("a_game:Line-v0", 3, game)
    reset = real.env.unwrapped.reset
    real.env.unwrapped.reset = lambda seed=None, options=None: reset(seed=seed)
    session = make_session(knowing_places(env), [2, 2], real=real)
    assert not real.in_sync and real.label == "game (not in sync)" and real.frame_u8[0, 0, 0] == 9
    session.step()
    assert real.frame_u8[0, 0, 0] == 10


@pytest.mark.parametrize("mistake", ["step", "picture", "state"])
def test_a_game_s_own_mistakes_stop_the_game_alone(env, game, mistake):
    real = RealEnv("a_game:Line-v0", 3, game)
    inner = real.env.unwrapped
    session = make_session(knowing_places(env), [2] * 5, real=real)
    session.step()
    if mistake == "step":
        inner.step = lambda action: 1 / 0
    elif mistake == "picture":
        inner.render = lambda: np.zeros((4, 4), np.float32)
    else:
        inner.reset = lambda seed=None, options=None: {}["nothing"]
        session.restart()
    before = real.frame_u8.copy()
    for _ in range(2):
        session.step()
    assert real.label.startswith("game (stopped: ") and not real.in_sync
    np.testing.assert_array_equal(real.frame_u8, before)
    if mistake == "step":
        del inner.step
        session.restart()
        assert real.label == "game"


def test_a_game_without_pictures_is_refused(game):
    with pytest.raises(InputError, match="it renders no frames"):
        RealEnv("a_game:Blind-v0", 3, game)


def test_a_game_that_stands_elsewhere_says_so(env, game):
    session = make_session(
        knowing_places(env), [2, 2, 2], real=RealEnv("a_game:Line-v0", 3, game, ["wide=1"])
    )
    session.change_start(1)
    assert session.real.in_sync and session.real.frame_u8[0, 0, 0] == 38
    session.step()  # it ends there and begins anew; the dream goes on
    assert not session.real.in_sync and session.real.frame_u8[0, 0, 0] == 9
    session.rewind()
    assert session.real.in_sync and session.real.frame_u8[0, 0, 0] == 38
    session.change_start(1)  # of which nobody knows the true state
    assert not session.real.in_sync and session.real.frame_u8[0, 0, 0] == 9
    words = RealEnv("a_game:Words-v0", 3, game)  # what it gives is no picture: it is asked to draw
    assert words.frame_u8.shape == (32, 48, 3)
    del type(words.env.unwrapped).get_state
    words.reset({"x": 5.0})
    words.set_state(words.get_state())  # it cannot go back
    assert not words.in_sync


@pytest.mark.parametrize(
    ("name", "num_actions", "path", "settings", "said"),
    [
        ("nowhere:Line-v0", 3, None, [], "--real-path"),
        ("a_game:Line-v0", 3, "no folder", [], "is no folder"),
        ("a_game:Other-v0", 3, "game", [], "cannot be played"),
        ("a_game:Line-v0", 3, "game", ["colour=red"], "cannot be played"),
        ("a_game:Line-v0", 6, "game", [], "the world model has 6 actions"),
        ("a_game:Line-v0", 3, "game", ["wide"], "NAME=VALUE"),
    ],
)
def test_a_game_that_cannot_be_played_is_refused(game, name, num_actions, path, settings, said):
    with pytest.raises(InputError, match=said) as caught:
        RealEnv(name, num_actions, game if path == "game" else path, settings)
    assert "\n" not in str(caught.value)


def test_settings_are_json_or_words():
    assert [parse_setting(words) for words in ("track=1", "start=line", "flag=true", 'x="1"')] == [
        ("track", 1),
        ("start", "line"),
        ("flag", True),
        ("x", "1"),
    ]


# ------------------------------------------------------------------------------------------------ places


def test_places_of_a_recording(tmp_path):
    """One that begins an episode, one that goes badly but moves, and between them good ones."""
    rows, steps = 2, 80
    starts = np.zeros((rows, steps), bool)
    starts[:, 0] = starts[0, 40] = True
    rewards = np.ones((rows, steps), np.float32)
    rewards[1, 20:30], rewards[1, 50:60] = -5, -9  # off the road, and standing at a wall
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
    assert (
        len(went) == 8 and went[-1] < min(went[:-1]) == 4
    )  # the bad one stands at the end without the other too
    few = np.zeros((rows, steps), bool)
    few[0, 40:44] = few[1, 20:24] = True
    assert select_start_states(data, few, 4, 8).tolist() == [[0, 40], [1, 20]]  # each once


def test_places_know_the_true_state_of_their_last_frame(env, paths, tmp_path):
    """One frame late, and the game beside the dream is ahead of it for ever."""
    frames, actions = moving_square(rows=4, steps=24)
    times = np.arange(4 * 24, dtype=np.float32).reshape(4, 24)
    path = tmp_path / "recording.npz"
    np.savez(path, frames=frames, actions=actions, **{"truth/time": times})
    data, mask = open_trajectories(path), np.ones((4, 24), bool)
    latents = torch.from_numpy(
        np.broadcast_to(times[:, :, None, None, None], (4, 24, 4, 8, 12)).astype(np.float16)
    )
    save_start_states(data, latents, mask, 4, env.fingerprint, tmp_path / "places.npz")
    places = load_start_states(tmp_path / "places.npz", env.engine)
    assert len(places) == 8
    for place in range(len(places)):
        assert places.game_state(place) == {"time": places.latents[place, -1, 0, 0, 0]}
    places.truth["speed"] = np.where(np.arange(8) == 3, np.nan, 1).astype(np.float32)
    assert places.game_state(3) is None and places.game_state(4) is not None  # half a truth is none
