"""Validation during training: metrics on held-out episodes, with the baselines of copying the last or first frame."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dream.common.errors import InputError
from dream.common.limits import MAX_ACTION_ROWS
from dream.data.latents import frames_at, gather_windows
from dream.data.splits import window_starts
from dream.data.trajectories import Trajectories
from dream.evaluation.metrics import psnr
from dream.models.autoencoder import Decoder, decode
from dream.models.rollout import rollout, sample_next_latent
from dream.models.unet import UNet

BATCH = 16  # windows
NUM_WINDOWS = 96  # for the next frame
NUM_ROLLOUTS, NUM_CANDIDATES = 8, 32  # the rollouts are those of the candidates in which most moves
HORIZONS = (4, 16, 64)  # frames into a rollout at which it is compared with the recording


@dataclass(frozen=True)
class ValidationSet:
    """Fixed windows of the held-out episodes, evenly spaced; for rollouts those in which much moves, since repeating a
    frame is exact where nothing does. L: context length; F: frames of a rollout."""

    context: Tensor  # (V, L, C, h, w), real latents
    actions: Tensor  # (V, L)
    last: Tensor  # (V, 3, H, W), 0-1, last real frame of the context
    target: Tensor  # (V, 3, H, W), the frame after it
    target_latent: Tensor  # (V, C, h, w)
    long_context: Tensor  # (R, L, C, h, w)
    long_actions: Tensor  # (R, L + F - 1)
    long_frames: Tensor  # (R, F + 1, 3, H, W): the last real frame of the context and the F frames after it
    horizons: tuple[int, ...]

    def num_frames(self) -> int:
        """Frames that `validate` generates."""
        return len(self.context) + len(self.long_context) * self.horizons[-1]

    def most_moving(self) -> int:
        """The number of the rollout with the most motion, 0 to R - 1: the one that pictures show."""
        return int((self.long_frames[:, 1:] - self.long_frames[:, :-1]).abs().mean(dim=(1, 2, 3, 4)).argmax())

    def copy_first_psnr(self, horizon: int) -> float:
        """PSNR in dB of the last context frame against the real frame `horizon` frames later."""
        return psnr(self.long_frames[:, 0], self.long_frames[:, horizon]).mean().item()


def validation_set(
    data: Trajectories, frames: Tensor, latents: Tensor, mask: np.ndarray, context: int, device: torch.device
) -> ValidationSet:
    """Gathers the windows. frames: uint8 (N, T, 3, H, W) and latents (N, T, C, h, w) of the whole recording; mask:
    bool (N, T), its held-out frames; context: L. Raises InputError if no window fits into an episode."""
    actions = torch.from_numpy(data.actions)
    horizons = HORIZONS
    while len(horizons) > 1 and len(window_starts(data.episode_starts, mask, context + horizons[-1])) == 0:
        horizons = horizons[:-1]  # a short recording has no episode of the full rollout length
    if len(window_starts(data.episode_starts, mask, context + horizons[-1])) == 0:
        horizons = (1,)
    if len(window_starts(data.episode_starts, mask, context + 1)) == 0:
        raise InputError(
            f"no {context + 1} frames in a row in the held-out episodes: record more, or try another --seed"
        )

    def evenly_spaced(length: int, count: int) -> Tensor:
        starts = window_starts(data.episode_starts, mask, length)
        return torch.from_numpy(starts[np.linspace(0, len(starts) - 1, min(count, len(starts))).astype(int)])

    def real_frames(starts: Tensor, offset: int) -> Tensor:
        return frames_at(frames, starts, offset, device)

    short = evenly_spaced(context + 1, NUM_WINDOWS)
    long = most_moving(data, evenly_spaced(context + horizons[-1], NUM_CANDIDATES), context + horizons[-1])
    window, window_actions = gather_windows(latents, actions, short, context + 1, device)
    long_window, long_actions = gather_windows(latents, actions, long, context + horizons[-1], device)
    return ValidationSet(
        context=window[:, :-1],
        actions=window_actions[:, :-1],
        last=real_frames(short, context - 1),
        target=real_frames(short, context),
        target_latent=window[:, -1],
        long_context=long_window[:, :context],
        long_actions=long_actions[:, :-1],
        long_frames=torch.stack(
            [real_frames(long, context - 1 + offset) for offset in range(horizons[-1] + 1)], dim=1
        ),
        horizons=horizons,
    )


def most_moving(data: Trajectories, starts: Tensor, length: int) -> Tensor:
    """The NUM_ROLLOUTS windows of `length` frames in which most moves, in their order, int64 (R, 2). starts: (M, 2)."""
    motion = []
    for row, t in starts.tolist():
        some = data.frames[row, t : t + length : max(1, length // 4)].astype(np.int16)
        motion.append(np.abs(some[1:] - some[:-1]).mean())
    return starts[np.sort(np.argsort(motion, kind="stable")[-NUM_ROLLOUTS:])]


@torch.no_grad()
def validate(
    unet: UNet, decoder: Decoder, held_out: ValidationSet, steps: int,
    on_frames: Callable[[int], bool] | None = None,
) -> tuple[dict[str, float], Tensor]:  # fmt: skip
    """Returns metrics by name (PSNR in dB against the recorded frames) and the rollouts' latents (R, F, C, h, w).

    The noise is the same in every call, so that epochs are comparable. steps: sampling steps per frame. on_frames:
    called with the number of new frames, of `held_out.num_frames()` in all.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(held_out.target_latent.shape, generator=generator).to(held_out.target_latent.device)
    latents = []
    inputs = (held_out.context, held_out.actions, noise)
    for batch in zip(*(each.split(BATCH) for each in inputs), strict=True):
        latents.append(sample_next_latent(unet, *batch, steps))
        if on_frames:
            on_frames(len(latents[-1]))
    latent = torch.cat(latents)

    def decoded_psnr(latents: Tensor, target: Tensor) -> float:
        return psnr(decode(decoder, latents), target).mean().item()

    metrics = {
        "loss/validation": (latent - held_out.target_latent).pow(2).mean().item(),
        "psnr/autoencoder": decoded_psnr(held_out.target_latent, held_out.target),
        "psnr/next_frame": decoded_psnr(latent, held_out.target),
        "psnr/copy_last": psnr(held_out.last, held_out.target).mean().item(),
    }
    if unet.config.use_flow:
        warped = unet.warp_last_latent(held_out.context, held_out.actions)
        metrics["psnr/warped"] = decoded_psnr(warped, held_out.target)
    rollouts = rollout(unet, held_out.long_context, held_out.long_actions, steps, generator, on_frames)
    for horizon in held_out.horizons:
        real = held_out.long_frames[:, horizon]
        metrics[f"psnr/rollout_{horizon}"] = decoded_psnr(rollouts[:, horizon - 1], real)
        metrics[f"psnr/copy_first_{horizon}"] = held_out.copy_first_psnr(horizon)
    return metrics, rollouts


@torch.no_grad()
def rollout_each_action(
    unet: UNet, decoder: Decoder, context: Tensor, actions: Tensor, steps: int, num_frames: int, every: int,
    on_frames: Callable[[int], bool] | None = None,
) -> list[Tensor]:  # fmt: skip
    """One rollout for each action, which is held for num_frames frames, from the context (1, L, C, h, w) and the
    actions (1, L) that led to it. Each row, (1 + ceil(num_frames / every), 3, H, W): the last frame of the context,
    then every `every`-th generated frame. At most MAX_ACTION_ROWS rows."""
    rows = []
    for action in range(min(unet.config.num_actions, MAX_ACTION_ROWS)):
        held = torch.full((1, num_frames), action, device=actions.device)
        generator = torch.Generator().manual_seed(0)
        shown = torch.cat([actions[:, :-1], held], dim=1)
        latents = rollout(unet, context, shown, steps, generator, on_frames)[0]
        rows.append(decode(decoder, torch.cat([context[0, -1:], latents[::every]])))
    return rows
