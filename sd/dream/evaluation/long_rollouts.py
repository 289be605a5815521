"""Measures whether long rollouts, of up to 10,000 frames without a restart, keep the distribution of real frames.

The distribution of generated frames is compared with that of real frames by a Frechet distance, and their amount of
motion by the mean absolute difference of consecutive frames. With a recording of random actions, rollouts start in it,
use its actions, and are compared with its frames. Without one, the actions are sticky random ones, and the comparison
is with the evaluated recording, which another policy has made. The distance then also contains the difference between
the policies, so that only its growth with the horizon, and a frame difference that approaches 0, can be interpreted.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dream.common.errors import InputError
from dream.common.progress import progress_bar
from dream.data.latents import to_float_frames
from dream.data.splits import episode_ids, rows_by_env
from dream.data.trajectories import Trajectories
from dream.evaluation.evaluator import Evaluator, sticky_random_actions
from dream.evaluation.lpips import AlexNet
from dream.evaluation.metrics import frechet_distance, principal_axes, quantize_frames
from dream.models.autoencoder import decode

WINDOW = 100  # frames before each horizon that are compared
MAX_SAMPLES = 2048  # frames per set
MAX_DIMENSIONS = 64  # of the features after a principal component analysis
MIN_SAMPLES_PER_DIMENSION = 8
FEATURES_BATCH = 64
RESAMPLES = 100  # of the bootstrap


def evaluate_long_rollouts(
    evaluator: Evaluator, count: int, horizons: tuple[int, ...], alexnet: AlexNet, seed: int,
    random_actions: Trajectories | None = None,
) -> tuple[dict, Tensor]:  # fmt: skip
    """Frechet distance to real frames and mean absolute frame difference (levels of 0-255) of at most `count` rollouts,
    over the WINDOW frames before each of the horizons, and the last frames uint8 (M, 3, H, W).

    The key `real` holds the distance between two halves of the real frames and the frame difference of real frames.
    `bootstrap_std` holds the standard deviation of both measures when rollouts are resampled: frames of one rollout
    are similar, so that the number of rollouts limits the precision. random_actions: a recording of random actions
    (default: none, see above). Raises InputError if there are too few frames.
    """
    L = evaluator.unet.config.context
    if random_actions:
        everywhere = np.ones(random_actions.actions.shape, dtype=bool)
        evaluator = replace(evaluator, data=random_actions, held_out=everywhere)
    starts = evaluator.windows(evaluator.held_out, L, count, "long rollouts")
    if random_actions:
        actions = recorded_actions(random_actions, starts, L - 1 + max(horizons))
    else:
        sticky = sticky_random_actions(len(starts), max(horizons), evaluator.unet.config.num_actions, seed)
        actions = torch.cat([evaluator.actions(starts, L - 1), sticky], dim=1)
    sampled = sampled_steps(horizons, len(starts))
    if min(map(len, sampled.values())) * len(starts) < 2 * MIN_SAMPLES_PER_DIMENSION:
        raise InputError(f"{len(starts)} rollouts up to frames {horizons} are too few for a Frechet distance")
    generated, last = generate_sets(evaluator, starts, actions, sampled, alexnet)
    samples = min(len(features) for features, *_ in generated.values())
    real = [real_set(evaluator, alexnet, half, samples) for half in split_halves(evaluator)]
    samples = min(samples, *(len(features) for features, _ in real))
    if samples < 2 * MIN_SAMPLES_PER_DIMENSION:
        raise InputError(f"{samples} frames per set are too few for a Frechet distance")
    all_features = [subsample(features, samples) for features, *_ in (*real, *generated.values())]
    # Fitted to generated frames too, so that errors that occur only there are not projected away.
    dimensions = min(MAX_DIMENSIONS, samples // MIN_SAMPLES_PER_DIMENSION)
    mean, axes = principal_axes(torch.cat(all_features), dimensions)
    half, other_half = ((features - mean) @ axes for features in all_features[:2])
    results = {
        "frechet": {"real": frechet_distance(half, other_half)},
        "frame_diff": {"real": torch.cat([differences for _, differences in real]).mean().item()},
        "bootstrap_std": {"frechet": {}, "frame_diff": {}},
        "actions": "recorded" if random_actions else "sticky random",
        "num_rollouts": len(starts),
        "frames_per_set": samples,
        "dimensions": axes.shape[1],
    }
    for horizon, (features, differences, rollout_ids) in generated.items():
        features = (features - mean) @ axes

        def distance(chosen: Tensor, features=features) -> float:
            part = subsample(features[chosen], samples)
            return (frechet_distance(part, half) + frechet_distance(part, other_half)) / 2

        def frame_diff(chosen: Tensor, differences=differences) -> float:
            return differences[chosen].mean().item()

        for name, measure in (("frechet", distance), ("frame_diff", frame_diff)):
            results[name][str(horizon)] = measure(torch.arange(len(rollout_ids)))
            results["bootstrap_std"][name][str(horizon)] = bootstrap_std(measure, rollout_ids, seed)
    return results, last


def sampled_steps(horizons: tuple[int, ...], num_rollouts: int) -> dict[int, list[int]]:
    """For each horizon the frames of a rollout, counted from 1, that enter its set: evenly spaced over the WINDOW
    before it, so that all rollouts together give about MAX_SAMPLES. Frame 1, whose predecessor is real, is left out."""
    every = max(1, num_rollouts * WINDOW // MAX_SAMPLES)
    return {end: list(range(end, max(1, end - WINDOW), -every)) for end in horizons}


def generate_sets(
    evaluator: Evaluator, starts: Tensor, actions: Tensor, sampled: dict[int, list[int]], alexnet: AlexNet
) -> tuple[dict[int, tuple[Tensor, Tensor, Tensor]], Tensor]:
    """Generates the rollouts; returns for each horizon features (S, D), frame differences (S,) and rollout indices
    int64 (S,) of its sampled frames, ordered by rollout and frame, and the last frames uint8 (M, 3, H, W)."""
    context = evaluator.encode(evaluator.real_frames(starts, 0, evaluator.unet.config.context))
    sets = {horizon: ([], [], []) for horizon in sampled}
    last_frames = []

    def displayed(latent: Tensor) -> Tensor:
        return quantize_frames(decode(evaluator.decoder, latent))

    for rows, *inputs in evaluator.batches(context, actions):
        previous_latent = None
        rollouts = evaluator.iterate_rollout(*inputs, evaluator.unet, "long rollouts", rows)
        for step, latent in enumerate(rollouts, 1):
            for horizon, (features, differences, rollout_ids) in sets.items():
                if step in sampled[horizon]:
                    previous, frames = displayed(previous_latent), displayed(latent)
                    features.append(pair_features(alexnet, previous, frames))
                    differences.append(mean_abs_frame_diff(previous, frames))
                    rollout_ids.append(rows)
            previous_latent = latent
        last_frames.append((displayed(previous_latent) * 255).to(torch.uint8).cpu())
    results = {}
    for horizon, lists in sets.items():
        features, differences, rollout_ids = map(torch.cat, lists)
        order = torch.argsort(rollout_ids, stable=True)  # the same order for every batch size
        results[horizon] = features[order], differences[order], rollout_ids[order]
    return results, torch.cat(last_frames)


def bootstrap_std(measure: Callable[[Tensor], float], rollout_ids: Tensor, seed: int) -> float:
    """Standard deviation of a measure under resampling of whole rollouts with replacement (the bootstrap, Efron 1979).

    measure: a function of frame indices int64 (S,). rollout_ids: int64 (M,), the rollout 0, 1, ... of each frame.
    """
    indices = [(rollout_ids == i).nonzero()[:, 0] for i in range(rollout_ids.max() + 1)]
    shape, generator = (RESAMPLES, len(indices)), torch.Generator().manual_seed(seed)
    draws = torch.randint(len(indices), shape, generator=generator)
    draws = progress_bar(draws.tolist(), desc="bootstrap", leave=False)
    return float(np.std([measure(torch.cat([indices[i] for i in draw])) for draw in draws]))


def recorded_actions(data: Trajectories, starts: Tensor, length: int) -> Tensor:
    """Recorded actions int64 (M, length) that begin at each of starts (M, 2) and continue in the next rows of the same
    environment, then of the next environment, so that a long rollout does not repeat the actions of one row."""
    order = rows_by_env(data)
    position_of_row = np.argsort(order)
    actions = torch.from_numpy(data.actions[order].astype(np.int64)).flatten()
    begin = torch.from_numpy(position_of_row[starts[:, 0].numpy()] * data.num_steps) + starts[:, 1]
    return actions[(begin[:, None] + torch.arange(length)) % len(actions)]


def pair_features(alexnet: AlexNet, previous: Tensor, frames: Tensor) -> Tensor:
    """Features (B, D), on the CPU, of frames and of their differences to the previous ones, (B, 3, H, W), 0-1."""
    difference = (frames - previous) / 2 + 0.5
    return torch.cat([alexnet.features(frames), alexnet.features(difference)], dim=1).cpu()


def subsample(features: Tensor, count: int) -> Tensor:
    """`count` evenly spaced rows of features (M, D)."""
    return features[torch.linspace(0, len(features) - 1, count).round().long()]


def mean_abs_frame_diff(previous: Tensor, frames: Tensor) -> Tensor:
    """Mean absolute difference per pixel (B,), in levels of 0-255, between frames (B, 3, H, W), 0-1; on the CPU."""
    return 255 * (frames - previous).abs().mean(dim=(1, 2, 3)).cpu()


def split_halves(evaluator: Evaluator) -> tuple[np.ndarray, np.ndarray]:
    """Two masks, bool (N, T), that split the held-out frames as evenly as whole episodes allow; a single episode is cut
    in the middle."""
    ids = episode_ids(evaluator.data)
    lengths = np.bincount(ids[evaluator.held_out], minlength=ids.max() + 1)
    first, num_frames = [], 0
    for episode in np.argsort(-lengths):
        if lengths[episode] and num_frames + lengths[episode] <= lengths.sum() / 2:
            first.append(episode)
            num_frames += lengths[episode]
    in_first = np.isin(ids, first)
    if not (evaluator.held_out & in_first).any():
        order = np.cumsum(evaluator.held_out).reshape(evaluator.held_out.shape)
        in_first = order <= order.max() // 2
    return evaluator.held_out & in_first, evaluator.held_out & ~in_first


def real_set(evaluator: Evaluator, alexnet: AlexNet, mask: np.ndarray, samples: int) -> tuple[Tensor, Tensor]:
    """Features (S, D) and frame differences (S,) of at most `samples` pairs of real frames inside a mask (N, T)."""
    starts = evaluator.windows(mask, 2, samples, "real frames to compare with")
    features, differences = [], []
    for part in progress_bar(starts.split(FEATURES_BATCH), desc="real frames", unit="batch", leave=False):
        pair = to_float_frames(evaluator.real_frames(part, 0, 2), evaluator.device)
        features.append(pair_features(alexnet, pair[:, 0], pair[:, 1]))
        differences.append(mean_abs_frame_diff(pair[:, 0], pair[:, 1]))
    return torch.cat(features), torch.cat(differences)
