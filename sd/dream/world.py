"""Dream: a world one can act in. It holds where one stands; step(action) gives the next frame. No pygame, no torch."""

from pathlib import Path

import numpy as np

from dream.engine import Engine
from dream.errors import BadInput


class Dream:
    """action_names, action_keys, fps: of the game. num_starts: places to begin from. frame_shape: (H, W)."""

    def __init__(self, engine: Engine, latents: np.ndarray, actions: np.ndarray, seed: int) -> None:
        """latents: float (K, L, C, h, w), actions: integer (K, L): K places to start from, oldest frame first."""
        game = engine.game
        self.action_names, self.action_keys, self.fps = game.action_names, game.action_keys, game.fps
        self.engine, self.frame_shape = engine, engine.frame_shape
        self.start_latents, self.start_actions, self.num_starts = latents, actions, len(latents)
        self.random = np.random.default_rng(seed)
        self.reset(0)

    @classmethod
    def load(cls, engine: Engine, trajectory_path: Path, seed: int) -> "Dream":
        """With the places of an initial_sequence.npz. Raises BadInput where it is damaged or of another dream."""
        return cls(engine, *load_starts(trajectory_path, engine), seed)

    def reset(self, start: int = 0) -> np.ndarray:
        """Goes to start place `start`; returns the frame seen there, uint8 (H, W, 3)."""
        self.state = self.engine.begin(self.start_latents[start], self.start_actions[start])
        return self.state.rgb

    def step(self, action: int) -> np.ndarray:
        """The frame that `action` leads to, uint8 (H, W, 3), complete in CPU memory."""
        if not 0 <= action < len(self.action_names):
            raise ValueError(f"action {action} is not one of {len(self.action_names)}")
        noise = self.random.standard_normal(self.engine.latent_shape, dtype=np.float32)
        self.state = self.engine.step(self.state, action, noise)
        return self.state.rgb


def load_starts(path: Path, engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    """`frames` float32 (K, L, C, h, w) and `actions` int64 (K, L) of an initial_sequence.npz. Raises BadInput."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(
            f"no start sequence at {path}: sd/train_sd.py writes initial_sequence.npz beside its best.pt"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            frames, actions = file["frames"], file["actions"]
            autoencoder = str(file["autoencoder"]) if "autoencoder" in file else engine.autoencoder
    except (
        Exception
    ) as problem:  # numpy raises many types here (zip, pickle, EOF): all mean the same to the user
        raise BadInput(
            f"{path} cannot be read as a start sequence ({problem}): train_sd.py writes one"
        ) from None
    if autoencoder != engine.autoencoder:
        raise BadInput(f"{path} was made with another autoencoder: take the one that stands beside the model")
    wanted = (engine.context_length, *engine.latent_shape)
    if frames.ndim != 5 or frames.shape[1:] != wanted or frames.shape[0] == 0 or frames.dtype.kind != "f":
        raise BadInput(
            f"{path} holds frames {frames.dtype} {frames.shape}, wanted float (K, {str(wanted)[1:]}"
        )
    if actions.shape != frames.shape[:2] or actions.dtype.kind not in "iu":
        raise BadInput(
            f"{path} holds actions {actions.dtype} {actions.shape}, wanted integers {frames.shape[:2]}"
        )
    if actions.min() < 0 or actions.max() >= len(engine.game.action_names) or not np.isfinite(frames).all():
        raise BadInput(
            f"{path} holds actions or latents out of range: train_sd.py writes one that fits its model"
        )
    return frames.astype(np.float32), actions.astype(np.int64)
