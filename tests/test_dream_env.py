"""The world model as a Gymnasium environment: Dream-v0, one episode or many, its start states, ends and rewards."""

import sys
from pathlib import Path

import dream_env
import gymnasium
import numpy as np
import pytest
from dream.common.errors import InputError
from dream.data.splits import window_starts
from dream.data.trajectories import open_trajectories
from dream.inference.recorded_starts import choose_rewarded
from dream_env_helpers import make, make_vec, outcome_with_end, save_endless_model
from gymnasium.utils.env_checker import check_env
from small import save_moving_square, save_small_world_model


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    return save_endless_model(tmp_path_factory.mktemp("model"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_passes_the_check_of_gymnasium(model_path):
    check_env(make(model_path, render_mode="rgb_array").unwrapped)


def test_the_game_is_that_of_the_recording(model_path):
    env = make(model_path, render_mode="rgb_array")
    assert env.unwrapped.action_names == ("nothing", "left", "right")
    assert env.unwrapped.action_keys == ((), ("left",), ("right",))
    assert env.metadata["render_fps"] == 15
    frame, info = env.reset(seed=0, options={"start": 2})
    assert frame.shape == (32, 48, 3) and frame.dtype == np.uint8 and info["start"] == 2
    frame, reward, terminated, truncated, _ = env.step(1)
    assert np.array_equal(env.render(), frame) and reward != 0 and not (terminated or truncated)


def test_a_seed_repeats_an_episode_and_another_seed_does_not(model_path):
    env = make(model_path)

    def play(seed: int | None) -> list:
        frames = [env.reset(seed=seed)[0], *(env.step(action)[0] for action in (1, 2, 0, 1))]
        return [frame.copy() for frame in frames]

    first, again, other = play(3), play(3), play(4)
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))
    assert not all(map(np.array_equal, play(None), play(None)))  # each episode has noise of its own


def test_many_episodes_in_one_batch_are_those_of_one_at_a_time(model_path):
    envs, alone = make_vec(model_path, 3), make(model_path).unwrapped
    assert envs.observation_space.shape == (3, 32, 48, 3)
    frames, infos = envs.reset(seed=5, options={"start": [0, 1, 2]})
    assert infos["start"].tolist() == [0, 1, 2]
    noise = [int(np.random.default_rng(5 + i).integers(2**31)) for i in range(3)]
    actions = np.array([[1, 2, 0], [0, 1, 1]])
    batch = [envs.step(step) for step in actions]
    for i in range(3):
        alone.reset(seed=0, options={"start": i})
        first = alone.episodes.reset(0, i, noise[i])  # the noise of the batch's episode
        assert np.array_equal(first, frames[i])
        for step, (obs, rewards, terminated, truncated, _) in zip(actions, batch, strict=True):
            frame, reward, ended, cut, _ = alone.step(int(step[i]))
            assert np.abs(frame.astype(int) - obs[i]).max() <= 1  # a batch rounds differently
            assert abs(reward - rewards[i]) < 1e-3 and (ended, cut) == (terminated[i], truncated[i])


def test_an_episode_is_truncated_at_the_horizon_and_a_new_one_begins(model_path):
    env = make(model_path, horizon=3)
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    envs = make_vec(model_path, 2, horizon=2)
    envs.reset(seed=0)
    envs.step(np.zeros(2, int))
    obs, _, terminated, truncated, infos = envs.step(np.zeros(2, int))
    assert truncated.all() and not terminated.any() and infos["_final_obs"].all()
    assert set(infos["start"]) <= {0, 1, 2} and infos["final_info"]["_end_probability"].all()
    assert obs.shape == (2, 32, 48, 3) and not np.array_equal(infos["final_obs"][0], obs[0])
    assert not envs.step(np.zeros(2, int))[3].any()


def test_an_episode_ends_where_the_model_says_so(tmp_path):
    paths = save_small_world_model(tmp_path, outcome=outcome_with_end(50))
    env = make(paths["model_path"])
    env.reset(seed=0)
    _, _, terminated, truncated, info = env.step(0)
    assert terminated and not truncated and info["end_probability"] > 0.99


def test_a_model_without_rewards_says_so(tmp_path):
    paths = save_small_world_model(tmp_path)
    with pytest.warns(UserWarning, match="trained without rewards"):
        env = make(paths["model_path"])
    assert not env.unwrapped.has_rewards
    env.reset(seed=0)
    assert env.step(1)[1] == 0


def test_the_pretrained_model_rewards_driving():
    """The first thing that a visitor tries: no arguments."""
    env = gymnasium.make("Dream-v0")
    assert env.unwrapped.has_rewards
    rewards = {}
    for name in ("forward", "nothing"):
        action = env.unwrapped.action_names.index(name)
        env.reset(seed=0, options={"start": 1})
        rewards[name] = sum(env.step(action)[1] for _ in range(20))
    assert rewards["forward"] > rewards["nothing"] + 2 > 2  # in the game 1 is full speed along the track


def test_start_states_of_a_recording(model_path, tmp_path):
    names = np.array(["nothing", "left", "right"])
    recording = save_moving_square(tmp_path / "a.npz", {"action_names": names})
    env = make(model_path, recording=recording, num_starts=12)
    assert {env.reset(seed=seed)[1]["start"] for seed in range(200)} == set(range(12))
    other = save_moving_square(tmp_path / "b.npz", {"action_names": names}, width=64)
    with pytest.raises(InputError, match="the model needs 32 x 48"):
        make(model_path, recording=other)


def test_start_states_with_high_rewards(model_path, tmp_path):
    """From different parts of the recording, where the reward of the four frames is high."""
    names = np.array(["nothing", "left", "right"])
    path = save_moving_square(tmp_path / "a.npz", {"action_names": names})
    with pytest.raises(InputError, match="no rewards to choose start states by"):
        make(model_path, recording=path, starts="rewarded")
    data = open_trajectories(path)
    rewards = np.zeros(data.actions.shape, np.float32)
    rewards[0, 4:8], rewards[1, 10:14] = 1, 2
    starts = window_starts(data.episode_starts, np.ones(rewards.shape, bool), 4)
    data.extras["rewards"] = rewards
    assert choose_rewarded(data, starts, 4, 1).tolist() == [[1, 10]]
    chosen = choose_rewarded(data, starts, 4, 6).tolist()
    assert [0, 4] in chosen and [1, 10] in chosen and len(chosen) == 6
    assert len(choose_rewarded(data, starts, 4, 10**6)) == len(starts)
    rewarded = save_moving_square(tmp_path / "b.npz", {"action_names": names, "rewards": rewards})
    states = {
        which: make(
            model_path, recording=rewarded, num_starts=3, starts=which
        ).unwrapped.episodes.start_states.latents
        for which in ("auto", "rewarded", "even")
    }
    assert np.array_equal(states["auto"], states["rewarded"])  # without being asked for
    assert not np.array_equal(states["auto"], states["even"])
    with pytest.raises(InputError, match="give recording=FILE"):
        make(model_path, starts="rewarded")
    with pytest.raises(InputError, match="starts='best': choose from auto, rewarded, even"):
        make(model_path, recording=path, starts="best")


def test_wrong_arguments_are_refused(model_path, tmp_path):
    env = make(model_path)
    with pytest.raises(ValueError, match="start state 9 is not one of 3"):
        env.reset(options={"start": 9})
    with pytest.raises(InputError, match="horizon"):
        make(model_path, horizon=0)
    with pytest.raises(InputError, match="no checkpoint"):
        make(tmp_path / "none.pt")
    with pytest.raises(InputError, match="model_path=None: wanted the path of a file"):
        make(None)
    with pytest.raises(InputError, match="num_starts=4 is of a recording"):
        make(model_path, num_starts=4)
    with pytest.raises(InputError, match="is a file of start states: it takes"):
        make(model_path, recording=model_path.with_name("initial_sequence.npz"))
    with pytest.raises(ValueError, match=r"options \['strat'\]: there is only start"):
        env.reset(options={"strat": 1})
    for settings in (
        {"num_starts": "9", "recording": "a.npz"},
        {"device": "foo"},
        {"recording": tmp_path / "none.npz"},
    ):
        with pytest.raises(InputError):
            make(model_path, **settings)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions \[7\]: each must be from 0 to 2"):
        env.unwrapped.step(7)
    envs = make_vec(model_path, 2)
    with pytest.raises(ValueError, match="step before reset"):
        envs.step([0, 0])
    envs.reset(seed=0)
    for actions, message in (
        ([0, -1], "each must be from"),
        ([0], "1 actions for 2"),
        ([0, 1, 2], "3 actions"),
    ):
        with pytest.raises(ValueError, match=message):
            envs.step(actions)
    for arguments in ({"seed": [1]}, {"options": {"reset_mask": [True, False]}}, {"options": {"start": [0]}}):
        with pytest.raises(ValueError, match="for 2 environments"):
            envs.reset(**arguments)


def test_all_environments_of_a_process_share_one_model(model_path):
    first, second = make(model_path), make(model_path)
    assert first.unwrapped.episodes.backend is second.unwrapped.episodes.backend
    first.reset(seed=1, options={"start": 0})
    second.reset(seed=1, options={"start": 0})
    expected = first.step(1)[0]
    second.step(2)
    assert np.array_equal(first.reset(seed=1, options={"start": 0})[0], first.unwrapped.frame)
    assert np.array_equal(first.step(1)[0], expected)
    assert sys.modules["dream_env"] is dream_env


def test_the_window_shows_the_frames(model_path, monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = make(model_path, render_mode="human").unwrapped
    env.reset(seed=0)
    frame = env.step(1)[0]
    shown = pygame.surfarray.array3d(env.window.screen).swapaxes(0, 1)
    assert np.array_equal(shown[::3, ::3], frame)
    env.close()
    assert env.window is None and not pygame.display.get_init()
