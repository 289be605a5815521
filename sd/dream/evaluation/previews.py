"""Preview pictures during training: the effect of each action, and a held-out rollout next to the real frames."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dream.common.limits import ACTION_EVERY, FILM_PICTURES, MAX_ACTION_ROWS
from dream.evaluation.image_grid import save_image_grid
from dream.evaluation.validation import ValidationSet, rollout_each_action
from dream.models.autoencoder import Decoder, decode
from dream.models.rollout import rollout
from dream.models.unet import UNet

ACTION_FRAMES = 13  # generated under each action


def num_preview_frames(unet: UNet, held_out: ValidationSet, measured: bool) -> int:
    """Frames that the previews generate."""
    return (
        ACTION_FRAMES * min(unet.config.num_actions, MAX_ACTION_ROWS) if measured else held_out.horizons[-1]
    )


def save_action_preview(
    unet: UNet, decoder: Decoder, held_out: ValidationSet, steps: int, path: Path,
    on_frames: Callable[[int], bool] | None = None,
) -> None:  # fmt: skip
    """Writes a picture of one row for each action, held from one start."""
    chosen = slice(held_out.most_moving(), held_out.most_moving() + 1)
    context = held_out.long_context[chosen]
    actions = held_out.long_actions[chosen, : context.shape[1]]
    rows = rollout_each_action(unet, decoder, context, actions, steps, ACTION_FRAMES, ACTION_EVERY, on_frames)
    save_image_grid(rows, path)


def save_film(decoder: Decoder, held_out: ValidationSet, latents: Tensor, path: Path) -> None:
    """Writes a picture of at most FILM_PICTURES generated frames, evenly spaced, below the real ones. latents (F, C, h,
    w): the `most_moving` held-out rollout, or its beginning."""
    every = max(1, held_out.horizons[-1] // FILM_PICTURES)
    generated = decode(decoder, latents[::every])
    real = held_out.long_frames[held_out.most_moving(), 1::every]
    save_image_grid([real[: len(generated)], generated], path)


def most_moving_rollout(
    unet: UNet, held_out: ValidationSet, steps: int, on_frames: Callable[[int], bool] | None = None
) -> Tensor:
    """Latents (F, C, h, w) of the `most_moving` held-out rollout alone, a fraction of what `validate` takes; fewer if
    on_frames returns True."""
    chosen = slice(held_out.most_moving(), held_out.most_moving() + 1)
    context, actions = held_out.long_context[chosen], held_out.long_actions[chosen]
    return rollout(unet, context, actions, steps, torch.Generator().manual_seed(0), on_frames)[0]
