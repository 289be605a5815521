"""Preview pictures of a training: what each action does, and a held-out rollout beside the real frames."""

from pathlib import Path

from torch import Tensor

from dream.evaluation.image_grid import save_image_grid
from dream.evaluation.validation import ValidationSet, dream_each_action
from dream.models.autoencoder import Decoder, decode
from dream.models.unet import UNet

EVERY = 8  # frames of the rollout


def save_previews(
    unet: UNet,
    decoder: Decoder,
    held_out: ValidationSet,
    rollouts: Tensor,
    steps: int,
    folder: Path,
    step: int,
) -> None:
    """Writes step_NNNNNN_actions.png and step_NNNNNN_film.png. rollouts: latents (R, F, C, h, w) as from `validate`."""
    context = held_out.long_context[:1]
    actions = held_out.long_actions[:1, : context.shape[1]]
    rows = dream_each_action(unet, decoder, context, actions, steps, num_frames=13, every=4)
    save_image_grid(rows, folder / f"step_{step:06d}_actions.png")
    rows = [held_out.long_frames[0, 1::EVERY], decode(decoder, rollouts[0, ::EVERY])]
    save_image_grid(rows, folder / f"step_{step:06d}_film.png")
