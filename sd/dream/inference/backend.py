"""The interface of every backend: from a state, an action and noise to the next state. numpy alone, no torch.

A frame takes three functions, in this order:
    warp:    the last frame warped by the predicted flow, as a latent;
    denoise: one sampling step, from one timestep to the next;
    decode:  the new latent (small changes suppressed), its frame, and the frame in 8 bits.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dream.common.game_info import GameInfo

Array = Any  # of the backend's own kind: a numpy array, or a tensor on its device


@dataclass(frozen=True)
class State:
    """State of the world model. It is never written into: it can be kept, and continued from any number of times."""

    context: Array  # latents float32 (1, L, C, h, w), oldest first
    actions: Array  # int64 (1, L); the last one is still to be chosen
    frame: Array  # float32 (1, 3, H, W), about 0-1: the last latent decoded
    rgb: np.ndarray  # uint8 (H, W, 3): the same frame as it is shown, in CPU memory


class Backend(Protocol):
    """Runs a world model. `steps`, the sampling steps per frame, may be changed between frames."""

    name: str  # backend and precision, as shown to people
    game: GameInfo
    autoencoder: str  # its fingerprint; start states must be of the same autoencoder
    latent_shape: tuple[int, int, int]  # C, h, w
    frame_shape: tuple[int, int]  # H, W
    context_length: int  # L
    steps: int

    def init_state(self, latents: np.ndarray, actions: np.ndarray) -> State:
        """From a start state: latents float (L, C, h, w), actions integer (L,)."""
        ...

    def step(self, state: State, action: int, noise: np.ndarray) -> State:
        """The state that `action` leads to. noise: float32 (C, h, w) from N(0, 1), where sampling starts."""
        ...

    def export_state(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Inverse of `init_state`: latents float32 (L, C, h, w), actions int64 (L,)."""
        ...


def sampling_timesteps(steps: int) -> Iterator[tuple[np.float32, np.float32]]:
    """Pairs (t, t_next), one per sampling step: evenly spaced from 1, pure noise, to 0."""
    return itertools.pairwise(np.linspace(1, 0, steps + 1, dtype=np.float32))
