"""Is the world in its place? A judge reads the game's true state off real frames, and then off dreamed ones.

The truth comes with the recording, as arrays named truth/*: sd/ knows no game.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from dream.agent import Agent
from dream.judges import Judge, angle_error, ask, new_judge, train_judge
from dream.latents import to_frames
from dream.rollout import next_latent
from dream.subject import Subject
from dream.trajectories import window_starts

BATCH = 32
CLIP = 4  # frames that the judge sees; it tells the state at the last
SECONDS = (1, 2, 5)  # into a roll-out
NUMBERS = ("truth/speed", "truth/x", "truth/y")  # in the game's units
ANGLES = {
    "truth/heading": 1.0,
    "truth/place": 2 * math.pi,
}  # name -> radians a unit; place is a share of the lap
SECTORS = 8  # of a lap, which must be passed one after another


@dataclass(frozen=True)
class TruthJudge:
    judge: Judge
    mean: Tensor  # (3,), of NUMBERS
    deviation: Tensor

    def read(self, clips_u8: Tensor) -> dict[str, Tensor]:
        """Of clips uint8 (M, CLIP, 3, H, W): NUMBERS (M,), and ANGLES as (cos, sin) (M, 2) of any length."""
        told = ask(self.judge, to_frames(clips_u8, torch.device("cpu")))
        numbers = told[:, : len(NUMBERS)] * self.deviation + self.mean
        angles = told[:, len(NUMBERS) :].unflatten(1, (len(ANGLES), 2))
        return {
            **{name: numbers[:, i] for i, name in enumerate(NUMBERS)},
            **{name: angles[:, i] for i, name in enumerate(ANGLES)},
        }


def what_is_missing(subject: Subject) -> str:
    missing = [name for name in (*NUMBERS, *ANGLES) if name not in subject.data.extras]
    return f"the recording has no {', '.join(missing)}" if missing else ""


def teach_truth_judge(subject: Subject, num_steps: int, seed: int) -> TruthJudge:
    """On the episodes that the dream was taught on too. Angles are learned as (cos, sin): they have no edge."""
    extras = subject.data.extras
    numbers = np.stack([np.asarray(extras[name]) for name in NUMBERS], axis=-1)
    radians = np.stack([np.asarray(extras[name]) * unit for name, unit in ANGLES.items()], axis=-1)
    numbers, radians = torch.from_numpy(numbers).float(), torch.from_numpy(radians).float()
    mask = torch.from_numpy(subject.train)
    mean, deviation = numbers[mask].mean(dim=0), numbers[mask].std(dim=0) + 1e-6
    pool = torch.from_numpy(window_starts(subject.data.episode_starts, subject.train, CLIP))
    generator = torch.Generator().manual_seed(seed)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        chosen = pool[torch.randint(len(pool), (BATCH,), generator=generator)]
        rows, times = chosen[:, 0], chosen[:, 1] + CLIP - 1
        turned = radians[rows, times]
        turned = torch.stack([turned.cos(), turned.sin()], dim=-1).flatten(1)  # (BATCH, 2 angles x 2)
        answers = torch.cat([(numbers[rows, times] - mean) / deviation, turned], dim=1)
        return to_frames(subject.real(chosen, 0, CLIP), subject.device), answers.to(subject.device)

    judge = new_judge(CLIP, len(NUMBERS) + 2 * len(ANGLES), seed, subject.device)
    return TruthJudge(train_judge(judge, batches, F.smooth_l1_loss, num_steps), mean, deviation)


def truth_errors(subject: Subject, judge: TruthJudge, starts: Tensor, dreamed: Tensor) -> dict:
    """Mean errors of what is read off dreamed frames under the recorded actions, 1, 2 and 5 s into them, beside those
    of what is read off the game's own frames of the same moments. starts (M, 2), dreamed uint8 (M, F, 3, H, W)."""
    L, found = subject.unet.config.context, {}
    for seconds in SECONDS:
        frame = round(seconds * subject.data.fps)
        if CLIP <= frame <= dreamed.shape[1]:
            real = subject.real(starts, L + frame - CLIP, CLIP)
            clips = {"dream": dreamed[:, frame - CLIP : frame], "real": real}
            found[f"after_{seconds}_s"] = {
                kind: errors_of(subject, starts, L + frame - 1, judge.read(clip))
                for kind, clip in clips.items()
            }
    return {**found, "clips": len(starts)}


def errors_of(subject: Subject, starts: Tensor, offset: int, told: dict[str, Tensor]) -> dict[str, float]:
    rows, times = starts[:, 0].numpy(), starts[:, 1].numpy() + offset
    true = {name: torch.from_numpy(subject.data.extras[name][rows, times]).float() for name in told}
    apart = torch.hypot(told["truth/x"] - true["truth/x"], told["truth/y"] - true["truth/y"])
    degrees = {
        name: angle_error(told[name], true[name] * unit).mean().item() * 180 / math.pi
        for name, unit in ANGLES.items()
    }
    return {
        "speed": (told["truth/speed"] - true["truth/speed"]).abs().mean().item(),
        "place": apart.mean().item(),
        "heading_degrees": degrees["truth/heading"],
        "lap_share": degrees["truth/place"] / 360,
    }


@torch.inference_mode()
def laps_in_the_dream(
    subject: Subject, judge: TruthJudge, agent: Agent, starts: Tensor, num_frames: int, seed: int
) -> dict:
    """An agent of the real game drives in the dream, from real contexts at starts (M, 2), for num_frames frames. A lap
    counts where the judge sees its SECTORS passed in order, so that a leap of the dream is none."""
    L, device = subject.unet.config.context, subject.device
    frames = subject.real(starts, 0, L)
    actions = subject.actions(starts, L).to(device)
    context = subject.encode(frames).float().to(device)
    agent.views = None
    for t in range(L):
        agent.see(frames[:, t].movedim(1, -1))
    generator = torch.Generator().manual_seed(seed)
    clip, passed = frames, SectorCount(len(starts))
    for i in tqdm(range(num_frames), desc="the agent drives in the dream", unit="frame", leave=False):
        actions[:, -1] = agent.choose(generator).to(device)
        noise = torch.randn(context[:, -1].shape, generator=generator).to(device)
        latent = next_latent(subject.unet, context, actions, noise, subject.steps)
        context = torch.cat([context[:, 1:], latent[:, None]], dim=1)
        actions = torch.cat([actions[:, 1:], actions[:, -1:]], dim=1)
        frame = subject.decode(latent[:, None])
        agent.see(frame[:, 0].movedim(1, -1))
        clip = torch.cat([clip[:, 1:], frame], dim=1)
        if i % CLIP == CLIP - 1:
            place = judge.read(clip)["truth/place"]
            passed.add(torch.atan2(place[:, 1], place[:, 0]))
    laps = passed.count / SECTORS
    return {
        "laps": laps.tolist(),
        "three_laps": int((laps >= 3).sum()),
        "roll_outs": len(starts),
        "frames": num_frames,
    }


class SectorCount:
    """How many sectors of a lap each of M drivers has passed in order. One counts once it was seen twice running."""

    def __init__(self, num_drivers: int) -> None:
        self.count = torch.zeros(num_drivers)
        self.at = torch.full((num_drivers,), -1)  # the sector that each is in
        self.last_seen = torch.full((num_drivers,), -1)

    def add(self, radians: Tensor) -> None:
        """Places (M,) along the lap, as angles."""
        sector = (radians.remainder(2 * math.pi) / (2 * math.pi) * SECTORS).long().clamp(max=SECTORS - 1)
        sure = sector == self.last_seen
        begins = sure & (self.at < 0)
        moves = sure & (self.at >= 0) & (sector == (self.at + 1) % SECTORS)
        self.count += moves
        self.at = torch.where(begins | moves, sector, self.at)
        self.last_seen = sector
