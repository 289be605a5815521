"""RolloutCollector: rollouts and recorded rows, with an environment whose frames show the last action."""

import itertools

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from player.envs.vector_env import SharedVectorEnv
from player.rl.agent import STACK
from player.rl.rollout_buffer import Rollout
from ppo_helpers import ENV_FNS, EPISODES, ShadeAgent, ShadeEnv, collect
from training_helpers import assert_same


def test_next_values_are_those_before_the_reset():
    """Terminated: 0. Truncated: the value of the last frame, not of the first one after the reset. Else: of the next
    observation."""
    rollout, _, _ = collect(40)
    for n, episodes in enumerate(EPISODES):
        number, steps, history = 0, 0, [0] * STACK
        for t in range(40):
            assert rollout.views[t, n].float().mean(dim=(1, 2)).tolist() == history
            length, terminates = episodes[number % len(episodes)]
            steps += 1
            next_history = [*history[1:], 36 * (int(rollout.actions[t, n]) + 1) + steps]
            done = steps == length
            value = sum(w * shade for w, shade in zip((1, 3, 7, 11), next_history, strict=True))
            assert rollout.next_values[t, n] == (0 if done and terminates else value)
            assert bool(rollout.done[t, n]) == done
            assert rollout.rewards[t, n] == steps
            history = next_history
            if done:
                number, steps, history = number + 1, 0, [0] * STACK


class TerminatedAndTruncatedEnv(ShadeEnv):
    """Reports both flags at the end of an episode."""

    def step(self, action):
        frame, reward, terminated, truncated, info = super().step(action)
        return frame, reward, terminated or truncated, terminated or truncated, info


def test_terminated_at_the_time_limit_bootstraps_with_zero():
    """A terminal state has the value 0. The collector used the value of the last frame whenever `truncated` was set."""
    env_fns = [lambda episodes=episodes: TerminatedAndTruncatedEnv(episodes) for episodes in EPISODES]
    rollout, _, _ = collect(20, envs=SyncVectorEnv(env_fns, autoreset_mode=AutoresetMode.SAME_STEP))
    assert rollout.done.any() and (rollout.next_values[rollout.done] == 0).all()
    assert (rollout.next_values[~rollout.done] > 0).all()


def test_recorded_action_leads_from_its_frame_to_the_next():
    rollout, stats, collector = collect(40, recorded=(0, 1))
    rows = stats.rows
    assert rows["frames"].shape == (2, 40, 3, 12, 16)
    assert rows["episode_starts"].sum() > 10 and rows["episode_starts"][:, 0].all()
    for n in range(2):
        for t in range(40):
            shades = np.unique(rows["frames"][n, t])
            assert len(shades) == 1 and shades[0] == rows["truth/shade"][n, t]
            if rows["episode_starts"][n, t]:
                assert shades[0] == 0
            else:
                action, steps = divmod(int(shades[0]), 36)
                assert action - 1 == rows["actions"][n, t - 1]
                assert rows["rewards"][n, t - 1] == steps  # of the same action
    np.testing.assert_array_equal(rows["actions"], rollout.actions[:, :2].T)
    assert stats.episode_lengths.count(7) == 5 and sorted(set(stats.episode_lengths)) == [1, 2, 3, 5, 7]
    assert collector.frames[2, 0, 0, 0] % 36 == 40 % 7


def test_views_from_worker_processes_equal_those_of_the_collector():
    """Gymnasium's vector environments return only frames; SharedVectorEnv must give the same rollout and rows."""
    envs = SharedVectorEnv(ENV_FNS, 1, num_processes=2)
    try:
        rollout, stats, collector = collect(40, envs=envs)
        state = collector.state_dict()
    finally:
        envs.close()
    expected, expected_stats, expected_collector = collect(40)
    for name in Rollout.__dataclass_fields__:
        assert torch.equal(getattr(rollout, name), getattr(expected, name)), name
    for key, rows in expected_stats.rows.items():
        np.testing.assert_array_equal(stats.rows[key], rows, err_msg=key)
    assert_same({**state, "games": []}, {**expected_collector.state_dict(), "games": []})


def test_state_dict_does_not_change_with_the_next_steps():
    """The frames are in memory that the next step overwrites."""
    envs = SharedVectorEnv(ENV_FNS, 1, num_processes=1)
    try:
        rollout, _, collector = collect(10, envs=envs)
        state, before = collector.state_dict(), collector.frames.copy()
        collector.collect(ShadeAgent(), rollout, torch.Generator().manual_seed(2), [])
        assert (collector.frames != before).any()
        np.testing.assert_array_equal(state["frames"], before)
    finally:
        envs.close()


def test_exploration_environment_is_recorded_but_not_trained_on():
    """The rollout contains only the training environments; recorded are the actions that were executed."""
    rollout, stats, _ = collect(400, recorded=(0, 2), explore_envs=1)
    rows = stats.rows
    assert rollout.rewards.shape == (400, 2) and 7 not in stats.episode_lengths
    np.testing.assert_array_equal(rows["actions"][0], rollout.actions[:, 0])
    steps = np.flatnonzero(~rows["episode_starts"][1])
    shown = rows["truth/shade"][1, steps].astype(int) // 36 - 1  # the action that led to the frame
    np.testing.assert_array_equal(shown, rows["actions"][1, steps - 1])
    longest = [max(len(list(run)) for _, run in itertools.groupby(row)) for row in rows["actions"].tolist()]
    assert longest[0] < 8 < longest[1]  # environment 0 has random actions, in 2 some are held


def test_no_rows_if_nothing_is_recorded():
    assert collect(4, recorded=())[1].rows == {}


def test_games_that_cannot_be_saved_begin_with_other_seeds_in_each_part_of_a_run():
    """Otherwise every part would play the same episodes again."""
    seeds = []

    class Envs(SyncVectorEnv):
        def reset(self, *, seed=None, options=None):
            seeds.append(seed)
            return super().reset(seed=seed, options=options)

    def resume(state: dict) -> dict:
        envs = Envs(ENV_FNS, autoreset_mode=AutoresetMode.SAME_STEP)
        collector = collect(4, envs=envs)[2]
        collector.load_state_dict(state)
        return collector.state_dict()

    envs = Envs(ENV_FNS, autoreset_mode=AutoresetMode.SAME_STEP)
    resume(resume(collect(4, envs=envs)[2].state_dict()))
    assert len({tuple(each) for each in seeds}) == 3 and len(seeds) == 5
