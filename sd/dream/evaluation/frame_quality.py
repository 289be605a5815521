"""Compares generated frames with the recorded ones of held-out episodes: the next frame, and rollouts."""

import numpy as np
import torch
from torch import Tensor

from dream.common.progress import progress_bar
from dream.data.latents import to_float_frames
from dream.data.splits import episode_ids
from dream.evaluation.evaluator import Evaluator, draw_noise
from dream.evaluation.lpips import MIN_SIZE, AlexNet
from dream.evaluation.metrics import psnr, ssim
from dream.models.rollout import sample_next_latent

COMPARE_BATCH = 32  # frames
SENSITIVITY_FRAMES = 4  # generated frames after which recorded and random actions are compared


def compare(
    frames_u8: Tensor, real_u8: Tensor, alexnet: AlexNet | None, device: torch.device
) -> dict[str, Tensor]:
    """Metrics psnr (M,), ssim (M,) and, with an AlexNet, lpips (M,) between frames uint8 (M, 3, H, W)."""
    scores = {"psnr": [], "ssim": [], "lpips": []}
    pairs = list(zip(frames_u8.split(COMPARE_BATCH), real_u8.split(COMPARE_BATCH), strict=True))
    for frames, real in progress_bar(pairs, desc="comparing", unit="batch", leave=False):
        frames, real = to_float_frames(frames, device), to_float_frames(real, device)
        scores["psnr"].append(psnr(frames, real).cpu())
        scores["ssim"].append(ssim(frames, real).cpu())
        if alexnet and min(frames.shape[2:]) >= MIN_SIZE:
            scores["lpips"].append(alexnet.lpips(frames, real).cpu())
    return {name: torch.cat(parts) for name, parts in scores.items() if parts}


def summary(scores: dict[str, Tensor]) -> dict:
    """Means of metrics (M,) by name; of the PSNR also median, 10th percentile and standard deviation, in dB."""
    db = scores["psnr"]
    return {
        "psnr_db": db.mean().item(),
        "psnr_db_median": db.median().item(),
        "psnr_db_p10": db.quantile(0.1).item(),
        "psnr_db_std": db.std(correction=0).item(),
        "ssim": scores["ssim"].mean().item(),
        "lpips": scores["lpips"].mean().item() if "lpips" in scores else None,
        "frames": len(db),
    }


def gain_over_copy(score: dict, copy_score: dict, ceiling: dict) -> dict:
    """Adds to a summary the PSNR gain over the copy baseline in dB (`gain_db`), and that gain as a fraction of the
    autoencoder's (`normalized_gain`, None if the autoencoder does not exceed the baseline)."""
    gain = score["psnr_db"] - copy_score["psnr_db"]
    max_gain = ceiling["psnr_db"] - copy_score["psnr_db"]
    return {**score, "gain_db": gain, "normalized_gain": gain / max_gain if max_gain > 0 else None}


@torch.inference_mode()
def evaluate_next_frame(
    evaluator: Evaluator, count: int, all_steps: tuple[int, ...], alexnet: AlexNet | None
) -> dict:
    """Summaries for `count` held-out windows: `autoencoder` (the ceiling), `copy_last` (the baseline), and
    `teacher_forced` (predictions from real contexts) by number of sampling steps."""
    L, device = evaluator.unet.config.context, evaluator.device
    starts = evaluator.windows(evaluator.held_out, L + 1, count, "the next frame")
    real = evaluator.real_frames(starts, 0, L + 1)
    latents, actions = evaluator.encode(real), evaluator.actions(starts, L)
    decoded = evaluator.decode(latents[:, -1:])[:, 0]
    results = {
        "autoencoder": summary(compare(decoded, real[:, -1], alexnet, device)),
        "copy_last": summary(compare(real[:, -2], real[:, -1], alexnet, device)),
        "teacher_forced": {},
    }
    noise = draw_noise(evaluator.generators(torch.arange(len(starts))), latents.shape[2:])
    for steps in all_steps:
        batches = list(evaluator.batches(latents[:, :-1], actions, noise))
        generated = []
        for _, *inputs in progress_bar(batches, desc=f"next frame, {steps} steps", leave=False):
            context, action, z = (each.to(device) for each in inputs)
            latent = sample_next_latent(evaluator.unet, context.float(), action, z, steps)
            generated.append(latent.half().cpu())
        frames = evaluator.decode(torch.cat(generated)[:, None])[:, 0]
        score = summary(compare(frames, real[:, -1], alexnet, device))
        results["teacher_forced"][str(steps)] = gain_over_copy(
            score, results["copy_last"], results["autoencoder"]
        )
    return results


def evaluate_rollouts(
    evaluator: Evaluator,
    count: int,
    length: int,
    horizons: tuple[int, ...],
    ceiling: dict,
    alexnet: AlexNet | None,
) -> tuple[dict, dict[str, Tensor]]:
    """Generates rollouts of `length` frames under the recorded actions of at most `count` held-out windows.

    Returns the scores by horizon (frames into the rollout), and tensors for further use: `starts` (M, 2), `generated`
    uint8 (M, length, 3, H, W), its `latents` float16 (M, length, C, h, w), `psnr_curve` (M, length) in dB, and
    `copy_curve` (M, length), that of repeating the last context frame. ceiling: summary of the autoencoder, as from
    `evaluate_next_frame`.
    """
    L, device = evaluator.unet.config.context, evaluator.device
    starts = evaluator.windows(evaluator.held_out, L + length, count, f"rollouts of {length} frames")
    actions = evaluator.actions(starts, L + length - 1)
    latents = evaluator.rollout(starts, actions, "rollouts")
    generated = evaluator.decode(latents)
    num_episodes = len(np.unique(episode_ids(evaluator.data)[starts[:, 0], starts[:, 1]]))
    psnr_curve, copy_curve, results = [], [], {}
    first = evaluator.real_frames(starts, L - 1, 1)[:, 0]
    for frame in progress_bar(range(1, length + 1), desc="comparing", leave=False):
        real = evaluator.real_frames(starts, L - 1 + frame, 1)[:, 0]
        if frame in horizons:
            score = summary(compare(generated[:, frame - 1], real, alexnet, device))
            copy_first = summary(compare(first, real, alexnet, device))
            score = gain_over_copy(score, copy_first, ceiling)
            results[str(frame)] = {**score, "copy_first": copy_first, "episodes": num_episodes}
        psnr_curve.append(psnr_u8(generated[:, frame - 1], real))
        copy_curve.append(psnr_u8(first, real))
    curves = {"psnr_curve": torch.stack(psnr_curve, dim=1), "copy_curve": torch.stack(copy_curve, dim=1)}
    return results, {"starts": starts, "generated": generated, "latents": latents, **curves}


def psnr_u8(frames_u8: Tensor, real_u8: Tensor) -> Tensor:
    """PSNR in dB (M,) between frames uint8 (M, 3, H, W)."""
    pairs = zip(frames_u8.split(COMPARE_BATCH), real_u8.split(COMPARE_BATCH), strict=True)
    return torch.cat([psnr(frames / 255, real / 255) for frames, real in pairs])


def action_sensitivity(evaluator: Evaluator, starts: Tensor, psnr_curve: Tensor, seed: int) -> dict:
    """`delta_psnr_db`: PSNR under the recorded actions minus PSNR under random ones, after SENSITIVITY_FRAMES frames
    (the controllability metric of Genie, Bruce et al. 2024, arXiv 2402.15391, section 3). It is 0 for a model that
    ignores actions.

    starts (M, 2) and psnr_curve (M, F): from `evaluate_rollouts`.
    """
    L, num_frames = evaluator.unet.config.context, min(SENSITIVITY_FRAMES, psnr_curve.shape[1])
    actions = evaluator.actions(starts, L + num_frames - 1)
    generator = torch.Generator().manual_seed(seed)
    shape = (len(starts), num_frames)
    actions[:, L - 1 :] = torch.randint(evaluator.unet.config.num_actions, shape, generator=generator)
    generated = evaluator.decode(evaluator.rollout(starts, actions, "random actions")[:, -1:])[:, 0]
    random_psnr = psnr_u8(generated, evaluator.real_frames(starts, L - 1 + num_frames, 1)[:, 0])
    return {
        "delta_psnr_db": (psnr_curve[:, num_frames - 1] - random_psnr).mean().item(),
        "delta_psnr": {"after_frames": num_frames, "frames": len(starts)},
    }
