"""Places where a dream can begin: an initial_sequence.npz. No pygame, no torch."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from dream.common.errors import InputError
from dream.common.game_info import GameInfo


@dataclass
class StartStates:
    """K places to begin from, oldest frame first."""

    latents: np.ndarray  # float32 (K, L, C, h, w)
    actions: np.ndarray  # int64 (K, L)
    # By name, float32 (K,): the game's true state at the last frame, NaN where nobody knows it
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    # By place: frames dreamed before it, where it is none of the game's
    num_generated: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.latents)

    def append(self, latents: np.ndarray, actions: np.ndarray, age: int = 0) -> None:
        """One more, (L, C, h, w) and (L,), of which there is no true state; `age`: frames dreamed before it."""
        self.num_generated = {**self.num_generated, len(self): age}
        self.latents = np.concatenate([self.latents, latents[None].astype(np.float32)])
        self.actions = np.concatenate([self.actions, actions[None]])
        self.truth = {name: np.append(values, np.float32(np.nan)) for name, values in self.truth.items()}

    def game_state(self, place: int) -> dict[str, float] | None:
        """The game's true state there, by name; None where nobody knows it."""
        found = {name: float(values[place]) for name, values in self.truth.items()}
        return found if found and np.isfinite(list(found.values())).all() else None

    def save(self, path: Path, autoencoder: str) -> None:
        """An initial_sequence.npz; written aside, then moved into place."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.stem}.writing.npz")
        truth = {f"truth/{name}": values for name, values in self.truth.items()}
        frames = self.latents.astype(np.float16)
        np.savez(aside, frames=frames, actions=self.actions, autoencoder=autoencoder, **truth)
        os.replace(aside, path)


class ModelShape(Protocol):
    """What a start state must fit; every backend has these."""

    autoencoder: str  # fingerprint
    latent_shape: tuple[int, int, int]  # C, h, w
    context_length: int  # L
    game: GameInfo


def load_start_states(path: Path, engine: ModelShape) -> StartStates:
    """Those of an initial_sequence.npz: `frames` (K, L, C, h, w), latents, `actions` (K, L) and where the recording
    knew it `truth/*` (K,). Raises BadInput."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"no start sequence at {path}: sd/train_sd.py writes initial_sequence.npz beside its best.pt"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            frames, actions = file["frames"], file["actions"]
            autoencoder = str(file["autoencoder"]) if "autoencoder" in file else engine.autoencoder
            truth = {
                name.removeprefix("truth/"): file[name].astype(np.float32)
                for name in file
                if name.startswith("truth/")
            }
    except (
        Exception
    ) as problem:  # numpy raises many types here (zip, pickle, EOF): all mean the same to the user
        raise InputError(
            f"{path} cannot be read as a start sequence ({problem}): train_sd.py writes one"
        ) from None
    if autoencoder != engine.autoencoder:
        raise InputError(
            f"{path} was made with another autoencoder: take the one that stands beside the model"
        )
    wanted = (engine.context_length, *engine.latent_shape)
    if frames.ndim != 5 or frames.shape[1:] != wanted or frames.shape[0] == 0 or frames.dtype.kind != "f":
        raise InputError(
            f"{path} holds frames {frames.dtype} {frames.shape}, wanted float (K, {str(wanted)[1:]}"
        )
    if actions.shape != frames.shape[:2] or actions.dtype.kind not in "iu":
        raise InputError(
            f"{path} holds actions {actions.dtype} {actions.shape}, wanted integers {frames.shape[:2]}"
        )
    if actions.min() < 0 or actions.max() >= len(engine.game.action_names) or not np.isfinite(frames).all():
        raise InputError(
            f"{path} holds actions or latents out of range: train_sd.py writes one that fits its model"
        )
    if any(values.shape != frames.shape[:1] for values in truth.values()):
        raise InputError(f"{path} holds a true state that is not one of each of its {len(frames)} places")
    return StartStates(frames.astype(np.float32), actions.astype(np.int64), truth)
