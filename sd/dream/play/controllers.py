"""Controllers choose the actions: a person by keys, a list of actions, or the PPO agent. PyTorch is imported for the
agent only."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from dream.common.errors import InputError
from dream.play.keys import action_for_keys, noop_action
from dream.play.playable_env import PlayableEnv

STACK = 4  # frames that a controller receives when it takes over: as many as the agent's observation stacks


class Controller(Protocol):
    """`name` is shown to the user. `reset` is called first, then `act` and `observe` in turn."""

    name: str

    def reset(self, frames: Sequence[np.ndarray], num_frames: int) -> None:
        """Called when the controller takes over. `frames`: the last frames, uint8 (H, W, 3), oldest first, at least
        one. `num_frames`: frames since the start state. Raises InputError if it cannot play this game."""
        ...

    def observe(self, frame_u8: np.ndarray) -> None:
        """Receives the frame that the last action led to, uint8 (H, W, 3)."""
        ...

    def act(self, held_keys: Collection[str], num_frames: int) -> int:
        """Returns the next action. `held_keys`: the keys that the person holds."""
        ...


class HumanController:
    """Chooses the action of the keys that are held."""

    name = "you"

    def __init__(self, action_keys: Sequence[Collection[str]]) -> None:
        self.action_keys = action_keys

    def reset(self, frames: Sequence[np.ndarray], num_frames: int) -> None:
        pass

    def observe(self, frame_u8: np.ndarray) -> None:
        pass

    def act(self, held_keys: Collection[str], num_frames: int) -> int:
        return action_for_keys(held_keys, self.action_keys)


class ScriptController:
    """Plays a list of actions, one per frame since the start state, and then the no-op action."""

    def __init__(self, name: str, actions: Sequence[int], noop: int) -> None:
        self.name, self.actions, self.noop = name, actions, noop

    def reset(self, frames: Sequence[np.ndarray], num_frames: int) -> None:
        pass

    def observe(self, frame_u8: np.ndarray) -> None:
        pass

    def act(self, held_keys: Collection[str], num_frames: int) -> int:
        return int(self.actions[num_frames]) if num_frames < len(self.actions) else self.noop


class AgentController:
    """The PPO agent. Its checkpoint is loaded on the first `reset`, which raises InputError if the agent does not
    fit this game."""

    name = "agent"

    def __init__(self, path: Path, action_names: tuple[str, ...], seed: int) -> None:
        self.path, self.action_names, self.seed, self.agent = path, action_names, seed, None

    def reset(self, frames: Sequence[np.ndarray], num_frames: int) -> None:
        try:
            import torch

            from dream.models.agent import load_agent
        except ImportError:
            raise InputError("the agent needs PyTorch: make setup, or pip install torch") from None
        if self.agent is None:
            self.agent = load_agent(self.path, self.action_names)
            self.generator = torch.Generator().manual_seed(self.seed)
        self.agent.views = None
        for frame in frames:
            self.observe(frame)

    def observe(self, frame_u8: np.ndarray) -> None:
        import torch

        with single_torch_thread():
            self.agent.observe(torch.from_numpy(frame_u8)[None])

    def act(self, held_keys: Collection[str], num_frames: int) -> int:
        with single_torch_thread():
            return int(self.agent.act([self.generator]))


@contextmanager
def single_torch_thread() -> Iterator[None]:
    """Limits PyTorch to one thread: the world model's backend may have its own thread pool, and two pools on the same
    cores slow each other down."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def make_controllers(
    env: PlayableEnv,
    script: tuple[str, Sequence[int]] | None = None,
    agent_path: Path | None = None,
    seed: int = 0,
) -> list[Controller]:
    """Returns the controllers for `env`: a person, then the script (name, actions) and the agent if given."""
    controllers: list[Controller] = [HumanController(env.action_keys)]
    if script:
        controllers.append(ScriptController(*script, noop_action(env.action_keys)))
    if agent_path:
        controllers.append(AgentController(agent_path, env.action_names, seed))
    return controllers
