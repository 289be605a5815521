"""Several episodes of a world model at once, each from its own start state: what agents learn in (dream_env.py)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dream.data.start_states import StartStates
from dream.inference.backend import Backend, State

END_PROBABILITY = 0.5  # above it an episode ends


class BatchStep(NamedTuple):
    """What B actions have led to."""

    frames: np.ndarray  # uint8 (B, H, W, 3)
    rewards: np.ndarray  # float64 (B,), in the units of the recording
    end_probability: np.ndarray  # float64 (B,), 0-1, that the episode ends after the action
    terminated: np.ndarray  # bool (B,): it is above END_PROBABILITY
    truncated: np.ndarray  # bool (B,): not terminated, but `horizon` frames long


class BatchEnv:
    """B slots, each of which holds the state of one episode."""

    def __init__(self, backend: Backend, start_states: StartStates, num_slots: int, horizon: int) -> None:
        """horizon: frames after which an episode is truncated."""
        self.backend, self.start_states, self.horizon = backend, start_states, horizon
        self.num_actions = len(backend.game.action_names)
        self.states: list[State | None] = [None] * num_slots
        self.noise = [np.random.default_rng(0) for _ in range(num_slots)]
        self.lengths = np.zeros(num_slots, np.int64)  # frames generated since each slot's reset

    def reset(self, slot: int, start: int, seed: int) -> np.ndarray:
        """Begins an episode at start state number `start`; returns its last frame, uint8 (H, W, 3). seed: of the noise
        of the episode's frames. Raises ValueError if there is no such start state."""
        states = self.start_states
        if not 0 <= start < len(states):
            raise ValueError(f"start state {start} is not one of {len(states)}")
        self.states[slot] = self.backend.init_state(states.latents[start], states.actions[start])
        self.noise[slot], self.lengths[slot] = np.random.default_rng(seed), 0
        return self.states[slot].rgb

    def step(self, actions: Sequence[int]) -> BatchStep:
        """Executes one action in each slot. Raises ValueError for actions that do not exist, or before `reset`."""
        actions = [int(action) for action in actions]
        if len(actions) != len(self.states):
            raise ValueError(f"{len(actions)} actions for {len(self.states)} episodes")
        if not all(0 <= action < self.num_actions for action in actions):
            raise ValueError(f"actions {actions}: each must be from 0 to {self.num_actions - 1}")
        if any(state is None for state in self.states):
            raise ValueError("step before reset")
        shape = self.backend.latent_shape
        noise = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in self.noise])
        transitions = self.backend.step_batch(self.states, actions, noise)
        self.states = [transition.state for transition in transitions]
        self.lengths += 1
        end_probability = np.array([transition.end for transition in transitions], np.float64)
        terminated = end_probability > END_PROBABILITY
        return BatchStep(
            np.stack([transition.state.rgb for transition in transitions]),
            np.array([transition.reward for transition in transitions], np.float64),
            end_probability,
            terminated,
            ~terminated & (self.lengths >= self.horizon),
        )
