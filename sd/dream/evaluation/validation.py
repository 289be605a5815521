"""How good a dream is on episodes it has not seen: the few figures that training watches, each beside its baseline."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dream.common.errors import InputError
from dream.data.latents import frames_at, gather_windows
from dream.data.splits import window_starts
from dream.data.trajectories import Trajectories
from dream.evaluation.metrics import psnr
from dream.models.autoencoder import Decoder, decode
from dream.models.rollout import rollout, sample_next_latent
from dream.models.unet import UNet

NEXT_FRAME_WINDOWS = 96
ROLL_OUTS = 8
MOST_ACTION_ROWS = 12  # of the picture of held actions
HORIZONS = (4, 16, 64)  # frames into a roll-out at which it is held against the game


@dataclass(frozen=True)
class ValidationSet:
    """Fixed windows of held-out episodes, spread evenly over them. L: frames of context; F: frames rolled out."""

    context: Tensor  # (V, L, C, h, w) real latents
    actions: Tensor  # (V, L)
    last: Tensor  # (V, 3, H, W), 0-1, the last real frame of the context
    target: Tensor  # (V, 3, H, W), the frame after it
    target_latent: Tensor  # (V, C, h, w)
    long_context: Tensor  # (R, L, C, h, w)
    long_actions: Tensor  # (R, L + F - 1)
    long_frames: Tensor  # (R, F + 1, 3, H, W): the last real frame of the context and the F that followed
    horizons: tuple[int, ...]

    def copy_start_psnr(self, horizon: int) -> float:
        """dB after `horizon` frames of repeating the last real one."""
        return psnr(self.long_frames[:, 0], self.long_frames[:, horizon]).mean().item()


def validation_set(
    data: Trajectories, frames: Tensor, latents: Tensor, mask: np.ndarray, context: int, device: torch.device
) -> ValidationSet:
    """`frames`, uint8 (N, T, 3, H, W), and `latents` (N, T, C, h, w) of the whole recording; `mask` (N, T) of its
    held-out part. Raises BadInput."""
    actions = torch.from_numpy(data.actions)
    horizons = HORIZONS
    while len(horizons) > 1 and len(window_starts(data.episode_starts, mask, context + horizons[-1])) == 0:
        horizons = horizons[:-1]  # a short recording has no long stretch to hold a roll-out against
    if len(window_starts(data.episode_starts, mask, context + horizons[-1])) == 0:
        horizons = (1,)
    if len(window_starts(data.episode_starts, mask, context + 1)) == 0:
        raise InputError(
            f"no {context + 1} frames in a row in the held-out episodes: record more, or try another --seed"
        )

    def spread(length: int, count: int) -> Tensor:
        starts = window_starts(data.episode_starts, mask, length)
        return torch.from_numpy(starts[np.linspace(0, len(starts) - 1, min(count, len(starts))).astype(int)])

    def real_frames(starts: Tensor, offset: int) -> Tensor:
        return frames_at(frames, starts, offset, device)

    short, long = spread(context + 1, NEXT_FRAME_WINDOWS), spread(context + horizons[-1], ROLL_OUTS)
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
            [real_frames(long, context - 1 + future) for future in range(horizons[-1] + 1)], dim=1
        ),
        horizons=horizons,
    )


@torch.no_grad()
def validate(
    unet: UNet, decoder: Decoder, held_out: ValidationSet, steps: int
) -> tuple[dict[str, float], Tensor]:
    """Metrics by name (PSNR in dB against the game's own frames), and the latents (R, F, C, h, w) of the roll-outs.

    Always from the same noise, so that epochs can be compared.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(held_out.target_latent.shape, generator=generator).to(held_out.target_latent.device)
    latent = sample_next_latent(unet, held_out.context, held_out.actions, noise, steps)
    moved = unet.warp_last_latent(held_out.context, held_out.actions)
    metrics = {
        "loss/validation": (latent - held_out.target_latent).pow(2).mean().item(),
        "psnr/autoencoder": psnr(decode(decoder, held_out.target_latent), held_out.target).mean().item(),
        "psnr/next_frame": psnr(decode(decoder, latent), held_out.target).mean().item(),
        "psnr/copy_last": psnr(held_out.last, held_out.target).mean().item(),
        **(
            {"psnr/moved": psnr(decode(decoder, moved), held_out.target).mean().item()}
            if unet.config.use_flow
            else {}
        ),
    }
    dreamed = rollout(unet, held_out.long_context, held_out.long_actions, steps, generator)
    for horizon in held_out.horizons:
        real = held_out.long_frames[:, horizon]
        metrics[f"psnr/rollout_{horizon}"] = (
            psnr(decode(decoder, dreamed[:, horizon - 1]), real).mean().item()
        )
        metrics[f"psnr/copy_start_{horizon}"] = held_out.copy_start_psnr(horizon)
    return metrics, dreamed


@torch.no_grad()
def dream_each_action(
    unet: UNet, decoder: Decoder, context: Tensor, actions: Tensor, steps: int, num_frames: int, every: int
) -> list[Tensor]:
    """A row for each action held down from one context (1, L, C, h, w): the frame seen, then every `every`-th."""
    rows = []
    for action in range(min(unet.config.num_actions, MOST_ACTION_ROWS)):
        held = torch.full((1, num_frames), action, device=actions.device)
        generator = torch.Generator().manual_seed(0)
        latents = rollout(unet, context, torch.cat([actions[:, :-1], held], dim=1), steps, generator)[0]
        rows.append(decode(decoder, torch.cat([context[0, -1:], latents[::every]])))
    return rows
