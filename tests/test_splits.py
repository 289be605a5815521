"""Episodes, the split into training and validation, and windows, against slow references."""

import numpy as np
import pytest
from dream.data.splits import episode_ids, split_episodes, window_starts
from trajectory_helpers import trajectories_with


def slow_episode_ids(starts: np.ndarray, K: int) -> np.ndarray:
    ids, last = np.zeros(starts.shape, np.int64), -1
    for environment in range(K):
        for epoch, row in enumerate(range(environment, len(starts), K)):
            for t in range(starts.shape[1]):
                if starts[row, t] or (epoch == 0 and t == 0):
                    last += 1
                ids[row, t] = last
    return ids


@pytest.mark.parametrize("record_envs", [1, 2, 3, 6])
def test_episodes_continue_in_the_next_row_of_their_environment(tmp_path, record_envs):
    starts = np.random.default_rng(record_envs).random((6, 7)) < 0.1
    assert starts.any()
    ids = episode_ids(trajectories_with(tmp_path, starts, record_envs))
    np.testing.assert_array_equal(ids, slow_episode_ids(starts, record_envs))


def test_rows_are_separate_episodes_without_record_envs_or_after_a_gap(tmp_path):
    starts = np.zeros((4, 6), bool)
    separate = [[0] * 6, [1] * 6, [2] * 6, [3] * 6]
    assert episode_ids(trajectories_with(tmp_path, starts, None)).tolist() == separate
    gap = episode_ids(trajectories_with(tmp_path, starts, 1, epochs=[0, 1, 5, 6]))
    assert gap[:, 0].tolist() == [0, 0, 1, 1]


def test_split_is_by_whole_episodes(tmp_path):
    starts = np.random.default_rng(1).random((20, 50)) < 0.05
    data = trajectories_with(tmp_path, starts, 2)
    train, validation = split_episodes(data, 0.2, seed=4)
    np.testing.assert_array_equal(train, ~validation)
    ids = episode_ids(data)
    assert not set(ids[train]) & set(ids[validation])
    longest = np.bincount(ids.ravel()).max() / ids.size
    assert 0.2 <= validation.mean() < 0.2 + longest
    np.testing.assert_array_equal(split_episodes(data, 0.2, seed=4)[1], validation)
    assert (split_episodes(data, 0.2, seed=5)[1] != validation).any()


@pytest.mark.parametrize("seed", range(8))
def test_one_giant_episode_stays_in_training(tmp_path, seed):
    starts = np.zeros((1, 100), bool)
    starts[0, [0, 90, 93, 96]] = True
    train, validation = split_episodes(trajectories_with(tmp_path, starts, 1), 0.1, seed)
    assert train[0, :90].all() and validation.any()


@pytest.mark.parametrize(
    ("N", "num_steps", "record_envs"), [(3, 400, 1), (4, 400, 2), (2, 400, None), (1, 20, 1), (1, 5, 1)]
)
def test_few_episodes_are_split_in_time_with_a_gap(tmp_path, N, num_steps, record_envs):
    starts = np.zeros((N, num_steps), bool)
    train, validation = split_episodes(trajectories_with(tmp_path, starts, record_envs), 0.1)
    assert train.any() and validation.any() and not (train & validation).any()
    K = record_envs or N
    for environment in range(K):
        env_masks = [mask[environment::K].ravel() for mask in (train, validation)]
        last_train, first_validation = np.flatnonzero(env_masks[0])[-1], np.flatnonzero(env_masks[1])[0]
        assert env_masks[0][: last_train + 1].all() and env_masks[1][first_validation:].all()
        gap = first_validation - last_train - 1
        if num_steps >= 400:
            assert gap == min(45, N // K * num_steps // 10)
            assert env_masks[1].mean() == pytest.approx(0.1, abs=0.01)


def slow_window_starts(starts: np.ndarray, mask: np.ndarray, length: int) -> list:
    windows = []
    for row in range(len(starts)):
        for t in range(starts.shape[1] - length + 1):
            inside = range(t, t + length)
            if all(mask[row, s] for s in inside) and not any(starts[row, s] for s in inside[1:]):
                windows.append([row, t])
    return windows


@pytest.mark.parametrize("length", [1, 2, 5, 9, 10])
def test_no_window_crosses_a_reset(length):
    generator = np.random.default_rng(length)
    starts, mask = generator.random((30, 9)) < 0.08, generator.random((30, 9)) < 0.95
    windows = window_starts(starts, mask, length)
    assert windows.dtype == np.int64 and windows.shape[1] == 2
    expected = slow_window_starts(starts, mask, length)
    assert windows.tolist() == expected
    assert bool(expected) == (length < 10)
