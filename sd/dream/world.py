"""Dream: a world one can act in. It holds the context; step(action) gives the next frame. No pygame, no game."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dream.autoencoder import Decoder, decode
from dream.errors import BadInput
from dream.latents import to_u8
from dream.models import GameInfo, fingerprint, load_dream_parts
from dream.rollout import next_latent
from dream.unet import UNet


class Dream:
    """action_names, action_keys, fps: of the game. num_starts: places to begin from. frame_shape: (H, W)."""

    def __init__(
        self,
        unet: UNet,
        decoder: Decoder,
        game: GameInfo,
        start_latents: Tensor,
        start_actions: Tensor,
        steps: int,
        seed: int,
        device: torch.device,
    ) -> None:
        """start_latents: float (K, L, C, h, w), start_actions: int64 (K, L): K contexts, oldest frame first."""
        self.action_names, self.action_keys, self.fps = game.action_names, game.action_keys, game.fps
        self.frame_shape = (decoder.config.height, decoder.config.width)
        self.num_starts = len(start_latents)
        self.steps, self.device = steps, device
        self.unet = unet.to(device, memory_format=torch.channels_last)
        for part in (decoder, *(unet.eyes or ())):
            part.to(device, memory_format=torch.channels_last)
        self.decoder = decoder
        self.start_latents, self.start_actions = start_latents, start_actions
        self.generator = torch.Generator().manual_seed(seed)
        self.reset(0)

    @classmethod
    def load(
        cls,
        decoder_path: Path,
        model_path: Path,
        trajectory_path: Path,
        steps: int | None,
        seed: int,
        device: torch.device,
    ) -> "Dream":
        """Raises BadInput where a file is missing, damaged, or does not belong with the others."""
        decoder, unet, game, checkpoint = load_dream_parts(decoder_path, model_path)
        latents, actions = load_starts(trajectory_path, unet, decoder)
        return cls(unet, decoder, game, latents, actions, steps or checkpoint["steps"], seed, device)

    def reset(self, start: int = 0) -> np.ndarray:
        """Goes to start place `start`; returns the frame seen there, uint8 (H, W, 3)."""
        self.context = self.start_latents[start : start + 1].to(self.device)  # (1, L, C, h, w)
        actions = self.start_actions[start : start + 1].clone()  # (1, L); step writes into it
        self.actions = actions.to(self.device)
        self.frame = decode(self.decoder, self.context[:, -1])  # (1, 3, H, W), what is seen
        return to_u8(self.frame)[0]

    @torch.inference_mode()
    def step(self, action: int) -> np.ndarray:
        """The frame that `action` leads to, uint8 (H, W, 3), complete in CPU memory."""
        if not 0 <= action < len(self.action_names):
            raise ValueError(f"action {action} is not one of {len(self.action_names)}")
        self.actions[:, -1] = action  # what is chosen at the frame that is seen now
        noise = torch.randn(self.context[:, -1].shape, generator=self.generator).to(self.device)
        latent = next_latent(self.unet, self.context, self.actions, noise, self.steps, last=self.frame)
        self.context = torch.cat([self.context[:, 1:], latent[:, None]], dim=1)
        self.actions = torch.cat([self.actions[:, 1:], self.actions[:, -1:]], dim=1)
        self.frame = decode(self.decoder, latent)
        return to_u8(self.frame)[0]


def load_starts(path: Path, unet: UNet, decoder: Decoder) -> tuple[Tensor, Tensor]:
    """`frames` float (K, L, C, h, w) and `actions` integer (K, L) of an initial_sequence.npz. Raises BadInput."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(
            f"no start sequence at {path}: sd/train_sd.py writes initial_sequence.npz beside its best.pt"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            frames, actions = file["frames"], file["actions"]
            autoencoder = str(file["autoencoder"]) if "autoencoder" in file else fingerprint(decoder)
    except (
        Exception
    ) as problem:  # numpy raises many types here (zip, pickle, EOF): all mean the same to the user
        raise BadInput(
            f"{path} cannot be read as a start sequence ({problem}): train_sd.py writes one"
        ) from None
    if autoencoder != fingerprint(decoder):
        raise BadInput(f"{path} was made with another autoencoder: take the one that stands beside the model")
    L = unet.config.context
    wanted = (L, *decoder.config.latent_shape)
    if frames.ndim != 5 or frames.shape[1:] != wanted or frames.shape[0] == 0 or frames.dtype.kind != "f":
        raise BadInput(
            f"{path} holds frames {frames.dtype} {frames.shape}, wanted float (K, {str(wanted)[1:]}"
        )
    if actions.shape != frames.shape[:2] or actions.dtype.kind not in "iu":
        raise BadInput(
            f"{path} holds actions {actions.dtype} {actions.shape}, wanted integers {frames.shape[:2]}"
        )
    if actions.min() < 0 or actions.max() >= unet.config.num_actions or not np.isfinite(frames).all():
        raise BadInput(
            f"{path} holds actions or latents out of range: train_sd.py writes one that fits its model"
        )
    return torch.from_numpy(frames.astype(np.float32)), torch.from_numpy(actions.astype(np.int64))
