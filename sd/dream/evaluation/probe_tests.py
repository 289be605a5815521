"""Judges at work: does what the player does reach the picture, and can a dream be told apart from the game?

Both are taught on episodes that are not held out, which a dream of this recording was taught on too, and asked about
those that are.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dream.common.errors import InputError
from dream.data.latents import to_float_frames
from dream.data.splits import window_starts
from dream.evaluation.evaluator import Subject, sticky_keys
from dream.evaluation.frame_quality import compare
from dream.evaluation.probes import accuracy_by_class, ask, new_judge, train_judge
from dream.models.unet import UNet

BATCH = 32  # clips of a few frames
CLIP_BATCH = 16  # clips of CLIP frames
SEEN = (-1, 3)  # the judge of actions sees frames t - 1 ... t + 2 and says which was chosen at t
SHOWN_FRAMES = 32  # of each roll-out, cut into clips for the judge of actions
CLIP = 16  # frames that the told-apart judge sees
GLIMPSE = 3  # of them at a time, while it learns
LEARNED = 3  # clips to learn from for one to be asked about
# Of each weight tensor's deviation, added to make weak models: of a hardly and of a clearly worse dream.
WEAK_NOISE = {"weak": 0.05, "weaker": 0.15}


def inverse_dynamics(subject: Subject, starts: Tensor, dreamed: Tensor, num_steps: int, seed: int) -> dict:
    """Accuracy of a judge of actions on real clips, on decoded ones and on dreamed ones, over all clips and by action.

    starts (M, 2) and dreamed uint8 (M, F, 3, H, W): roll-outs under the recorded actions, as `roll_outs` gives them.
    There a scene alone gives the likely action away; so the same is asked where random keys drive the dream.
    """
    L, (before, after) = subject.unet.config.context, SEEN
    length = after - before
    offsets = range(-before, min(dreamed.shape[1], SHOWN_FRAMES) - after + 1, length)
    if not offsets:
        raise InputError(f"roll-outs of {dreamed.shape[1]} frames are too short for clips of {length}")
    judge = teach_action_judge(subject, length, num_steps, seed)
    num_actions = subject.unet.config.num_actions
    num_shown = min(dreamed.shape[1], SHOWN_FRAMES)
    keys = subject.actions(starts, L + num_shown - 1)
    keys[:, L - 1 :] = sticky_keys(len(starts), num_shown, num_actions, seed)
    wandering = subject.decode(subject.dream(starts, keys, "random keys"))

    truth, random_truth, told = [], [], {"real": [], "decoded": [], "dream": [], "dream_random": []}
    for offset in offsets:  # of dreamed frames: the one at which the action was chosen
        part = slice(offset + before, offset + after)
        real = subject.real(starts, L + part.start, length)
        clips = {"real": real, "decoded": subject.decode(subject.encode(real)), "dream": dreamed[:, part],
                 "dream_random": wandering[:, part]}  # fmt: skip
        truth.append(subject.actions(starts, L + offset + 1)[:, -1])
        random_truth.append(keys[:, L + offset])
        for kind, clip in clips.items():
            told[kind].append(ask(judge, to_float_frames(clip, torch.device("cpu"))))
    truths = {kind: torch.cat(random_truth if kind == "dream_random" else truth) for kind in told}
    overall, each, found = {}, {}, {}
    for kind, parts in told.items():
        overall[kind], each[kind] = accuracy_by_class(
            torch.cat(parts), truths[kind], subject.data.num_actions
        )
        found[f"{kind}_accuracy"] = overall[kind]
        some = [share for share in each[kind] if share is not None]
        found[f"{kind}_accuracy_by_class"] = sum(some) / len(some)
    counts = torch.bincount(truths["real"], minlength=subject.data.num_actions)
    return {
        **found,
        "commonest_action": counts.max().item()
        / counts.sum().item(),  # what a judge would reach that never looks
        "by_action": {
            name: {"real": each["real"][i], "dream": each["dream"][i], "clips": int(counts[i])}
            for i, name in enumerate(subject.data.action_names)
        },
        "clips": int(counts.sum()),
    }


def teach_action_judge(subject: Subject, length: int, num_steps: int, seed: int) -> torch.nn.Module:
    before = SEEN[0]
    pool = torch.from_numpy(window_starts(subject.data.episode_starts, subject.train, length))
    if len(pool) == 0:
        raise InputError(f"no {length} frames in a row to teach the judge of actions")
    of_action = subject.data.actions[pool[:, 0], pool[:, 1] - before]
    by_action = [pool[of_action == action] for action in np.unique(of_action)]
    generator = torch.Generator().manual_seed(seed)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        """As many of every action: a judge of rare ones must not be right by always saying the common one."""
        kinds = torch.randint(len(by_action), (BATCH,), generator=generator).tolist()
        chosen = torch.stack(
            [by_action[k][torch.randint(len(by_action[k]), (), generator=generator)] for k in kinds]
        )
        answers = subject.actions(chosen, 1 - before)[:, -1]
        return to_float_frames(subject.real(chosen, 0, length), subject.device), answers.to(subject.device)

    judge = new_judge(length, subject.data.num_actions, seed, subject.device)
    return train_judge(judge, batches, F.cross_entropy, num_steps)


def told_apart(subject: Subject, num_clips: int, num_steps: int, seed: int) -> dict:
    """How often a judge of CLIP frames tells dreamed from real: 0.5 is chance. It learns from LEARNED x num_clips of
    episodes that are not held out, and is asked about num_clips of those that are.

    `accuracy` is of all clips asked about, `accuracy_moving` without those of a kart that stands: in them any dream is
    the picture that it began from, and nobody can tell, so nothing is learned from them. It stands beside that on the
    clips learned. `decoded`: against real clips that went through the autoencoder; `raw`: against the game's own;
    `weak` and `weaker`: dreams with shaken weights against decoded ones, which a judge of this kind must tell.
    `psnr_db` is of a dream's last frames, of the clips asked about.
    """
    L = subject.unet.config.context
    starts = [
        subject.windows(mask, L + CLIP, count * num_clips, "clips to tell apart")
        for mask, count in ((subject.train, LEARNED), (subject.held_out, 1))
    ]
    learned = torch.arange(sum(map(len, starts))) < len(starts[0])
    starts = torch.cat(starts)
    actions = subject.actions(starts, L + CLIP - 1)
    raw = subject.real(starts, L, CLIP)
    decoded = subject.decode(subject.encode(raw))
    moving = (raw[:, 1:] != raw[:, :-1]).flatten(1).any(dim=1)
    if not all(moving[part].any() for part in (learned, ~learned)):
        raise InputError("in no clip does anything move")

    found = {}
    models = {"decoded": subject.unet}
    models |= {kind: shake(subject.unet, noise, seed) for kind, noise in WEAK_NOISE.items()}
    for kind, model in models.items():
        dreamed = subject.decode(subject.dream(starts, actions, f"clips of the dream ({kind})", model))
        found[kind] = tell(subject, dreamed, decoded, learned, moving, num_steps, seed)
        shown, last = (clips[~learned, -1] for clips in (dreamed, raw))
        found[kind]["psnr_db"] = compare(shown, last, None, subject.device)["psnr"].mean().item()
        if kind == "decoded":
            found["raw"] = tell(subject, dreamed, raw, learned, moving, num_steps, seed)
        del dreamed, shown, last  # gigabytes, in a full evaluation
    return {
        "accuracy": found["decoded"]["accuracy"],
        **found,
        "clip_frames": CLIP,
        "clips_learned": 2 * int((learned & moving).sum()),
        "clips": 2 * int((~learned).sum()),
        "clips_moving": 2 * int((~learned & moving).sum()),
    }


def tell(
    subject: Subject,
    dreamed: Tensor,
    real: Tensor,
    learned: Tensor,
    moving: Tensor,
    num_steps: int,
    seed: int,
) -> dict:
    """Accuracy of a judge of clips uint8 (M, CLIP, 3, H, W) on those that are not among the `learned`, bool (M,), on
    those of them that are `moving`, bool (M,), and on those learned. It learns from GLIMPSE frames of each, half of the
    time flipped left to right, so that few clips go further."""
    judge = new_judge(None, 2, seed, subject.device)
    generator = torch.Generator().manual_seed(seed)
    pool = (learned & moving).nonzero()[:, 0]

    def batches(step: int) -> tuple[Tensor, Tensor]:
        chosen = pool[torch.randint(len(pool), (2, CLIP_BATCH // 2), generator=generator)]
        begin = torch.randint(CLIP - GLIMPSE + 1, (), generator=generator).item()
        seen = slice(begin, begin + GLIMPSE)
        clips = torch.cat([dreamed[chosen[0], seen], real[chosen[1], seen]])
        flipped = torch.rand(len(clips), generator=generator) < 0.5
        clips[flipped] = clips[flipped].flip(-1)
        answers = torch.arange(2).repeat_interleave(CLIP_BATCH // 2)
        return to_float_frames(clips, subject.device), answers.to(subject.device)

    train_judge(judge, batches, F.cross_entropy, num_steps)
    right = [
        torch.cat(
            [
                ask(judge, to_float_frames(part, torch.device("cpu"))).argmax(dim=1) == kind
                for part in clips.split(CLIP_BATCH)
            ]
        )
        for kind, clips in enumerate((dreamed, real))
    ]
    right = torch.stack(right).float()  # (2, M)
    return {
        "accuracy": right[:, ~learned].mean().item(),
        "accuracy_moving": right[:, ~learned & moving].mean().item(),
        "accuracy_on_learned": right[:, learned & moving].mean().item(),
    }


def shake(unet: UNet, noise: float, seed: int) -> UNet:
    """The same network with noise on its weights, of a share of their deviation: a dream that is deliberately weak. In
    PyTorch, whichever backend dreams otherwise: weights of an export stay as they are."""
    weak = UNet(unet.config)
    weak.load_state_dict(unet.state_dict())
    weak.autoencoder = unet.autoencoder
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in weak.parameters():
            if weight.dim() > 1:
                weight.add_(noise * weight.std() * torch.randn(weight.shape, generator=generator))
    device = next(unet.parameters()).device
    return weak.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
