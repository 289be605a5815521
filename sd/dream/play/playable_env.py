"""The interface of an environment that can be played."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np


class PlayableEnv(Protocol):
    """What a play session needs of an environment; WorldModelEnv is one."""

    action_names: tuple[str, ...]
    action_keys: tuple[tuple[str, ...], ...]
    fps: float
    num_starts: int
    frame_shape: tuple[int, int]  # H, W
    backend_name: str  # as shown to the user
    fingerprint: str  # identifies the autoencoder whose latents this environment uses
    num_generated: int  # frames generated since a recorded start state; seeds the noise of the next frame
    seed: int  # may be changed between frames
    steps: int  # sampling steps per frame; may be changed between frames

    def reset(self, start: int = 0) -> np.ndarray: ...  # uint8 (H, W, 3), RGB
    def reset_to(self, latents: np.ndarray, actions: np.ndarray, num_generated: int = 0) -> np.ndarray: ...
    def step(self, action: int) -> np.ndarray: ...  # uint8 (H, W, 3), RGB
    def get_state(self) -> Any: ...
    def set_state(self, state: Any) -> np.ndarray: ...
    def game_state(self, start: int) -> dict[str, float] | None: ...  # recorded game state of a start state
    def export_state(self) -> tuple[np.ndarray, np.ndarray]: ...  # current latents and actions, for a file
    def save_start_state(self, path: Path) -> int: ...
