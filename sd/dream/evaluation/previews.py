"""Preview pictures during training: the effect of each action, and a held-out rollout next to the real frames."""

from pathlib import Path

from torch import Tensor

from dream.evaluation.image_grid import save_image_grid
from dream.evaluation.validation import ValidationSet, rollout_each_action
from dream.models.autoencoder import Decoder, decode
from dream.models.unet import UNet

EVERY = 8  # only every 8th frame of the rollout is drawn


def save_previews(
    unet: UNet,
    decoder: Decoder,
    held_out: ValidationSet,
    rollouts: Tensor,
    steps: int,
    folder: Path,
    step: int,
) -> None:
    """Writes step_NNNNNN_actions.png and step_NNNNNN_film.png. rollouts: latents (R, F, C, h, w) from `validate`."""
    context = held_out.long_context[:1]
    actions = held_out.long_actions[:1, : context.shape[1]]
    rows = rollout_each_action(unet, decoder, context, actions, steps, num_frames=13, every=4)
    save_image_grid(rows, folder / f"step_{step:06d}_actions.png")
    rows = [held_out.long_frames[0, 1::EVERY], decode(decoder, rollouts[0, ::EVERY])]
    save_image_grid(rows, folder / f"step_{step:06d}_film.png")
