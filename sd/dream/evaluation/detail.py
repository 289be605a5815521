"""How much fine detail and how much motion generated frames have, compared with decoded real ones, by rows of the
picture: a world model that blurs does so in the distance first."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dream.common.errors import InputError
from dream.evaluation.evaluator import Evaluator

NUM_BANDS = 8  # of rows, from top to bottom, about equally high
DETAIL_FRAMES = (1, 4, 8, 16)  # frames into a rollout
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
MIN_LEVELS = 0.05  # detail below it, of 255, has no meaningful ratio: a band of one colour


def evaluate_detail(evaluator: Evaluator, starts: Tensor, generated: Tensor) -> dict:
    """Detail and motion of rollouts under recorded actions, in bands of rows, where the recorded picture changes.

    starts (M, 2) and generated uint8 (M, F, 3, H, W), from `evaluate_rollouts`. Results, by band ("0-13": rows):
    `detail_ratio`, by frame: mean absolute Laplacian of the luma, generated / decoded real; `motion`, `real_motion`:
    mean absolute difference of successive frames, 0-255, up to the last of these frames. A ratio is None in a band in
    which the real frames have no detail. Raises InputError if the rollouts are too short or nothing moves.
    """
    L = evaluator.unet.config.context
    frames = [frame for frame in DETAIL_FRAMES if frame <= generated.shape[1]]
    if len(frames) == 0 or frames[-1] < 2:
        raise InputError(f"rollouts of {generated.shape[1]} frames are too short to measure their detail")
    recorded = evaluator.real_frames(starts, L, frames[-1])
    is_moving = (recorded[:, 1:] != recorded[:, :-1]).flatten(1).any(dim=1)
    if not is_moving.any():
        raise InputError("the picture changes in no rollout")
    real = luma(evaluator.decode(evaluator.encode(recorded[is_moving])))
    fake = luma(generated[is_moving, : frames[-1]])
    bands = {}
    for rows in torch.arange(real.shape[-2]).tensor_split(NUM_BANDS):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        detail, real_detail = (
            [laplacian(clips[:, frame - 1])[:, part].mean().item() for frame in frames]
            for clips in (fake, real)
        )
        motion, real_motion = (
            (clips[:, 1:, part] - clips[:, :-1, part]).abs().mean().item() for clips in (fake, real)
        )
        ratios = [
            each / of_real if of_real > MIN_LEVELS else None
            for each, of_real in zip(detail, real_detail, strict=True)
        ]
        bands[f"{part.start}-{part.stop - 1}"] = {
            "detail_ratio": dict(zip(map(str, frames), ratios, strict=True)),
            "motion": motion,
            "real_motion": real_motion,
        }
    return {"bands": bands, "rollouts": int(is_moving.sum())}


def luma(frames_u8: Tensor) -> Tensor:
    """Brightness, float32 (M, F, H, W), 0-255, of frames uint8 (M, F, 3, H, W)."""
    red, green, blue = (weight * frames_u8[:, :, i].float() for i, weight in enumerate(LUMA))
    return red + green + blue


def laplacian(images: Tensor) -> Tensor:
    """Absolute value of the discrete Laplacian (four neighbours) of images (M, H, W); the border is repeated."""
    padded = F.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    neighbours = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return (neighbours - 4 * images).abs()
