"""Behavior policies: how often and how long a random policy acts, and how they are distributed over environments."""

import numpy as np
import pytest
import torch
from player.common.errors import InputError
from player.rl.behavior import BehaviorPolicies, assign_envs

NUM_ACTIONS = 6
AGENT_ACTION = 7  # never chosen by the random policy


def executed_actions(name: str, num_envs: int = 32, num_steps: int = 2000) -> np.ndarray:
    """Actions (N, T) of the behavior policy `name` with an agent that always chooses AGENT_ACTION."""
    behaviors, generator = BehaviorPolicies([name] * num_envs, NUM_ACTIONS), torch.Generator().manual_seed(0)
    agent_actions = torch.full((num_envs,), AGENT_ACTION)
    return torch.stack([behaviors.act(agent_actions, generator) for _ in range(num_steps)], dim=1).numpy()


@pytest.mark.parametrize(
    ("name", "random_fraction", "mean_run"),
    # A turn has 3 to 150 steps, log-uniform: 147 / ln 50 = 37.6 on average. Two successive turns are one run if both
    # are the agent's (probability 1/4), or random with the same action.
    [("agent", 0, 2000), ("noisy", 0.2, None), ("random", 1, 1 / (1 - 1 / 6)), ("sticky", 1, 37.6 / (1 - 1 / 6)),
     ("wander", 0.5, 37.6 / (1 - 1 / 4 - 1 / 24))],
)  # fmt: skip
def test_fraction_and_duration_of_random_actions(name, random_fraction, mean_run):
    actions = executed_actions(name)
    assert (actions != AGENT_ACTION).mean() == pytest.approx(random_fraction, abs=0.06)
    if random_fraction:
        counts = np.bincount(actions[actions != AGENT_ACTION], minlength=NUM_ACTIONS)
        np.testing.assert_allclose(counts / counts.sum(), 1 / NUM_ACTIONS, atol=0.06)
    if mean_run:
        length = actions.size / (1 + (np.diff(actions, axis=1) != 0).sum(axis=1)).sum()
        assert length == pytest.approx(mean_run, rel=0.12)


def test_long_and_short_turns_are_both_common():
    actions = executed_actions("sticky")
    lengths = np.diff(np.flatnonzero(np.diff(actions.ravel()) != 0))
    fractions = [np.mean((lengths >= low) & (lengths < high)) for low, high in ((3, 10), (10, 40), (40, 200))]
    assert min(fractions) > 0.2


def test_state_dict_continues_the_turns():
    generator = torch.Generator().manual_seed(3)
    behaviors = BehaviorPolicies(["wander", "noisy", "sticky"], NUM_ACTIONS)
    agent_actions = torch.full((3,), AGENT_ACTION)
    for _ in range(10):
        behaviors.act(agent_actions, generator)
    state, generator_state = behaviors.state_dict(), generator.get_state()
    expected = [behaviors.act(agent_actions, generator) for _ in range(50)]
    other = BehaviorPolicies(["wander", "noisy", "sticky"], NUM_ACTIONS)
    other.load_state_dict(state)
    generator.set_state(generator_state)
    assert all(torch.equal(other.act(agent_actions, generator), actions) for actions in expected)


def test_environments_are_distributed_by_weight():
    assert assign_envs({"agent": 1, "wander": 7}, 16) == ["agent"] * 2 + ["wander"] * 14
    assert assign_envs({"agent": 1, "noisy": 1, "random": 1}, 4).count("agent") == 2
    assert assign_envs({"random": 0.3}, 3) == ["random"] * 3
    with pytest.raises(InputError, match="'random' gets none of 4 environments"):
        assign_envs({"agent": 99, "random": 1}, 4)
