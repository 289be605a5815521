"""The dream in plain torch, float32: it is always there, and what every other backend is held against."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dream.data.latents import to_u8
from dream.inference.backend import State
from dream.models.autoencoder import decode
from dream.models.checkpoints import load_world_model
from dream.models.rollout import sample_next_latent


class TorchBackend:
    def __init__(self, decoder_path: Path, model_path: Path, steps: int | None, device: torch.device) -> None:
        """Raises BadInput where a file is missing, damaged, or does not belong with the other."""
        decoder, unet, self.game, checkpoint = load_world_model(decoder_path, model_path)
        self.name = f"torch {device.type}"
        self.autoencoder, self.steps = checkpoint["autoencoder"], steps or checkpoint["steps"]
        self.context_level = 0.0
        self.latent_shape = decoder.config.latent_shape
        self.frame_shape = (decoder.config.height, decoder.config.width)
        self.context_length = unet.config.context
        self.device = device
        self.unet = unet.to(device, memory_format=torch.channels_last)
        for part in (decoder, *(unet.autoencoder or ())):
            part.to(device, memory_format=torch.channels_last)
        self.decoder = decoder

    @torch.inference_mode()
    def begin(self, latents: np.ndarray, actions: np.ndarray) -> State:
        context = torch.from_numpy(latents.astype(np.float32))[None].to(self.device)
        frame = decode(self.decoder, context[:, -1])
        return State(
            context, torch.from_numpy(actions.astype(np.int64))[None].to(self.device), frame, to_u8(frame)[0]
        )

    @torch.inference_mode()
    def step(self, state: State, action: int, noise: np.ndarray) -> State:
        actions = state.actions.clone()
        actions[:, -1] = action
        noise = torch.from_numpy(noise)[None].to(self.device)
        latent, frame = self.next(state.context, actions, noise, state.frame)
        context = torch.cat([state.context[:, 1:], latent[:, None]], dim=1)
        return State(context, torch.cat([actions[:, 1:], actions[:, -1:]], dim=1), frame, to_u8(frame)[0])

    def place(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        return state.context[0].cpu().numpy(), state.actions[0].cpu().numpy()

    def next(self, context: Tensor, actions: Tensor, noise: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """The new latent (1, C, h, w) and its frame (1, 3, H, W), from those of a state and noise (1, C, h, w)."""
        latent = sample_next_latent(self.unet, context, actions, noise, self.steps, self.context_level, last)
        return latent, decode(self.decoder, latent)
