"""The behavior policies that choose the actions of each environment: the agent, random actions, or a mixture of both.

Recordings of a good agent alone never leave the road, and a world model trained on them fails there. In the mixed
policies a random policy takes over for a while and holds one random action; then the agent must recover.
"""

from typing import Dict, List, NamedTuple, Sequence

import torch

from player.common.errors import InputError


class BehaviorPolicy(NamedTuple):
    """Play is divided into turns of min_steps to max_steps steps (log-uniform length). Resets do not end a turn."""

    random_fraction: float  # probability that a turn holds one random action; the agent acts in the others
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
    "random": BehaviorPolicy(1.0, 1, 1, "a random action at every step"),
}


class BehaviorPolicies:
    """Chooses the actions of N environments, each with its own behavior policy."""

    def __init__(self, kinds: Sequence[str], num_actions: int) -> None:
        """kinds: for each of the N environments, a key of BEHAVIORS."""
        self.num_actions = num_actions
        table = torch.tensor([BEHAVIORS[kind][:3] for kind in kinds])  # (N, 3)
        self.random_fraction, self.min_steps, self.max_steps = table.unbind(dim=1)
        self.held_action = torch.full(
            (len(kinds),), -1
        )  # (N,): the random action held, -1 where the agent acts
        self.steps_left = torch.zeros(len(kinds), dtype=torch.int64)  # (N,): steps until the next turn

    def act(self, agent_actions: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Returns the executed actions, int64 (N,), given the agent's choices `agent_actions`, int64 (N,)."""
        N = len(self.held_action)
        length = self.min_steps * (self.max_steps / self.min_steps) ** torch.rand(N, generator=generator)
        is_random = torch.rand(N, generator=generator) < self.random_fraction
        random_action = torch.randint(self.num_actions, (N,), generator=generator)
        new_turn = self.steps_left == 0
        self.held_action = torch.where(new_turn, torch.where(is_random, random_action, -1), self.held_action)
        self.steps_left = torch.where(new_turn, length.round().long(), self.steps_left) - 1
        return torch.where(self.held_action >= 0, self.held_action, agent_actions)

    def state_dict(self) -> Dict[str, torch.Tensor]:
        return {"held_action": self.held_action, "steps_left": self.steps_left}

    def load_state_dict(self, state: Dict[str, torch.Tensor]) -> None:
        self.held_action, self.steps_left = state["held_action"].clone(), state["steps_left"].clone()


def assign_envs(weights: Dict[str, float], num_envs: int) -> List[str]:
    """Returns the behavior of each environment, in proportion to the weights (largest remainder method).

    Raises InputError if a behavior would get no environment.
    """
    exact = {kind: weight / sum(weights.values()) * num_envs for kind, weight in weights.items()}
    counts = {kind: int(number) for kind, number in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: counts[kind] - exact[kind])
    for kind in by_remainder[: num_envs - sum(counts.values())]:
        counts[kind] += 1
    for kind, count in counts.items():
        if count == 0:
            raise InputError(f"{kind!r} gets none of {num_envs} environments: raise --n-envs or its weight")
    return [kind for kind, count in counts.items() for _ in range(count)]
