"""Judges at work: does what the player does reach the picture, and can a dream be told apart from the game?

The judge of actions is taught on episodes that the dream was taught on too; both are asked about held-out ones.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dream.judges import accuracy_by_class, ask, new_judge, train_judge
from dream.latents import to_frames
from dream.subject import Subject
from dream.trajectories import window_starts
from dream.unet import UNet

BATCH = 32
SEEN = (-1, 3)  # the inverse dynamics see frames t - 1 ... t + 2 and say which action was chosen at t
CLIP = 16  # frames that the told-apart judge sees
WEAK_NOISE = 0.3  # of each weight tensor's deviation, added to make the weak model


def inverse_dynamics(subject: Subject, starts: Tensor, dreamed: Tensor, num_steps: int, seed: int) -> dict:
    """Accuracy of a judge of actions on real clips, on decoded ones and on dreamed ones, overall and by action.

    starts (M, 2) and dreamed uint8 (M, F, 3, H, W): roll-outs under the recorded actions, as `roll_outs` gives them.
    """
    L, (before, after) = subject.unet.config.context, SEEN
    length = after - before
    pool = torch.from_numpy(window_starts(subject.data.episode_starts, subject.train, length))
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
        return to_frames(subject.real(chosen, 0, length), subject.device), answers.to(subject.device)

    judge = new_judge(length, subject.data.num_actions, seed, subject.device)
    train_judge(judge, batches, F.cross_entropy, num_steps)
    # the action at the last real frame leads to the first dreamed one; whole clips of dreamed frames come after it
    offsets = range(-before, min(dreamed.shape[1], 64) - after + 1, length)
    truth, told = [], {"real": [], "decoded": [], "dream": []}
    for offset in offsets:
        real = subject.real(starts, L + offset + before, length)
        clips = {
            "real": real,
            "decoded": subject.decode(subject.encode(real)),
            "dream": dreamed[:, offset + before : offset + after],
        }
        truth.append(subject.actions(starts, L + offset + 1)[:, -1])
        for kind, clip in clips.items():
            told[kind].append(ask(judge, to_frames(clip, torch.device("cpu"))))
    truth = torch.cat(truth)
    overall, each = {}, {}
    for kind, parts in told.items():
        overall[kind], each[kind] = accuracy_by_class(torch.cat(parts), truth, subject.data.num_actions)
    return {
        "real_accuracy": overall["real"],
        "decoded_accuracy": overall["decoded"],
        "dream_accuracy": overall["dream"],
        "ratio": overall["dream"] / overall["real"] if overall["real"] else None,
        "by_action": {
            name: {"real": each["real"][i], "dream": each["dream"][i], "clips": int((truth == i).sum())}
            for i, name in enumerate(subject.data.action_names)
        },
        "clips": len(truth),
    }


def told_apart(subject: Subject, num_clips: int, num_steps: int, seed: int) -> dict:
    """How often a judge of CLIP frames tells dreamed from real: 0.5 is chance. Of 2 x num_clips clips of held-out
    episodes it learns on those of one half of the starts, and is asked about the other.

    `accuracy`: against real clips that went through the autoencoder; `raw_accuracy`: against the game's own;
    `weak_accuracy`: the same judge, against a dream whose weights were shaken, which it must tell.
    """
    L = subject.unet.config.context
    starts = subject.windows(subject.held_out, L + CLIP, 2 * num_clips, "clips to tell apart")
    # by place in the recording, not at random: neighbours would be nearly the same clip
    half = len(starts) // 2
    actions = subject.actions(starts, L + CLIP - 1)
    raw = subject.real(starts, L, CLIP)
    decoded = subject.decode(subject.encode(raw))
    dreamed = subject.decode(subject.dream(starts, actions, "clips"))
    weak_unet = shaken(subject.unet, seed)
    weak = subject.decode(subject.dream(starts, actions, "clips of the weak model", weak_unet))
    return {
        "accuracy": tell(subject, dreamed, decoded, half, num_steps, seed),
        "raw_accuracy": tell(subject, dreamed, raw, half, num_steps, seed),
        "weak_accuracy": tell(subject, weak, decoded, half, num_steps, seed),
        "clip_frames": CLIP,
        "clips_learned": 2 * half,
        "clips": 2 * (len(starts) - half),
    }


def tell(subject: Subject, dreamed: Tensor, real: Tensor, half: int, num_steps: int, seed: int) -> float:
    """Accuracy on clips uint8 (M, CLIP, 3, H, W) from `half` on of a judge that learned those before."""
    judge = new_judge(CLIP, 2, seed, subject.device)
    generator = torch.Generator().manual_seed(seed)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(half, (2, BATCH // 2), generator=generator)
        clips = torch.cat([dreamed[chosen[0]], real[chosen[1]]])
        answers = torch.arange(2).repeat_interleave(BATCH // 2)
        return to_frames(clips, subject.device), answers.to(subject.device)

    train_judge(judge, batches, F.cross_entropy, num_steps)
    right = [
        ask(judge, to_frames(part, torch.device("cpu"))).argmax(dim=1) == kind
        for kind, clips in enumerate((dreamed, real))
        for part in clips[half:].split(BATCH)
    ]
    return torch.cat(right).float().mean().item()


def shaken(unet: UNet, seed: int) -> UNet:
    """The same network with noise on its weights: a dream that is deliberately weak."""
    weak = UNet(unet.config)
    weak.load_state_dict(unet.state_dict())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in weak.parameters():
            if weight.dim() > 1:
                weight.add_(WEAK_NOISE * weight.std() * torch.randn(weight.shape, generator=generator))
    device = next(unet.parameters()).device
    return weak.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
