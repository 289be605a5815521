"""Several episodes of a world model at once, each from its own start state: what agents learn in (dream_env.py)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dream.data.start_states import StartStates
from dream.inference.backend import Backend, State, step_all


class BatchStep(NamedTuple):
    """What B actions have led to."""

    frames: np.ndarray  # uint8 (B, H, W, 3)
    rewards: np.ndarray  # float64 (B,), in the units of the recording
    ends: np.ndarray  # float64 (B,), 0-1, probability that the episode ends


class BatchEnv:
    """B slots, each of which holds the state of one episode.

    Attributes: `num_slots`, B; `lengths`: int64 (B,), frames generated since each slot's reset."""

    def __init__(self, backend: Backend, start_states: StartStates, num_slots: int) -> None:
        self.backend, self.start_states, self.num_slots = backend, start_states, num_slots
        self.states: list[State | None] = [None] * num_slots
        self.noise = [np.random.default_rng(0) for _ in range(num_slots)]
        self.lengths = np.zeros(num_slots, np.int64)

    def reset(self, slot: int, start: int, seed: int) -> np.ndarray:
        """Begins an episode at start state number `start`; returns its last frame, uint8 (H, W, 3). seed: of the noise
        of the episode's frames."""
        states = self.start_states
        self.states[slot] = self.backend.init_state(states.latents[start], states.actions[start])
        self.noise[slot], self.lengths[slot] = np.random.default_rng(seed), 0
        return self.states[slot].rgb

    def step(self, actions: Sequence[int]) -> BatchStep:
        """Executes one action in each slot."""
        shape = self.backend.latent_shape
        noise = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in self.noise])
        transitions = step_all(self.backend, self.states, [int(action) for action in actions], noise)
        self.states = [transition.state for transition in transitions]
        self.lengths += 1
        return BatchStep(
            np.stack([transition.state.rgb for transition in transitions]),
            np.array([transition.reward for transition in transitions], np.float64),
            np.array([transition.end for transition in transitions], np.float64),
        )
