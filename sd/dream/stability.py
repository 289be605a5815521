"""Does a dream last? Long roll-outs under sticky random keys, without a restart, and how their frames are spread."""

import numpy as np
import torch
from torch import Tensor

from dream.frechet import frechet_distance, principal_axes
from dream.latents import decode, to_frames
from dream.metrics import as_shown
from dream.perceptual import AlexNet
from dream.subject import DREAM_BATCH, Subject
from dream.trajectories import episode_ids

KEY_CHANGES = 1 / 8  # chance a frame that another key is held
AGES_WIDTH = 100  # frames looked at before each age
SAMPLES = 2048  # frames a set, at most
DIMENSIONS = 64  # that features are reduced to, well below the samples
FEATURES_BATCH = 64


def stability(
    subject: Subject, count: int, ages: tuple[int, ...], alexnet: AlexNet, seed: int
) -> tuple[dict, Tensor]:
    """Frechet distance to the game's own frames, and the amount of motion, of roll-outs over the AGES_WIDTH frames
    before each age, beside the same between two halves of the held-out episodes; and the last frames (M, 3, H, W)."""
    L = subject.unet.config.context
    starts = subject.windows(subject.held_out, L, count, "long roll-outs")
    actions = sticky_keys(len(starts), L + max(ages) - 1, subject.data.num_actions, seed)
    context = subject.encode(subject.real(starts, 0, L))
    every = max(1, len(starts) * AGES_WIDTH // SAMPLES)
    sets = {age: ([], []) for age in ages}
    last = []
    for part_context, part_actions in zip(
        context.split(DREAM_BATCH[subject.device.type]),
        actions.split(DREAM_BATCH[subject.device.type]),
        strict=True,
    ):
        before = None
        for i, latent in enumerate(
            subject.walk(part_context, part_actions, subject.unet, "long roll-outs"), 1
        ):
            for age in ages:
                if age - AGES_WIDTH < i <= age and i > 1 and (age - i) % every == 0:
                    previous, frames = (as_shown(decode(subject.decoder, x)) for x in (before, latent))
                    sets[age][0].append(pair_features(alexnet, previous, frames))
                    sets[age][1].append(motion(previous, frames))
            before = latent
        last.append((as_shown(decode(subject.decoder, before)) * 255).to(torch.uint8).cpu())
    samples = min(len(torch.cat(features)) for features, _ in sets.values())
    real = [real_set(subject, alexnet, half, samples) for half in halves(subject)]
    mean, axes = principal_axes(
        torch.cat([features for features, _ in real]), min(DIMENSIONS, max(2, samples // 8))
    )
    one, other = ((features - mean) @ axes for features, _ in real)
    found = {
        "frechet": {"real": frechet_distance(one, other)},
        "motion": {"real": torch.cat([motions for _, motions in real]).mean().item()},
        "frames": {"real": len(one) + len(other)},
        "roll_outs": len(starts),
        "dimensions": axes.shape[1],
    }
    for age, (features, motions) in sets.items():
        dreamed = (torch.cat(features) - mean) @ axes
        # to each half: between sets of one size, as the distance of the halves is, for it grows as sets get smaller
        found["frechet"][str(age)] = (frechet_distance(dreamed, one) + frechet_distance(dreamed, other)) / 2
        found["motion"][str(age)] = torch.cat(motions).mean().item()
        found["frames"][str(age)] = len(dreamed)
    return found, torch.cat(last)


def sticky_keys(count: int, length: int, num_actions: int, seed: int) -> Tensor:
    """int64 (count, length): keys drawn at random, each held for 1 / KEY_CHANGES frames on average."""
    random = np.random.default_rng(seed)
    drawn = random.integers(num_actions, size=(count, length))
    changes = random.random((count, length)) < KEY_CHANGES
    changes[:, 0] = True
    latest = np.maximum.accumulate(np.where(changes, np.arange(length), 0), axis=1)
    return torch.from_numpy(np.take_along_axis(drawn, latest, axis=1))


def pair_features(alexnet: AlexNet, before: Tensor, frames: Tensor) -> Tensor:
    """Features (B, D) of frames and of their differences to those before, both (B, 3, H, W), 0-1; on the CPU."""
    difference = (frames - before) / 2 + 0.5
    return torch.cat([alexnet.features(frames), alexnet.features(difference)], dim=1).cpu()


def motion(before: Tensor, frames: Tensor) -> Tensor:
    """Mean absolute change of a pixel (B,), in levels of 0-255."""
    return 255 * (frames - before).abs().mean(dim=(1, 2, 3)).cpu()


def halves(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Two masks (N, T) that share the held-out frames by episode as evenly as can be."""
    ids = episode_ids(subject.data)
    lengths = np.bincount(ids[subject.held_out], minlength=ids.max() + 1)
    first, filled = [], 0
    for episode in np.argsort(-lengths):
        if lengths[episode] and filled + lengths[episode] <= lengths.sum() / 2:
            first.append(episode)
            filled += lengths[episode]
    inside = np.isin(ids, first)
    return subject.held_out & inside, subject.held_out & ~inside


def real_set(subject: Subject, alexnet: AlexNet, mask: np.ndarray, samples: int) -> tuple[Tensor, Tensor]:
    """Features (M, D) and motion (M,) of `samples` pairs of real frames of a mask."""
    starts = subject.windows(mask, 2, samples, "real frames to compare with")
    features, motions = [], []
    for part in starts.split(FEATURES_BATCH):
        pair = to_frames(subject.real(part, 0, 2), subject.device)
        features.append(pair_features(alexnet, pair[:, 0], pair[:, 1]))
        motions.append(motion(pair[:, 0], pair[:, 1]))
    return torch.cat(features), torch.cat(motions)
