"""How near dreamed frames come to the game's own on held-out episodes: single frames, and many in a row."""

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dream.data.latents import to_float_frames
from dream.data.splits import episode_ids
from dream.evaluation.evaluator import DREAM_BATCH, Subject
from dream.evaluation.lpips import SMALLEST, AlexNet
from dream.evaluation.metrics import psnr, ssim
from dream.models.rollout import sample_next_latent

COMPARE_BATCH = 32
ACTION_FRAMES = 4  # after so many dreamed frames true and random actions are held against each other (Genie)


def compare(
    frames_u8: Tensor, real_u8: Tensor, alexnet: AlexNet | None, device: torch.device
) -> dict[str, Tensor]:
    """psnr (M,), ssim (M,) and, with an AlexNet, lpips (M,) between two uint8 (M, 3, H, W)."""
    found = {"psnr": [], "ssim": [], "lpips": []}
    for one, other in zip(frames_u8.split(COMPARE_BATCH), real_u8.split(COMPARE_BATCH), strict=True):
        one, other = to_float_frames(one, device), to_float_frames(other, device)
        found["psnr"].append(psnr(one, other).cpu())
        found["ssim"].append(ssim(one, other).cpu())
        if alexnet and min(one.shape[2:]) >= SMALLEST:
            found["lpips"].append(alexnet.lpips(one, other).cpu())
    return {name: torch.cat(parts) for name, parts in found.items() if parts}


def summary(scores: dict[str, Tensor]) -> dict:
    """Of figures (M,) by name: means, and of the PSNR also the median, the 10th percentile and the deviation, in dB."""
    db = scores["psnr"]
    return {
        "psnr_db": db.mean().item(),
        "psnr_db_median": db.median().item(),
        "psnr_db_p10": db.quantile(0.1).item(),
        "psnr_db_deviation": db.std(correction=0).item(),
        "ssim": scores["ssim"].mean().item(),
        "lpips": scores["lpips"].mean().item() if "lpips" in scores else None,
        "frames": len(db),
    }


def gains(score: dict, copied: dict, ceiling: dict) -> dict:
    """The score, with dB above copying, and the share of the way from there to the autoencoder's ceiling."""
    gain = score["psnr_db"] - copied["psnr_db"]
    way = ceiling["psnr_db"] - copied["psnr_db"]
    return {**score, "gain_db": gain, "share_of_the_way": gain / way if way > 0 else None}


@torch.inference_mode()
def next_frames(subject: Subject, count: int, all_steps: tuple[int, ...], alexnet: AlexNet | None) -> dict:
    """`autoencoder`, `copy_last`, and `teacher_forced` by number of sampling steps, on `count` held-out windows."""
    L, device = subject.unet.config.context, subject.device
    starts = subject.windows(subject.held_out, L + 1, count, "the next frame")
    real = subject.real(starts, 0, L + 1)
    latents, actions = subject.encode(real), subject.actions(starts, L)
    found = {
        "autoencoder": summary(compare(subject.decode(latents[:, -1:])[:, 0], real[:, -1], alexnet, device)),
        "copy_last": summary(compare(real[:, -2], real[:, -1], alexnet, device)),
        "teacher_forced": {},
    }
    noise = torch.randn(latents[:, -1].shape, generator=torch.Generator().manual_seed(0))
    for steps in all_steps:
        parts = zip(
            *(x.split(DREAM_BATCH[device.type]) for x in (latents[:, :-1], actions, noise)), strict=True
        )
        dreamed = [
            sample_next_latent(subject.unet, c.float().to(device), a.to(device), n.to(device), steps)
            .half()
            .cpu()
            for c, a, n in tqdm(list(parts), desc=f"next frame, {steps} steps", leave=False)
        ]
        frames = subject.decode(torch.cat(dreamed)[:, None])[:, 0]
        score = summary(compare(frames, real[:, -1], alexnet, device))
        found["teacher_forced"][str(steps)] = gains(score, found["copy_last"], found["autoencoder"])
    return found


def roll_outs(
    subject: Subject,
    count: int,
    length: int,
    horizons: tuple[int, ...],
    ceiling: dict,
    alexnet: AlexNet | None,
) -> tuple[dict, dict[str, Tensor]]:
    """Scores by number of frames dreamed in a row (`horizons`), and what else their reader may want: `starts` (M, 2),
    `dreamed` uint8 (M, length, 3, H, W), and PSNR (M, length) of the dream (`drift`), of standing still (`copied`)."""
    L, device = subject.unet.config.context, subject.device
    starts = subject.windows(subject.held_out, L + length, count, f"roll-outs of {length} frames")
    actions = subject.actions(starts, L + length - 1)
    dreamed = subject.decode(subject.dream(starts, actions, "roll-outs"))
    episodes = len(np.unique(episode_ids(subject.data)[starts[:, 0], starts[:, 1]]))
    drift, copied, found = [], [], {}
    first = subject.real(starts, L - 1, 1)[:, 0]
    for frame in tqdm(range(1, length + 1), desc="comparing", leave=False):
        real = subject.real(starts, L - 1 + frame, 1)[:, 0]
        if frame in horizons:
            scores = compare(dreamed[:, frame - 1], real, alexnet, device)
            stood = compare(first, real, alexnet, device)
            score = gains(summary(scores), summary(stood), ceiling)
            found[str(frame)] = {**score, "copy_start": summary(stood), "episodes": episodes}
        drift.append(psnr_u8(dreamed[:, frame - 1], real))
        copied.append(psnr_u8(first, real))
    series = {"drift": torch.stack(drift, dim=1), "copied": torch.stack(copied, dim=1)}
    return found, {"starts": starts, "dreamed": dreamed, **series}


def psnr_u8(frames_u8: Tensor, real_u8: Tensor) -> Tensor:
    """psnr (M,) of two uint8 (M, 3, H, W)."""
    pairs = zip(frames_u8.split(COMPARE_BATCH), real_u8.split(COMPARE_BATCH), strict=True)
    return torch.cat([psnr(one / 255, other / 255) for one, other in pairs])


def action_effect(subject: Subject, starts: Tensor, drift: Tensor, seed: int) -> dict:
    """`delta_psnr_db`: PSNR under the recorded actions minus under random ones after ACTION_FRAMES frames (Genie, Bruce
    et al. 2024, arXiv 2402.15391, section 3: 0 where actions do nothing). drift: (M, F), as from `roll_outs`."""
    L, num_frames = subject.unet.config.context, min(ACTION_FRAMES, drift.shape[1])
    actions = subject.actions(starts, L + num_frames - 1)
    generator = torch.Generator().manual_seed(seed)
    shape = (len(starts), num_frames)
    actions[:, L - 1 :] = torch.randint(subject.unet.config.num_actions, shape, generator=generator)
    dreamed = subject.decode(subject.dream(starts, actions, "random actions")[:, -1:])[:, 0]
    random = psnr_u8(dreamed, subject.real(starts, L - 1 + num_frames, 1)[:, 0])
    return {
        "delta_psnr_db": (drift[:, num_frames - 1] - random).mean().item(),
        "delta_psnr": {"after_frames": num_frames, "frames": len(starts)},
    }
