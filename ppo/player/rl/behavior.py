"""Behavior policies choose the actions of each environment: those of the agent, random ones, or a mixture of both.

Recordings of a good agent alone never leave the road, and a world model trained on them fails there. In the mixed
policies a random policy takes over for a while and holds one random action; then the agent must recover.
"""

from typing import Dict, List, NamedTuple, Sequence

import torch

from player.common.errors import InputError


class BehaviorPolicy(NamedTuple):
    """Settings of a behavior policy. It acts in turns of min_steps to max_steps steps (log-uniform length); in each
    turn either the agent acts or one random action is held. Resets do not end a turn."""

    random_fraction: float  # probability that a random action is held during a turn
    min_steps: int
    max_steps: int
    description: str


BEHAVIORS = {
    "agent": BehaviorPolicy(0.0, 1, 1, "the trained agent"),
    "noisy": BehaviorPolicy(0.2, 1, 1, "the agent with epsilon-greedy noise, epsilon 0.2"),
    "wander": BehaviorPolicy(
        0.5, 3, 150, "the agent, with takeovers by a random policy in half of the turns"
    ),
    "sticky": BehaviorPolicy(1.0, 3, 150, "sticky random actions, each held for 3 to 150 steps"),
    "brief": BehaviorPolicy(1.0, 1, 10, "random actions, each held for 1 to 10 steps"),
    "random": BehaviorPolicy(1.0, 1, 1, "a random action at every step"),
}


class BehaviorPolicies:
    """Chooses the actions of N environments, each with its own behavior policy."""

    def __init__(self, names: Sequence[str], num_actions: int) -> None:
        """`names`: for each of the N environments, a key of BEHAVIORS."""
        self.num_actions = num_actions
        table = torch.tensor([BEHAVIORS[name][:3] for name in names])  # (N, 3)
        self.random_fraction, self.min_steps, self.max_steps = table.unbind(dim=1)
        # int64 (N,): the random action that is held, or -1 where the agent acts
        self.held_action = torch.full((len(names),), -1)
        self.steps_left = torch.zeros(len(names), dtype=torch.int64)  # (N,): steps until the next turn

    def act(self, agent_actions: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Returns the actions to execute, int64 (N,). `agent_actions`: those that the agent chose, int64 (N,)."""
        N = len(self.held_action)
        length = self.min_steps * (self.max_steps / self.min_steps) ** torch.rand(N, generator=generator)
        is_random = torch.rand(N, generator=generator) < self.random_fraction
        random_action = torch.randint(self.num_actions, (N,), generator=generator)
        new_turn = self.steps_left == 0
        self.held_action = torch.where(new_turn, torch.where(is_random, random_action, -1), self.held_action)
        self.steps_left = torch.where(new_turn, length.round().long(), self.steps_left) - 1
        return torch.where(self.held_action >= 0, self.held_action, agent_actions)

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """The current turn of each environment."""
        return {"held_action": self.held_action, "steps_left": self.steps_left}

    def load_state_dict(self, state: Dict[str, torch.Tensor]) -> None:
        """Continues from a `state_dict`."""
        self.held_action, self.steps_left = state["held_action"].clone(), state["steps_left"].clone()


def assign_envs(weights: Dict[str, float], num_envs: int) -> List[str]:
    """Returns the behavior of each environment, in proportion to the weights (largest remainder method).

    `weights`: key of BEHAVIORS -> weight. Raises InputError if a behavior would get no environment.
    """
    exact = {name: weight / sum(weights.values()) * num_envs for name, weight in weights.items()}
    counts = {name: int(number) for name, number in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: num_envs - sum(counts.values())]:
        counts[name] += 1
    for name, count in counts.items():
        if count == 0:
            raise InputError(f"{name!r} gets none of {num_envs} environments: raise --n-envs or its weight")
    return [name for name, count in counts.items() for _ in range(count)]
