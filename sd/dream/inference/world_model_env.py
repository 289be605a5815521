"""Dream: a world one can act in. It holds where one stands; step(action) gives the next frame. No pygame, no torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dream.data.start_states import StartStates, load_start_states
from dream.inference.backend import Backend, State


class WorldModelEnv:
    """action_names, action_keys, fps: of the game. num_starts: places to begin from. frame_shape: (H, W)."""

    def __init__(self, engine: Backend, places: StartStates, seed: int) -> None:
        game = engine.game
        self.action_names, self.action_keys, self.fps = game.action_names, game.action_keys, game.fps
        self.engine, self.frame_shape, self.places, self.seed = engine, engine.frame_shape, places, seed
        self.reset(0)

    @classmethod
    def load(cls, engine: Backend, trajectory_path: Path, seed: int) -> "WorldModelEnv":
        """With the places of an initial_sequence.npz. Raises BadInput where it is damaged or of another dream."""
        return cls(engine, load_start_states(trajectory_path, engine), seed)

    @property
    def num_starts(self) -> int:
        return len(self.places)

    def game_state(self, start: int) -> dict[str, float] | None:
        """The game's true state at a place, where the recording knew it."""
        return self.places.game_state(start)

    @property
    def fingerprint(self) -> str:
        """Tells it from another dream, whose latents mean other pictures."""
        return self.engine.autoencoder

    @property
    def backend(self) -> str:
        return self.engine.name

    @property
    def steps(self) -> int:
        """Of sampling, a frame."""
        return self.engine.steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self.engine.steps = steps

    @property
    def context_level(self) -> float:
        """How noisy the network is told that its context is, 0-1."""
        return self.engine.context_level

    @context_level.setter
    def context_level(self, level: float) -> None:
        self.engine.context_level = level

    def reset(self, start: int = 0) -> np.ndarray:
        """Goes to start place `start`; returns the frame seen there, uint8 (H, W, 3)."""
        places = self.places
        return self.reset_to(places.latents[start], places.actions[start], places.num_generated.get(start, 0))

    def reset_to(self, latents: np.ndarray, actions: np.ndarray, age: int = 0) -> np.ndarray:
        """At latents (L, C, h, w) and actions (L,), as if `age` frames had been dreamed since a place."""
        self.state, self.age = self.engine.begin(latents, actions), age
        return self.state.rgb

    def step(self, action: int) -> np.ndarray:
        """The frame that `action` leads to, uint8 (H, W, 3), complete in CPU memory."""
        if not 0 <= action < len(self.action_names):
            raise ValueError(f"action {action} is not one of {len(self.action_names)}")
        # drawn anew for each frame, so that who goes back and drives the same way sees the same again
        random = np.random.default_rng((self.seed, self.age))
        noise = random.standard_normal(self.engine.latent_shape, dtype=np.float32)
        self.state = self.engine.step(self.state, action, noise)
        self.age += 1
        return self.state.rgb

    def place(self) -> tuple[np.ndarray, np.ndarray]:
        """Where one stands as latents float32 (L, C, h, w) and actions int64 (L,): `reset_to` takes it."""
        return self.engine.place(self.state)

    def save_start_state(self, path: Path) -> int:
        """Makes where one stands a place to start from, here and in the file `path`, which holds them all. Returns its
        number."""
        before = replace(self.places)
        self.places.append(*self.place())
        try:
            self.places.save(path, self.engine.autoencoder)
        except OSError:
            self.places = before
            raise
        return self.num_starts - 1

    def get_state(self) -> tuple[State, int]:
        """Where one stands, to go back to."""
        return self.state, self.age

    def set_state(self, state: tuple[State, int]) -> np.ndarray:
        """Goes there; returns the frame seen there."""
        self.state, self.age = state
        return self.state.rgb
