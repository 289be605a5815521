"""What is evaluated: a dream, the recording it is held against, and how to get real, decoded and dreamed clips of both.

Clips are uint8 or latents of half precision: tens of thousands of frames of 112x256 fit in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dream.common.errors import InputError
from dream.data.latents import to_float_frames
from dream.data.splits import window_starts
from dream.data.trajectories import Trajectories
from dream.evaluation.metrics import as_shown
from dream.models.autoencoder import Decoder, Encoder, decode
from dream.models.rollout import iterate_rollout
from dream.models.unet import UNet

ENCODE_BATCH = 64
KEY_CHANGES = 1 / 8  # chance a frame that another key is held
DREAM_BATCH = {"cpu": 16, "cuda": 64}  # roll-outs at once


@dataclass(frozen=True, eq=False)
class Subject:
    """A dream and a recording. `train` and `held_out`: bool (N, T), whole episodes that share no frame."""

    data: Trajectories
    train: np.ndarray
    held_out: np.ndarray
    encoder: Encoder
    decoder: Decoder
    unet: UNet
    steps: int  # of sampling, as played
    device: torch.device
    backend: str = "torch"  # in words
    reencode: bool = False  # what goes back into the context is the frame as shown, encoded again

    def windows(self, mask: np.ndarray, length: int, count: int, what: str) -> Tensor:
        """Starts (M, 2), M at most `count`, spread evenly over the mask's windows of `length` frames, or BadInput."""
        starts = window_starts(self.data.episode_starts, mask, length)
        if len(starts) == 0:
            raise InputError(f"no {length} frames in a row for {what}: record more or longer episodes")
        chosen = np.linspace(0, len(starts) - 1, min(count, len(starts))).round().astype(int)
        return torch.from_numpy(starts[np.unique(chosen)])

    def real(self, starts: Tensor, offset: int, length: int) -> Tensor:
        """uint8 (M, length, 3, H, W): frames start + offset ... of each window."""
        rows = [self.data.frames[row, t + offset : t + offset + length] for row, t in starts.tolist()]
        return torch.from_numpy(np.stack(rows))

    def actions(self, starts: Tensor, length: int) -> Tensor:
        """int64 (M, length)."""
        rows = [self.data.actions[row, t : t + length] for row, t in starts.tolist()]
        return torch.from_numpy(np.stack(rows).astype(np.int64))

    @torch.no_grad()
    def encode(self, frames_u8: Tensor) -> Tensor:
        """uint8 (M, T, 3, H, W) -> latents float16 (M, T, C, h, w), on the CPU."""
        flat = frames_u8.flatten(0, 1)
        latents = [
            self.encoder(to_float_frames(part, self.device)).half().cpu() for part in flat.split(ENCODE_BATCH)
        ]
        return torch.cat(latents).unflatten(0, frames_u8.shape[:2])

    def decode(self, latents: Tensor) -> Tensor:
        """(M, T, C, h, w) -> frames uint8 (M, T, 3, H, W) as shown, on the CPU."""
        flat = latents.flatten(0, 1)
        frames = torch.empty(len(flat), 3, self.data.height, self.data.width, dtype=torch.uint8)
        for part, into in zip(flat.split(ENCODE_BATCH), frames.split(ENCODE_BATCH), strict=True):
            into.copy_((as_shown(decode(self.decoder, part.to(self.device))) * 255).round())
        return frames.unflatten(0, latents.shape[:2])

    def dream(self, starts: Tensor, actions: Tensor, what: str, unet: UNet | None = None) -> Tensor:
        """Latents float16 (M, F, C, h, w) of roll-outs from the real contexts at starts (M, 2), on the CPU.

        actions: (M, L + F - 1), of which action L - 1 leads to the first dreamed frame. `unet`: another one in place of
        the dream's own.
        """
        context = self.encode(self.real(starts, 0, self.unet.config.context))
        walks = [
            torch.stack(
                [latent.half().cpu() for latent in self.walk(*part, unet or self.unet, what, seed)], dim=1
            )
            for seed, part in enumerate(
                zip(
                    context.split(DREAM_BATCH[self.device.type]),
                    actions.split(DREAM_BATCH[self.device.type]),
                    strict=True,
                )
            )
        ]
        return torch.cat(walks)

    def seen_again(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> the same by way of the 8-bit frames that a player sees."""
        return self.encode(self.decode(latents[:, None]))[:, 0].to(self.device).float()

    def iterate_rollout(
        self, context: Tensor, actions: Tensor, unet: UNet, what: str, seed: int
    ) -> Iterator[Tensor]:
        """Dreamed latents (B, C, h, w), one by one, from context (B, L, C, h, w) under actions (B, L + F - 1)."""
        latents = iterate_rollout(
            unet,
            context.to(self.device).float(),
            actions.to(self.device),
            self.steps,
            torch.Generator().manual_seed(seed),
            remember=self.seen_again if self.reencode else lambda frame: frame,
        )
        num_frames = actions.shape[1] - context.shape[1] + 1
        return iter(tqdm(latents, total=num_frames, desc=what, unit="frame", leave=False))


def sticky_keys(count: int, length: int, num_actions: int, seed: int) -> Tensor:
    """int64 (count, length): keys drawn at random, each held for 1 / KEY_CHANGES frames on average."""
    random = np.random.default_rng(seed)
    drawn = random.integers(num_actions, size=(count, length))
    changes = random.random((count, length)) < KEY_CHANGES
    changes[:, 0] = True
    latest = np.maximum.accumulate(np.where(changes, np.arange(length), 0), axis=1)
    return torch.from_numpy(np.take_along_axis(drawn, latest, axis=1))
