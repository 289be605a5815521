"""What every backend of the dream is: from a state, an action and noise to the next state. numpy alone, no torch.

A frame takes three parts, which stand here in the order of play:
    foresee: where the picture will have moved, the latent that the denoiser begins from;
    denoise: one step of sampling, from one noise level to the next;
    finish:  the new latent settled against the last one, and decoded to what is seen.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dream.common.game_info import GameInfo

Array = Any  # of the backend's own kind: numpy's, or a tensor on its device


@dataclass(frozen=True)
class State:
    """Where a dream stands. Never written into: it can be kept, and gone on from as often as one likes."""

    context: Array  # latents float32 (1, L, C, h, w), oldest first
    actions: Array  # int64 (1, L); the last one is still to be chosen
    frame: Array  # float32 (1, 3, H, W), about 0-1: the last latent decoded
    rgb: np.ndarray  # uint8 (H, W, 3): the same as it is seen, complete in CPU memory


class Backend(Protocol):
    """A backend. `steps`: of sampling, a frame. `context_level`: how noisy the network is told its context is, 0-1.
    Both may be changed between frames."""

    name: str  # as it is shown: backend and precision
    game: GameInfo
    autoencoder: str  # its fingerprint: places to start from must be of the same
    latent_shape: tuple[int, int, int]  # C, h, w
    frame_shape: tuple[int, int]  # H, W
    context_length: int  # L
    steps: int
    context_level: float

    def begin(self, latents: np.ndarray, actions: np.ndarray) -> State:
        """At a place: latents float (L, C, h, w), actions integer (L,)."""
        ...

    def step(self, state: State, action: int, noise: np.ndarray) -> State:
        """The state that `action` leads to; noise float32 (C, h, w) from N(0, 1) is what sampling starts from."""
        ...

    def place(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """A state as `begin` takes it: latents float32 (L, C, h, w), actions int64 (L,)."""
        ...


def sampling_timesteps(steps: int) -> Iterator[tuple[np.float32, np.float32]]:
    """The levels that each step of sampling goes from and to: evenly from 1, pure noise, to 0."""
    return itertools.pairwise(np.linspace(1, 0, steps + 1, dtype=np.float32))
