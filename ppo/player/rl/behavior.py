"""Whose hands are on the keys in each of many games: the agent's, a stranger's, or both in turns.

A good agent shows a dream only good driving, and a dream of that alone falls apart off the road. So a stranger, who
knows no game, takes the wheel and holds some key: for a tap, for a long bend, or for ten seconds no key at all. Then
the agent must find its way back.
"""

from typing import Dict, List, NamedTuple, Sequence

import torch

from player.common.errors import InputError


class BehaviorPolicy(NamedTuple):
    """Play goes by turns. The length of one is drawn with every order of magnitude alike; a reset does not end it."""

    stranger: float  # share of the turns in which a stranger holds one key drawn at random; the agent has the others
    shortest: int  # decisions
    longest: int
    words: str


BEHAVIORS = {
    "agent": BehaviorPolicy(0.0, 1, 1, "the trained agent"),
    "noisy": BehaviorPolicy(0.2, 1, 1, "the agent, but one decision in five is drawn at random"),
    "wander": BehaviorPolicy(0.5, 3, 150, "the agent and a stranger who holds random keys, in turns"),
    "sticky": BehaviorPolicy(1.0, 3, 150, "random keys, each held for a while"),
    "random": BehaviorPolicy(1.0, 1, 1, "a random key at every decision"),
}


class BehaviorPolicies:
    def __init__(self, kinds: Sequence[str], num_actions: int) -> None:
        """kinds: of each of N games, a name in HANDS."""
        self.num_actions = num_actions
        table = torch.tensor([BEHAVIORS[kind][:3] for kind in kinds])  # (N, 3)
        self.stranger, self.shortest, self.longest = table.unbind(dim=1)
        self.held = torch.full((len(kinds),), -1)  # (N,): the key of the stranger, -1 where the agent drives
        self.left = torch.zeros(len(kinds), dtype=torch.int64)  # (N,): decisions until the next turn

    def press(self, actions: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """What is pressed, int64 (N,), where the agent chose `actions`, int64 (N,)."""
        N = len(self.held)
        length = self.shortest * (self.longest / self.shortest) ** torch.rand(N, generator=generator)
        stranger = torch.rand(N, generator=generator) < self.stranger
        key = torch.randint(self.num_actions, (N,), generator=generator)
        turn = self.left == 0
        self.held = torch.where(turn, torch.where(stranger, key, -1), self.held)
        self.left = torch.where(turn, length.round().long(), self.left) - 1
        return torch.where(self.held >= 0, self.held, actions)

    def state(self) -> Dict[str, torch.Tensor]:
        return {"held": self.held, "left": self.left}

    def restore(self, state: Dict[str, torch.Tensor]) -> None:
        self.held, self.left = state["held"].clone(), state["left"].clone()


def assign_envs(shares: Dict[str, float], num_games: int) -> List[str]:
    """The kind of each of the games, as near to the shares as whole games come (largest remainders first).

    Raises BadInput where a kind would get no game.
    """
    exact = {kind: share / sum(shares.values()) * num_games for kind, share in shares.items()}
    counts = {kind: int(games) for kind, games in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: counts[kind] - exact[kind])
    for kind in by_remainder[: num_games - sum(counts.values())]:
        counts[kind] += 1
    for kind, count in counts.items():
        if count == 0:
            raise InputError(f"{kind!r} gets none of {num_games} games: more games, or a larger share for it")
    return [kind for kind, count in counts.items() for _ in range(count)]
