"""The world model as an environment: it holds a state, and step(action) generates the next frame. Needs neither pygame
nor PyTorch."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dream.data.start_states import StartStates, load_start_states
from dream.inference.backend import Backend, State


class WorldModelEnv:
    """A PlayableEnv (play/playable_env.py) that generates its frames.

    Attributes: `action_names`, `action_keys`, `fps` and `environment` of the game (see GameInfo); `frame_shape`:
    (H, W); `num_generated`: frames generated since a recorded start state; `seed`: of the noise, may be changed between
    frames.
    """

    def __init__(self, backend: Backend, start_states: StartStates, seed: int) -> None:
        """seed: of the noise that sampling starts from."""
        game = backend.game
        self.action_names, self.action_keys, self.fps = game.action_names, game.action_keys, game.fps
        self.environment = game.environment
        self.backend, self.frame_shape = backend, backend.frame_shape
        self.start_states, self.seed = start_states, seed
        self.reset(0)

    @classmethod
    def load(cls, backend: Backend, path: Path, seed: int) -> "WorldModelEnv":
        """An environment with the start states of the initial_sequence.npz at `path`.

        Raises InputError if the file is missing, damaged, or of another model."""
        return cls(backend, load_start_states(path, backend), seed)

    @property
    def num_starts(self) -> int:
        return len(self.start_states)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the autoencoder; latents can only be decoded by the autoencoder that encoded them."""
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
        """The game's true state at a start state, by name; None if it was not recorded."""
        return self.start_states.game_state(start)

    def reset(self, start: int = 0) -> np.ndarray:
        """Sets the state to start state number `start`; returns its last frame, uint8 (H, W, 3)."""
        states = self.start_states
        return self.reset_to(states.latents[start], states.actions[start], states.num_generated.get(start, 0))

    def reset_to(self, latents: np.ndarray, actions: np.ndarray, num_generated: int = 0) -> np.ndarray:
        """Sets the state to latents (L, C, h, w) and actions (L,); returns the last frame, uint8 (H, W, 3).

        num_generated: frames generated since a recorded start state; it seeds the noise of the frames that follow."""
        self.state, self.num_generated = self.backend.init_state(latents, actions), num_generated
        return self.state.rgb

    def step(self, action: int) -> np.ndarray:
        """Generates and returns the frame after `action`, uint8 (H, W, 3), in CPU memory.

        Raises ValueError if the action does not exist."""
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
        """Appends the state to the start states, writes all of them to `path`, and returns the new one's number.

        Raises OSError if the file cannot be written; the start states are then unchanged."""
        before = replace(self.start_states)
        self.start_states.append(*self.export_state())
        try:
            self.start_states.save(path, self.backend.autoencoder)
        except OSError:
            self.start_states = before
            raise
        return self.num_starts - 1

    def get_state(self) -> tuple[State, int]:
        """The state, for `set_state`."""
        return self.state, self.num_generated

    def set_state(self, state: tuple[State, int]) -> np.ndarray:
        """Restores a state of `get_state`; returns its frame, uint8 (H, W, 3)."""
        self.state, self.num_generated = state
        return self.state.rgb
