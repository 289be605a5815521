"""Start states: their selection from a recording, their game states, and initial_sequence.npz."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dream.common.errors import InputError
from dream.data.splits import window_starts
from dream.data.start_states import (
    StartStates,
    high_reward_starts,
    load_start_states,
    save_start_states,
    select_start_states,
)
from dream.data.trajectories import open_trajectories
from invalid_files import Malicious, refusal
from small import GAME, save_moving_square
from trajectory_helpers import T, save

MODEL_SHAPE = SimpleNamespace(autoencoder="", context_length=4, latent_shape=(4, 8, 12), game=GAME)
FRAMES = np.zeros((2, 4, 4, 8, 12), np.float16)
ACTIONS = np.zeros((2, 4), np.int64)
BAD_START_STATES = {
    "no frames": {"actions": ACTIONS},
    "no actions": {"frames": FRAMES},
    "frames instead of latents": {"frames": np.zeros((2, 4, 3, 32, 48), np.float32), "actions": ACTIONS},
    "integers": {"frames": FRAMES.astype(np.uint8), "actions": ACTIONS},
    "no start state": {"frames": FRAMES[:0], "actions": ACTIONS[:0]},
    "a missing axis": {"frames": FRAMES[0], "actions": ACTIONS[0]},
    "a shorter context": {"frames": FRAMES[:, 1:], "actions": ACTIONS[:, 1:]},
    "actions of another length": {"frames": FRAMES, "actions": ACTIONS[:, 1:]},
    "float actions": {"frames": FRAMES, "actions": ACTIONS.astype(np.float32)},
    "an action too high": {"frames": FRAMES, "actions": ACTIONS + 3},
    "an action below 0": {"frames": FRAMES, "actions": ACTIONS - 1},
    "not a number": {"frames": FRAMES * np.nan, "actions": ACTIONS},
    "infinite": {"frames": FRAMES + np.inf, "actions": ACTIONS},
    "objects": {"frames": np.array([{}] * 2, object), "actions": ACTIONS},
}


@pytest.mark.parametrize("case", BAD_START_STATES)
def test_start_states_that_do_not_fit_are_refused_in_one_line(case, tmp_path):
    """A wrong shape or an invalid action would otherwise fail in the middle of play, or generate garbage."""
    path = tmp_path / "initial_sequence.npz"
    np.savez(path, frames=FRAMES, actions=ACTIONS)
    states = load_start_states(path, MODEL_SHAPE)
    frames, actions = states.latents, states.actions
    assert frames.dtype == np.float32 and actions.dtype == np.int64
    np.savez(path, **BAD_START_STATES[case])
    refusal(lambda path: load_start_states(path, MODEL_SHAPE), path)


def test_appended_start_states_are_saved_and_have_no_game_state(tmp_path):
    """The true state of the game is unknown for a generated frame; one that is unknown in part is not used."""
    path = tmp_path / "new folder" / "initial_sequence.npz"
    speed = np.array([1.0, np.nan], np.float32)
    states = StartStates(
        FRAMES.astype(np.float32), ACTIONS, {"x": np.arange(2, dtype=np.float32), "speed": speed}
    )
    states.append(FRAMES[0] + 1, ACTIONS[0] + 2, num_generated=40)
    assert len(states) == 3 and states.num_generated == {2: 40}
    states.save(path, "abc")
    loaded = load_start_states(path, SimpleNamespace(**{**vars(MODEL_SHAPE), "autoencoder": "abc"}))
    np.testing.assert_array_equal(loaded.latents, states.latents)
    np.testing.assert_array_equal(loaded.actions, states.actions)
    assert [loaded.game_state(i) for i in range(3)] == [{"x": 0.0, "speed": 1.0}, None, None]
    assert [entry.name for entry in path.parent.iterdir()] == ["initial_sequence.npz"]
    with pytest.raises(InputError, match="another autoencoder"):
        load_start_states(path, SimpleNamespace(**{**vars(MODEL_SHAPE), "autoencoder": "def"}))


def test_damaged_files_of_start_states_are_refused_in_one_line(tmp_path):
    path, created = tmp_path / "initial_sequence.npz", tmp_path / "created"

    def load(path: Path):
        return load_start_states(path, MODEL_SHAPE)

    refusal(load, path)
    for content in (b"", b"no zip", pickle.dumps(Malicious(created))):
        path.write_bytes(content)
        refusal(load, path)
    with open(path, "wb") as file:
        np.save(file, FRAMES)  # .npy content in a file named .npz
    refusal(load, path)
    np.savez(path, frames=FRAMES, actions=ACTIONS)
    path.write_bytes(path.read_bytes()[:-40])
    refusal(load, path)
    np.savez(path, frames=np.array([Malicious(created)], object), actions=ACTIONS)
    refusal(load, path)
    assert not created.exists()


def test_selection_of_start_states(tmp_path):
    """One at an episode start, one with low reward that moves, and good ones between them."""
    rows, steps = 2, 160
    starts = np.zeros((rows, steps), bool)
    starts[:, 0] = starts[0, 80] = True
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
    chosen = select_start_states(data, np.ones((rows, steps), bool), 4, 8)
    assert len(chosen) == 8 and len(np.unique(chosen, axis=0)) == 8
    assert starts[tuple(chosen[0])]
    row, t = chosen[-1]
    assert row == 1 and 17 <= t < 30
    assert (rewards[chosen[2:-1, 0], chosen[2:-1, 1]] == 1).all()
    later = np.ones((rows, steps), bool)
    later[starts] = False
    later_chosen = select_start_states(data, later, 4, 8)
    returns = [rewards[row, t : t + 4].sum() for row, t in later_chosen]
    assert len(returns) == 8 and returns[-1] < min(returns[:-1]) == 4  # the last is the one with a low reward
    few = np.zeros((rows, steps), bool)
    few[0, 80:84] = few[1, 20:24] = True
    assert select_start_states(data, few, 4, 8).tolist() == [[0, 80], [1, 20]]  # each once


def test_start_states_show_something_and_are_followed_by_something(tmp_path):
    """A lander that leaves the picture at once was the first start state; a landing that ends the game, a good one."""
    rows, steps = 2, 120
    starts = np.zeros((rows, steps), bool)
    starts[:, [0, 60]] = True
    frames = np.zeros((rows, steps, 3, 8, 8), np.uint8)
    frames[0, 60:] = np.arange(60, dtype=np.uint8)[:, None, None, None]  # it moves in this episode
    frames[1] = np.arange(120, dtype=np.uint8)[:, None, None, None]
    rewards = np.zeros((rows, steps), np.float32)
    rewards[:, [59, 119]] = 100
    np.savez(tmp_path / "a.npz", frames=frames, actions=np.zeros((rows, steps), int), episode_starts=starts,
             rewards=rewards)  # fmt: skip
    chosen = select_start_states(open_trajectories(tmp_path / "a.npz"), np.ones((rows, steps), bool), 4, 8)
    assert chosen[0].tolist() == [0, 60]
    assert (chosen[:, 1] % 60 <= 60 - 4 - 32).all()


def test_start_states_hold_the_game_state_of_their_last_frame(tmp_path):
    """Off by one frame, the real game would always be one frame ahead."""
    times = np.arange(4 * 24, dtype=np.float32).reshape(4, 24)
    path = save_moving_square(tmp_path / "recording.npz", {"truth/time": times}, rows=4, steps=24)
    data, mask = open_trajectories(path), np.ones((4, 24), bool)
    latents = torch.from_numpy(
        np.broadcast_to(times[:, :, None, None, None], (4, 24, 4, 8, 12)).astype(np.float16)
    )
    save_start_states(data, latents, mask, 4, MODEL_SHAPE.autoencoder, tmp_path / "start_states.npz")
    start_states = load_start_states(tmp_path / "start_states.npz", MODEL_SHAPE)
    assert len(start_states) == 8
    for index in range(len(start_states)):
        assert start_states.game_state(index) == {"time": start_states.latents[index, -1, 0, 0, 0]}
    start_states.game_states["speed"] = np.where(np.arange(8) == 3, np.nan, 1).astype(np.float32)
    assert start_states.game_state(3) is None  # incomplete
    assert start_states.game_state(4) is not None


def test_start_states_have_high_rewards(tmp_path):
    """Chosen at random, a start state may be in front of a wall or on the grass."""
    rng = np.random.default_rng(0)
    rewards = rng.random((4, 30)).astype(np.float32)
    np.savez(tmp_path / "a.npz", frames=np.zeros((4, 30, 3, 16, 16), np.uint8), actions=np.zeros((4, 30), int),
             rewards=rewards)  # fmt: skip
    data = open_trajectories(tmp_path / "a.npz")
    mask = np.zeros((4, 30), bool)
    mask[1:, 3:] = True
    starts = high_reward_starts(data, mask, 4, 5)
    assert len(starts) == 5 and len({tuple(start) for start in starts.tolist()}) == 5
    possible = window_starts(data.episode_starts, mask, 4).tolist()
    returns = [rewards[row, t : t + 4].sum() for row, t in possible]
    for start, group in zip(starts.tolist(), np.array_split(np.arange(len(possible)), 5), strict=True):
        assert possible.index(start) in group
        assert rewards[start[0], start[1] : start[1] + 4].sum() >= 0.6 * max(returns[i] for i in group) - 1e-4
    np.savez(
        tmp_path / "b.npz", frames=np.zeros((4, 30, 3, 16, 16), np.uint8), actions=np.zeros((4, 30), int)
    )
    assert len(high_reward_starts(open_trajectories(tmp_path / "b.npz"), mask, 4, 5)) == 5


@pytest.mark.parametrize("select", [high_reward_starts, select_start_states])
def test_no_start_states_in_an_empty_mask_is_one_clear_error(tmp_path, select):
    """Short episodes may leave no window in the validation mask; NumPy's error about empty stacks does not say so."""
    data = open_trajectories(save(tmp_path / "t.npz"))
    with pytest.raises(InputError, match="record longer episodes"):
        select(data, np.zeros((3, T), bool), 4, 8)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_start_states_are_from_every_track(tmp_path, count):
    """A track with boosts has higher rewards: by reward alone all start states would be on that one."""
    track = np.repeat([[0], [2], [2], [2]], 30, axis=1)
    np.savez(tmp_path / "a.npz", frames=np.zeros((4, 30, 3, 16, 16), np.uint8), actions=np.zeros((4, 30), int),
             rewards=track.astype(np.float32), track=track)  # fmt: skip
    starts = high_reward_starts(open_trajectories(tmp_path / "a.npz"), np.ones((4, 30), bool), 4, count)
    assert len(starts) == count
    num_by_track = np.bincount(track[starts[:, 0], starts[:, 1]], minlength=3)
    assert num_by_track[0] == (count + 1) // 2 and num_by_track[2] == count // 2
