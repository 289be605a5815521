"""Controllers choose the actions: a person by keys, a list of actions, or the agent."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np

from dream.play.keys import action_for_keys, noop_action
from dream.play.playable_env import PlayableEnv
from dream.play.views import push_view

Policy = Callable[[np.ndarray], np.ndarray]  # views uint8 (STACK, OBS_SIZE, OBS_SIZE) -> logits float32 (A,)


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
    """An agent: samples actions from its policy. The policy is loaded on the first `reset`, which raises InputError if
    that fails.

    An action depends on the seed, the frames and their number alone: after a rewind the agent repeats it."""

    name = "agent"

    def __init__(self, load_policy: Callable[[], Policy], seed: int) -> None:
        self.load_policy, self.seed = load_policy, seed
        self.policy: Policy | None = None

    def reset(self, frames: Sequence[np.ndarray], num_frames: int) -> None:
        self.policy = self.policy or self.load_policy()
        self.views = None
        for frame_u8 in frames:
            self.observe(frame_u8)

    def observe(self, frame_u8: np.ndarray) -> None:
        self.views = push_view(self.views, frame_u8)

    def act(self, held_keys: Collection[str], num_frames: int) -> int:
        logits = self.policy(self.views)
        rng = np.random.default_rng((self.seed, num_frames, 1))
        return int((logits + rng.gumbel(size=len(logits))).argmax())  # a sample of softmax(logits)


def make_controllers(
    env: PlayableEnv,
    script: tuple[str, Sequence[int]] | None = None,
    load_policy: Callable[[], Policy] | None = None,
    seed: int = 0,
) -> list[Controller]:
    """Returns the controllers for `env`: a person, then the script (name, actions) and the agent if given."""
    controllers: list[Controller] = [HumanController(env.action_keys)]
    if script:
        controllers.append(ScriptController(*script, noop_action(env.action_keys)))
    if load_policy:
        controllers.append(AgentController(load_policy, seed))
    return controllers
