"""Environments that Gymnasium makes as one batch, such as a neural network that generates the frames of all of them at
once: they run in this process."""

from typing import Any, List, Optional, Sequence

from gymnasium.vector import VectorEnv, VectorWrapper


class BatchedEnv(VectorWrapper):
    """Gives such a vector environment the methods of SharedVectorEnv that the collector needs. Its states cannot be
    saved: a resumed run begins new episodes."""

    def reset(self, *, seed: Any = None, options: Optional[dict] = None):
        """seed: as of VectorEnv, or one per environment; consecutive ones are given as the first of them, which is what
        Gymnasium promises to understand."""
        if isinstance(seed, list) and seed == [*range(seed[0], seed[0] + len(seed))]:
            seed = seed[0]
        return self.env.reset(seed=seed, options=options)

    def get_attr(self, name: str) -> List[Any]:
        """The attribute `name` of each environment; for `saved_state` b"", which means that it cannot be saved."""
        if name == "saved_state":
            return [b""] * self.num_envs
        return [getattr(self.env.unwrapped, name)] * self.num_envs

    def set_attr(self, name: str, values: Sequence[Any]) -> None:
        """Does nothing: see `get_attr`."""


def fits_collector(envs: VectorEnv) -> bool:
    """Whether an environment begins a new episode in the step in which one ends, as the collector expects. Gymnasium
    before 1.1 has no such mode."""
    mode = envs.metadata.get("autoreset_mode")
    return getattr(mode, "name", None) == "SAME_STEP"
