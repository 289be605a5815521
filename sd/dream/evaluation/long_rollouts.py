"""Does a dream last? Long roll-outs under sticky random keys, without a restart, and how their frames are spread.

They stand beside frames of the game under the same kind of keys, where a recording of that is given. Else beside those
of the recording, which its own player drove: then a distance also holds what random keys do to a race, and what tells
is how it grows with age, and whether motion dies.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dream.common.errors import InputError
from dream.data.latents import to_float_frames
from dream.data.splits import episode_ids, rows_by_env
from dream.data.trajectories import Trajectories
from dream.evaluation.evaluator import DREAM_BATCH, Subject, sticky_keys
from dream.evaluation.frechet import frechet_distance, principal_axes
from dream.evaluation.lpips import AlexNet
from dream.evaluation.metrics import as_shown
from dream.models.autoencoder import decode

AGES_WIDTH = 100  # frames looked at before each age
SAMPLES = 2048  # frames a set, at most
DIMENSIONS = 64  # that features are reduced to, well below the samples
MOST_CROWDED = 8  # samples a dimension, at the least
FEATURES_BATCH = 64
RESAMPLES = 100  # of the roll-outs, for the part that chance has


def stability(
    subject: Subject, count: int, ages: tuple[int, ...], alexnet: AlexNet, seed: int,
    random_keys: Trajectories | None = None,
) -> tuple[dict, Tensor]:  # fmt: skip
    """Frechet distance to the game's own frames, and the amount of motion, of roll-outs over the AGES_WIDTH frames
    before each age, beside the same between two halves of the held-out episodes; and the last frames (M, 3, H, W).
    `chance`: deviations of both over other draws of as many roll-outs; frames of one roll-out are alike.

    random_keys: a recording to begin in, by whose keys to dream, and to stand beside, in place of those episodes.
    """
    L = subject.unet.config.context
    if random_keys:
        everywhere = np.ones(random_keys.actions.shape, dtype=bool)
        subject = replace(subject, data=random_keys, held_out=everywhere)
    starts = subject.windows(subject.held_out, L, count, "long roll-outs")
    if random_keys:
        actions = keys_from(random_keys, starts, L - 1 + max(ages))
    else:
        keys = sticky_keys(len(starts), max(ages), subject.unet.config.num_actions, seed)
        actions = torch.cat([subject.actions(starts, L - 1), keys], dim=1)
    context = subject.encode(subject.real(starts, 0, L))
    every = max(1, len(starts) * AGES_WIDTH // SAMPLES)
    looked_at = {
        age: [i for i in range(age, max(1, age - AGES_WIDTH), -1) if (age - i) % every == 0] for age in ages
    }
    if min(map(len, looked_at.values())) * len(starts) < 2 * MOST_CROWDED:
        raise InputError(f"{len(starts)} roll-outs up to frames {ages} are too few for a Frechet distance")
    sets = {age: ([], [], []) for age in ages}  # features, motion, and of which roll-out
    last = []
    batch = DREAM_BATCH[subject.device.type]
    for part, (some, keys) in enumerate(zip(context.split(batch), actions.split(batch), strict=True)):
        before = None
        for i, latent in enumerate(subject.walk(some, keys, subject.unet, "long roll-outs", part), 1):
            for age in ages:
                if i in looked_at[age]:
                    previous, frames = (as_shown(decode(subject.decoder, x)) for x in (before, latent))
                    sets[age][0].append(pair_features(alexnet, previous, frames))
                    sets[age][1].append(motion(previous, frames))
                    sets[age][2].append(torch.arange(len(frames)) + part * batch)
            before = latent
        last.append((as_shown(decode(subject.decoder, before)) * 255).to(torch.uint8).cpu())
    sets = {age: tuple(map(torch.cat, lists)) for age, lists in sets.items()}
    samples = min(len(features) for features, *_ in sets.values())
    real = [real_set(subject, alexnet, half, samples) for half in halves(subject)]
    samples = min(samples, *(len(features) for features, _ in real))
    if samples < 2 * MOST_CROWDED:
        raise InputError(f"{samples} frames a set are too few for a Frechet distance")
    everything = [even(features, samples) for features, *_ in (*real, *sets.values())]
    # axes of dreamed frames too: what a dream shows that the game never does must not be projected away
    mean, axes = principal_axes(torch.cat(everything), min(DIMENSIONS, samples // MOST_CROWDED))
    one, other = ((features - mean) @ axes for features in everything[:2])
    found = {
        "frechet": {"real": frechet_distance(one, other)},
        "motion": {"real": torch.cat([motions for _, motions in real]).mean().item()},
        "chance": {"frechet": {}, "motion": {}},
        "keys": "of the recording" if random_keys else "sticky",
        "roll_outs": len(starts),
        "frames_a_set": samples,
        "dimensions": axes.shape[1],
    }
    for age, (features, motions, whose) in sets.items():
        features = (features - mean) @ axes

        def distance(of: Tensor, features=features) -> float:
            dreamed = even(features[of], samples)
            return (frechet_distance(dreamed, one) + frechet_distance(dreamed, other)) / 2

        measures = {"frechet": distance, "motion": lambda of, motions=motions: motions[of].mean().item()}
        for what, measure in measures.items():
            found[what][str(age)] = measure(torch.arange(len(whose)))
            found["chance"][what][str(age)] = chance(measure, whose, seed)
    return found, torch.cat(last)


def chance(measure: Callable[[Tensor], float], whose: Tensor, seed: int) -> float:
    """The deviation of a measure of frames, asked by their indices (M,), over draws of as many roll-outs with
    replacement (the bootstrap, Efron 1979). whose: int64 (M,), the roll-out 0, 1, ... that each frame is of."""
    frames_of = [(whose == i).nonzero()[:, 0] for i in range(whose.max() + 1)]
    shape, generator = (RESAMPLES, len(frames_of)), torch.Generator().manual_seed(seed)
    draws = torch.randint(len(frames_of), shape, generator=generator)
    return float(np.std([measure(torch.cat([frames_of[i] for i in draw])) for draw in draws.tolist()]))


def keys_from(data: Trajectories, starts: Tensor, length: int) -> Tensor:
    """int64 (M, length): the actions that follow each of starts (M, 2), through the rows of its game, and then of the
    next game, so that long roll-outs do not go round in a few keys."""
    order = rows_by_env(data)
    place_of_row = np.argsort(order)
    keys = torch.from_numpy(data.actions[order].astype(np.int64)).flatten()
    begin = torch.from_numpy(place_of_row[starts[:, 0].numpy()] * data.num_steps) + starts[:, 1]
    return keys[(begin[:, None] + torch.arange(length)) % len(keys)]


def pair_features(alexnet: AlexNet, before: Tensor, frames: Tensor) -> Tensor:
    """Features (B, D) of frames and of their differences to those before, both (B, 3, H, W), 0-1; on the CPU."""
    difference = (frames - before) / 2 + 0.5
    return torch.cat([alexnet.features(frames), alexnet.features(difference)], dim=1).cpu()


def even(features: Tensor, count: int) -> Tensor:
    """`count` of them (M, D), spread evenly."""
    return features[torch.linspace(0, len(features) - 1, count).round().long()]


def motion(before: Tensor, frames: Tensor) -> Tensor:
    """Mean absolute change of a pixel (B,), in levels of 0-255."""
    return 255 * (frames - before).abs().mean(dim=(1, 2, 3)).cpu()


def halves(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Two masks (N, T) that share the held-out frames by episode as evenly as can be; a lone one is cut in two."""
    ids = episode_ids(subject.data)
    lengths = np.bincount(ids[subject.held_out], minlength=ids.max() + 1)
    first, filled = [], 0
    for episode in np.argsort(-lengths):
        if lengths[episode] and filled + lengths[episode] <= lengths.sum() / 2:
            first.append(episode)
            filled += lengths[episode]
    inside = np.isin(ids, first)
    if not (subject.held_out & inside).any():
        order = np.cumsum(subject.held_out).reshape(subject.held_out.shape)
        inside = order <= order.max() // 2
    return subject.held_out & inside, subject.held_out & ~inside


def real_set(subject: Subject, alexnet: AlexNet, mask: np.ndarray, samples: int) -> tuple[Tensor, Tensor]:
    """Features (M, D) and motion (M,) of `samples` pairs of real frames of a mask."""
    starts = subject.windows(mask, 2, samples, "real frames to compare with")
    features, motions = [], []
    for part in starts.split(FEATURES_BATCH):
        pair = to_float_frames(subject.real(part, 0, 2), subject.device)
        features.append(pair_features(alexnet, pair[:, 0], pair[:, 1]))
        motions.append(motion(pair[:, 0], pair[:, 1]))
    return torch.cat(features), torch.cat(motions)
