"""The world model as an environment: it holds a state, and step(action) generates the next frame. No pygame, no
torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dream.data.start_states import StartStates, load_start_states
from dream.inference.backend import Backend, State


class WorldModelEnv:
    """action_names, action_keys, fps: of the game. num_starts: number of start states. frame_shape: (H, W)."""

    def __init__(self, backend: Backend, start_states: StartStates, seed: int) -> None:
        """seed: of the noise that sampling starts from."""
        game = backend.game
        self.action_names, self.action_keys, self.fps = game.action_names, game.action_keys, game.fps
        self.backend, self.frame_shape = backend, backend.frame_shape
        self.start_states, self.seed = start_states, seed
        self.reset(0)

    @classmethod
    def load(cls, backend: Backend, path: Path, seed: int) -> "WorldModelEnv":
        """With the start states of an initial_sequence.npz. Raises InputError where it is damaged or of another
        model."""
        return cls(backend, load_start_states(path, backend), seed)

    @property
    def num_starts(self) -> int:
        return len(self.start_states)

    @property
    def fingerprint(self) -> str:
        """Of the autoencoder: states of a model with another one mean other pictures."""
        return self.backend.autoencoder

    @property
    def backend_name(self) -> str:
        return self.backend.name

    @property
    def steps(self) -> int:
        """Sampling steps per frame."""
        return self.backend.steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self.backend.steps = steps

    def game_state(self, start: int) -> dict[str, float] | None:
        """The game's true state at a start state, by name; None where it was not recorded."""
        return self.start_states.game_state(start)

    def reset(self, start: int = 0) -> np.ndarray:
        """Goes to start state `start`; returns its last frame, uint8 (H, W, 3)."""
        states = self.start_states
        return self.reset_to(states.latents[start], states.actions[start], states.num_generated.get(start, 0))

    def reset_to(self, latents: np.ndarray, actions: np.ndarray, num_generated: int = 0) -> np.ndarray:
        """Goes to latents (L, C, h, w) and actions (L,), as if `num_generated` frames had been generated since a
        start state of the game's; the noise of later frames depends on that number. Returns the frame there."""
        self.state, self.num_generated = self.backend.init_state(latents, actions), num_generated
        return self.state.rgb

    def step(self, action: int) -> np.ndarray:
        """The frame that `action` leads to, uint8 (H, W, 3), in CPU memory. Raises ValueError for an unknown
        action."""
        if not 0 <= action < len(self.action_names):
            raise ValueError(f"action {action} is not one of {len(self.action_names)}")
        # Seeded per frame, so that rewinding and repeating the same actions gives the same frames.
        rng = np.random.default_rng((self.seed, self.num_generated))
        noise = rng.standard_normal(self.backend.latent_shape, dtype=np.float32)
        self.state = self.backend.step(self.state, action, noise)
        self.num_generated += 1
        return self.state.rgb

    def export_state(self) -> tuple[np.ndarray, np.ndarray]:
        """The state as latents float32 (L, C, h, w) and actions int64 (L,), which `reset_to` takes."""
        return self.backend.export_state(self.state)

    def save_start_state(self, path: Path) -> int:
        """Adds the state to the start states, here and in the file `path`, which then holds all of them. Returns its
        number. Raises OSError where the file cannot be written; nothing is added then."""
        before = replace(self.start_states)
        self.start_states.append(*self.export_state())
        try:
            self.start_states.save(path, self.backend.autoencoder)
        except OSError:
            self.start_states = before
            raise
        return self.num_starts - 1

    def get_state(self) -> tuple[State, int]:
        """For `set_state`."""
        return self.state, self.num_generated

    def set_state(self, state: tuple[State, int]) -> np.ndarray:
        """Goes back to what `get_state` returned; returns the frame there."""
        self.state, self.num_generated = state
        return self.state.rgb
