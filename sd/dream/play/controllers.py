"""Who drives? A person's keys, a list of actions, the agent of ppo/. No pygame; torch only for the agent."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from dream.common.errors import InputError
from dream.play.keys import action_for_keys, nothing_action

SEEN = 4  # frames that a driver who takes over is shown


class Driver(Protocol):
    """`name`: as it is shown. It is told what there is to see before each choice."""

    name: str

    def take_over(self, frames: Sequence[np.ndarray], age: int) -> None:
        """The last frames, uint8 (H, W, 3), oldest first, one at least; age: frames since the start."""
        ...

    def see(self, frame_u8: np.ndarray) -> None: ...

    def choose(self, held: Collection[str], age: int) -> int:
        """The next action; `held`: the keys that a person holds."""
        ...


class Person:
    name = "you"

    def __init__(self, action_keys: Sequence[Collection[str]]) -> None:
        self.action_keys = action_keys

    def take_over(self, frames: Sequence[np.ndarray], age: int) -> None:
        pass

    def see(self, frame_u8: np.ndarray) -> None:
        pass

    def choose(self, held: Collection[str], age: int) -> int:
        return action_for_keys(held, self.action_keys)


class KeyList:
    """Actions, one a frame, counted from the start; after the last one nothing is pressed."""

    def __init__(self, name: str, actions: Sequence[int], nothing: int) -> None:
        self.name, self.actions, self.nothing = name, actions, nothing

    def take_over(self, frames: Sequence[np.ndarray], age: int) -> None:
        pass

    def see(self, frame_u8: np.ndarray) -> None:
        pass

    def choose(self, held: Collection[str], age: int) -> int:
        return int(self.actions[age]) if age < len(self.actions) else self.nothing


class AgentAtTheWheel:
    """Reads the agent's file when it first takes over. Raises BadInput where it cannot drive this game."""

    name = "the agent"

    def __init__(self, path: Path, action_names: tuple[str, ...], seed: int) -> None:
        self.path, self.action_names, self.seed, self.agent = path, action_names, seed, None

    def take_over(self, frames: Sequence[np.ndarray], age: int) -> None:
        try:
            import torch

            from dream.models.agent import load_agent
        except ImportError:
            raise InputError("the agent needs PyTorch to drive: make setup, or pip install torch") from None
        if self.agent is None:
            self.agent = load_agent(self.path, self.action_names)
            self.generator = torch.Generator().manual_seed(self.seed)
        self.agent.views = None
        for frame in frames:
            self.see(frame)

    def see(self, frame_u8: np.ndarray) -> None:
        import torch

        with one_thread():
            self.agent.observe(torch.from_numpy(frame_u8)[None])

    def choose(self, held: Collection[str], age: int) -> int:
        with one_thread():
            return int(self.agent.act(self.generator))


@contextmanager
def one_thread() -> Iterator[None]:
    """What dreams may have threads of its own, and two pools on the same cores wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def drivers_of(
    dream, keys: tuple[str, Sequence[int]] | None = None, agent_path: Path | None = None, seed: int = 0
) -> list[Driver]:
    """Those who can drive `dream`: a person, then a list of actions with its name, then the agent."""
    drivers: list[Driver] = [Person(dream.action_keys)]
    if keys:
        drivers.append(KeyList(*keys, nothing_action(dream.action_keys)))
    if agent_path:
        drivers.append(AgentAtTheWheel(agent_path, dream.action_names, seed))
    return drivers
