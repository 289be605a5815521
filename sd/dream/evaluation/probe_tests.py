"""Two tests of generated clips with trained probes: an inverse dynamics model and a classifier two-sample test.

The inverse dynamics model measures whether actions are visible in the frames; the two-sample test (C2ST, Lopez-Paz &
Oquab 2017, arXiv 1610.06545) measures whether a classifier can distinguish generated clips from real ones. Both probes
are trained on episodes that are not held out, on which the world model was trained as well, and evaluated on held-out
ones.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dream.common.errors import InputError
from dream.data.latents import to_float_frames
from dream.data.splits import window_starts
from dream.evaluation.evaluator import Evaluator, sticky_random_actions
from dream.evaluation.frame_quality import compare
from dream.evaluation.probes import accuracy_by_class, make_probe, predict, train_probe
from dream.models.unet import UNet

CPU = torch.device("cpu")
IDM_BATCH = 32
IDM_WINDOW = (-1, 3)  # the inverse dynamics model sees frames t - 1 ... t + 2 and predicts the action at t
IDM_FRAMES = 32  # of each rollout, cut into clips for the inverse dynamics model
C2ST_BATCH = 16
CLIP_FRAMES = 16  # of each clip in the two-sample test
TRAIN_FRAMES = 3  # of these, drawn in each training step
TRAIN_RATIO = 3  # training clips per test clip
# Positive controls of the two-sample test: noise on each weight tensor, relative to its standard deviation.
PERTURBATIONS = {"perturbed_0.05": 0.05, "perturbed_0.15": 0.15}
NUM_BANDS = 4  # of rows, from top to bottom, each of which a classifier sees alone
MIN_BAND_ROWS = 4  # a probe sees patches of 4 x 4 pixels


def inverse_dynamics(
    evaluator: Evaluator, starts: Tensor, generated: Tensor, num_steps: int, seed: int
) -> dict:
    """Accuracy with which actions are predicted from real, decoded and generated clips: overall and per action.

    starts (M, 2) and generated uint8 (M, F, 3, H, W): rollouts under the recorded actions, from `evaluate_rollouts`.
    The recorded actions can be predicted in part from the scene alone, so the test is repeated on rollouts under sticky
    random actions.
    Raises InputError if the rollouts or the episodes are too short.
    """
    L, (before, after) = evaluator.unet.config.context, IDM_WINDOW
    length, num_frames = after - before, min(generated.shape[1], IDM_FRAMES)
    offsets = range(-before, num_frames - after + 1, length)
    if not offsets:
        raise InputError(f"rollouts of {generated.shape[1]} frames are too short for clips of {length}")
    probe = train_action_probe(evaluator, length, num_steps, seed)
    num_actions = evaluator.unet.config.num_actions
    random_actions = evaluator.actions(starts, L + num_frames - 1)
    random_actions[:, L - 1 :] = sticky_random_actions(len(starts), num_frames, num_actions, seed)
    random_frames = evaluator.decode(evaluator.rollout(starts, random_actions, "random actions"))

    labels, random_labels = [], []
    logits = {"real": [], "decoded": [], "generated": [], "generated_random_actions": []}
    for offset in offsets:  # index of the generated frame at which the action was chosen
        part = slice(offset + before, offset + after)
        real = evaluator.real_frames(starts, L + part.start, length)
        clips = {
            "real": real,
            "decoded": evaluator.decode(evaluator.encode(real)),
            "generated": generated[:, part],
            "generated_random_actions": random_frames[:, part],
        }
        labels.append(evaluator.actions(starts, L + offset + 1)[:, -1])
        random_labels.append(random_actions[:, L + offset])
        for kind, clip in clips.items():
            logits[kind].append(predict(probe, to_float_frames(clip, CPU)))
    labels, random_labels = torch.cat(labels), torch.cat(random_labels)
    by_class, results = {}, {}
    for kind, parts in logits.items():
        kind_labels = random_labels if kind == "generated_random_actions" else labels
        results[f"{kind}_accuracy"], by_class[kind] = accuracy_by_class(
            torch.cat(parts), kind_labels, evaluator.data.num_actions
        )
        present = [accuracy for accuracy in by_class[kind] if accuracy is not None]
        results[f"{kind}_balanced_accuracy"] = sum(present) / len(present)
    counts = torch.bincount(labels, minlength=evaluator.data.num_actions)
    return {
        **results,
        "majority_class_accuracy": counts.max().item() / counts.sum().item(),
        "by_action": {
            name: {
                "real": by_class["real"][i],
                "generated": by_class["generated"][i],
                "clips": int(counts[i]),
            }
            for i, name in enumerate(evaluator.data.action_names)
        },
        "clips": int(counts.sum()),
    }


def train_action_probe(evaluator: Evaluator, length: int, num_steps: int, seed: int) -> torch.nn.Module:
    """Trains the inverse dynamics model on real clips of `length` frames, balanced over the actions. Raises InputError
    if no training episode is long enough."""
    before = IDM_WINDOW[0]
    pool = torch.from_numpy(window_starts(evaluator.data.episode_starts, evaluator.train, length))
    if len(pool) == 0:
        raise InputError(f"no {length} frames in a row to train the inverse dynamics model on")
    labels = evaluator.data.actions[pool[:, 0], pool[:, 1] - before]
    by_action = [pool[labels == action] for action in np.unique(labels)]
    generator = torch.Generator().manual_seed(seed)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        # Balanced, so that the probe cannot lower its loss by predicting the most frequent action.
        classes = torch.randint(len(by_action), (IDM_BATCH,), generator=generator).tolist()
        chosen = torch.stack(
            [by_action[c][torch.randint(len(by_action[c]), (), generator=generator)] for c in classes]
        )
        targets = evaluator.actions(chosen, 1 - before)[:, -1]
        clips = to_float_frames(evaluator.real_frames(chosen, 0, length), evaluator.device)
        return clips, targets.to(evaluator.device)

    probe = make_probe(length, evaluator.data.num_actions, seed, evaluator.device)
    return train_probe(probe, batches, F.cross_entropy, num_steps)


def classifier_two_sample_test(evaluator: Evaluator, num_clips: int, num_steps: int, seed: int) -> dict:
    """Accuracy of a classifier of generated against real clips of CLIP_FRAMES frames on held-out episodes; 0.5 is
    chance level. It is trained on TRAIN_RATIO x num_clips clips of the other episodes and tested on num_clips.

    Results by kind of comparison: `decoded` (generated against real clips that went through the autoencoder), `raw`
    (against the recorded frames), and the keys of PERTURBATIONS (rollouts of a network with noise on its weights
    against decoded clips: positive controls, which a useful classifier detects). `bands` has one by the rows that its
    classifier sees ("0-27"), against decoded clips: it shows where generated clips differ. In each, `accuracy` is over
    all test clips, `accuracy_moving` over those in which the picture changes, `accuracy_train` over the training clips,
    `psnr_db` the PSNR of the last frame. Still clips are not trained on: a rollout of one repeats its first frame and
    cannot be distinguished from it. Raises InputError if the episodes are too short or nothing moves.
    """
    L = evaluator.unet.config.context
    starts = [
        evaluator.windows(mask, L + CLIP_FRAMES, count * num_clips, "the clips of the two-sample test")
        for mask, count in ((evaluator.train, TRAIN_RATIO), (evaluator.held_out, 1))
    ]
    is_train = torch.arange(sum(map(len, starts))) < len(starts[0])
    starts = torch.cat(starts)
    actions = evaluator.actions(starts, L + CLIP_FRAMES - 1)
    raw = evaluator.real_frames(starts, L, CLIP_FRAMES)
    decoded = evaluator.decode(evaluator.encode(raw))
    is_moving = (raw[:, 1:] != raw[:, :-1]).flatten(1).any(dim=1)
    if not all(is_moving[part].any() for part in (is_train, ~is_train)):
        raise InputError("the picture changes in no clip")

    def accuracy(generated: Tensor, real: Tensor) -> dict:
        return c2st_accuracy(evaluator, generated, real, is_train, is_moving, num_steps, seed)

    results = {}
    models = {"decoded": evaluator.unet}
    models |= {kind: perturb_weights(evaluator.unet, noise, seed) for kind, noise in PERTURBATIONS.items()}
    for kind, model in models.items():
        generated = evaluator.decode(evaluator.rollout(starts, actions, f"clips ({kind})", model))
        results[kind] = accuracy(generated, decoded)
        last, real_last = (clips[~is_train, -1] for clips in (generated, raw))
        results[kind]["psnr_db"] = compare(last, real_last, None, evaluator.device)["psnr"].mean().item()
        if kind == "decoded":
            results["raw"] = accuracy(generated, raw)
            results["bands"] = accuracy_by_band(accuracy, generated, decoded)
        del generated, last, real_last  # gigabytes in a full evaluation
    return {
        "accuracy": results["decoded"]["accuracy"],
        **results,
        "clip_frames": CLIP_FRAMES,
        "train_clips": 2 * int((is_train & is_moving).sum()),
        "clips": 2 * int((~is_train).sum()),
        "clips_moving": 2 * int((~is_train & is_moving).sum()),
    }


def c2st_accuracy(
    evaluator: Evaluator,
    generated: Tensor,
    real: Tensor,
    is_train: Tensor,
    is_moving: Tensor,
    num_steps: int,
    seed: int,
) -> dict:
    """Trains a classifier of generated against real clips, both uint8 (M, CLIP_FRAMES, 3, H, W), on those where
    is_train and is_moving, bool (M,), are True; returns its accuracies.

    Each training step uses TRAIN_FRAMES frames of each clip, and mirrors half of the clips, as augmentation.
    """
    probe = make_probe(None, 2, seed, evaluator.device)
    generator = torch.Generator().manual_seed(seed)
    pool = (is_train & is_moving).nonzero()[:, 0]

    def batches(step: int) -> tuple[Tensor, Tensor]:
        chosen = pool[torch.randint(len(pool), (2, C2ST_BATCH // 2), generator=generator)]
        begin = torch.randint(CLIP_FRAMES - TRAIN_FRAMES + 1, (), generator=generator).item()
        part = slice(begin, begin + TRAIN_FRAMES)
        clips = torch.cat([generated[chosen[0], part], real[chosen[1], part]])
        flipped = torch.rand(len(clips), generator=generator) < 0.5
        clips[flipped] = clips[flipped].flip(-1)
        targets = torch.arange(2).repeat_interleave(C2ST_BATCH // 2)
        return to_float_frames(clips, evaluator.device), targets.to(evaluator.device)

    train_probe(probe, batches, F.cross_entropy, num_steps)
    correct = []  # (M,) for generated clips, class 0, and for real ones, class 1
    for label, clips in enumerate((generated, real)):
        logits = [predict(probe, to_float_frames(part, CPU)) for part in clips.split(C2ST_BATCH)]
        correct.append(torch.cat(logits).argmax(dim=1) == label)
    correct = torch.stack(correct).float()  # (2, M)
    return {
        "accuracy": correct[:, ~is_train].mean().item(),
        "accuracy_moving": correct[:, ~is_train & is_moving].mean().item(),
        "accuracy_train": correct[:, is_train & is_moving].mean().item(),
    }


def accuracy_by_band(
    accuracy: Callable[[Tensor, Tensor], dict], generated: Tensor, real: Tensor
) -> dict[str, dict]:
    """`accuracy` of classifiers that see one band of the rows alone, by these rows ("0-27"); empty if the bands would
    have less than MIN_BAND_ROWS.

    accuracy: `c2st_accuracy` of generated and real clips, uint8 (M, CLIP_FRAMES, 3, any number of rows, W)."""
    height = real.shape[-2]
    if height < NUM_BANDS * MIN_BAND_ROWS:
        return {}
    bands = [slice(rows[0], rows[-1] + 1) for rows in np.array_split(np.arange(height), NUM_BANDS)]
    return {
        f"{band.start}-{band.stop - 1}": accuracy(generated[..., band, :], real[..., band, :])
        for band in bands
    }


def perturb_weights(unet: UNet, noise: float, seed: int) -> UNet:
    """A copy of the network with Gaussian noise on each weight tensor, of `noise` times its standard deviation.

    It always runs in PyTorch, because the weights inside an export cannot be changed.
    """
    perturbed = UNet(unet.config)
    perturbed.load_state_dict(unet.state_dict())
    perturbed.autoencoder = unet.autoencoder
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in perturbed.parameters():
            if weight.dim() > 1:
                weight.add_(noise * weight.std() * torch.randn(weight.shape, generator=generator))
    device = next(unet.parameters()).device
    return perturbed.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
