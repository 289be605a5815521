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

from dream.common.errors import InputError
from dream.data.latents import to_float_frames
from dream.data.splits import window_starts
from dream.evaluation.evaluator import Subject
from dream.evaluation.probes import Judge, angle_error, ask, new_judge, train_judge
from dream.models.agent import Agent
from dream.models.rollout import sample_next_latent

BATCH = 32
CLIP = 4  # frames that the judge sees; it tells the state at the last
SECONDS = (1, 2, 5)  # into a roll-out
NUMBERS = ("truth/speed", "truth/x", "truth/y")  # in the game's units
ANGLES = {
    "truth/heading": 1.0,
    "truth/place": 2 * math.pi,
}  # name -> radians a unit; place is a share of the lap
SECTORS = 8  # of a lap, which must be passed one after another
CONTROL_FRAMES = 400  # of the game itself, in which laps are counted


@dataclass(frozen=True)
class TruthJudge:
    judge: Judge
    numbers: tuple[str, ...]  # those of NUMBERS that were recorded
    angles: tuple[str, ...]
    mean: Tensor  # of the numbers, (len(numbers),)
    deviation: Tensor

    def read(self, clips_u8: Tensor) -> dict[str, Tensor]:
        """Of clips uint8 (M, CLIP, 3, H, W): numbers (M,), and angles as (cos, sin) (M, 2) of any length."""
        told = ask(self.judge, to_float_frames(clips_u8, torch.device("cpu")))
        n = len(self.numbers)
        plain, turned = (
            told[:, :n] * self.deviation + self.mean,
            told[:, n:].unflatten(1, (len(self.angles), 2)),
        )
        return {
            **{name: plain[:, i] for i, name in enumerate(self.numbers)},
            **{name: turned[:, i] for i, name in enumerate(self.angles)},
        }


def teach_truth_judge(subject: Subject, num_steps: int, seed: int) -> TruthJudge:
    """On the episodes that the dream was taught on too. Angles are learned as (cos, sin): they have no edge. Raises
    BadInput where the recording has no truth, or one that is not finite."""
    extras = subject.data.extras
    shape = subject.data.actions.shape
    names, angles = (
        tuple(name for name in wanted if name in extras and extras[name].shape == shape)
        for wanted in (NUMBERS, ANGLES)
    )
    for name in (*names, *angles):
        if not np.isfinite(extras[name]).all():
            raise InputError(f"{name} of the recording is not a finite number everywhere")
    pool = torch.from_numpy(window_starts(subject.data.episode_starts, subject.train, CLIP))
    if not names or not angles or len(pool) == 0:
        raise InputError(f"the recording has none of {', '.join(NUMBERS)}, or none of {', '.join(ANGLES)}")
    numbers = torch.stack([torch.from_numpy(np.array(extras[name])).float() for name in names], dim=-1)
    radians = [torch.from_numpy(np.array(extras[name])).float() * ANGLES[name] for name in angles]
    radians = torch.stack(radians, dim=-1)  # (N, T, angles)
    mask = torch.from_numpy(subject.train)
    mean, deviation = numbers[mask].mean(dim=0), numbers[mask].std(dim=0) + 1e-6
    generator = torch.Generator().manual_seed(seed)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        chosen = pool[torch.randint(len(pool), (BATCH,), generator=generator)]
        rows, times = chosen[:, 0], chosen[:, 1] + CLIP - 1
        turned = radians[rows, times]
        turned = torch.stack([turned.cos(), turned.sin()], dim=-1).flatten(1)  # (BATCH, angles x 2)
        answers = torch.cat([(numbers[rows, times] - mean) / deviation, turned], dim=1)
        return to_float_frames(subject.real(chosen, 0, CLIP), subject.device), answers.to(subject.device)

    judge = new_judge(CLIP, len(names) + 2 * len(angles), seed, subject.device)
    judge = train_judge(judge, batches, F.smooth_l1_loss, num_steps)
    return TruthJudge(judge, names, angles, mean, deviation)


def truth_errors(subject: Subject, judge: TruthJudge, starts: Tensor, dreamed: Tensor) -> dict:
    """Mean errors of what is read off dreamed frames under the recorded actions, 1, 2 and 5 s into them; beside those
    off the game's own frames of the same moments, off those decoded, and of saying that nothing has changed since the
    dream began (`stood`). starts (M, 2), dreamed uint8 (M, F, 3, H, W)."""
    L, found = subject.unet.config.context, {}
    for seconds in SECONDS:
        frame = round(seconds * subject.data.fps)
        if not CLIP <= frame <= dreamed.shape[1]:
            continue
        real = subject.real(starts, L + frame - CLIP, CLIP)
        clips = {
            "dream": dreamed[:, frame - CLIP : frame],
            "decoded": subject.decode(subject.encode(real)),
            "real": real,
        }
        true = true_state(subject, judge, starts, L + frame - 1)
        kinds = {kind: errors_of(judge.read(clip), true, judge) for kind, clip in clips.items()}
        before = true_state(subject, judge, starts, L - 1)
        for name in judge.angles:
            before[name] = torch.stack([before[name].cos(), before[name].sin()], dim=1)
        found[f"after_{seconds}_s"] = {**kinds, "stood": errors_of(before, true, judge)}
    return {**found, "clips": len(starts)}


def true_state(subject: Subject, judge: TruthJudge, starts: Tensor, offset: int) -> dict[str, Tensor]:
    """The recorded truth (M,) by name, `offset` frames into windows at starts (M, 2); angles in radians."""
    rows, times = starts[:, 0].numpy(), starts[:, 1].numpy() + offset
    return {
        name: torch.from_numpy(subject.data.extras[name][rows, times]).float() * ANGLES.get(name, 1.0)
        for name in (*judge.numbers, *judge.angles)
    }


def errors_of(told: dict[str, Tensor], true: dict[str, Tensor], judge: TruthJudge) -> dict[str, float]:
    """Mean errors: of speed, and distance between places, in the game's units; heading in degrees; share of a lap."""
    found = {}
    if "truth/speed" in told:
        found["speed"] = (told["truth/speed"] - true["truth/speed"]).abs().mean().item()
    if {"truth/x", "truth/y"} <= set(told):
        apart = torch.hypot(told["truth/x"] - true["truth/x"], told["truth/y"] - true["truth/y"])
        found["distance"] = apart.mean().item()
    turned = {name: angle_error(told[name], true[name]).mean().item() for name in judge.angles}
    if "truth/heading" in turned:
        found["heading_degrees"] = math.degrees(turned["truth/heading"])
    if "truth/place" in turned:
        found["lap_share"] = turned["truth/place"] / (2 * math.pi)
    return found


@torch.inference_mode()
def laps_in_the_dream(
    subject: Subject, judge: TruthJudge, agent: Agent, starts: Tensor, num_frames: int, seed: int
) -> dict:
    """An agent of the real game drives in the dream, from real contexts at starts (M, 2), for num_frames frames. A lap
    counts where the judge sees its SECTORS passed in order, so that a leap of the dream is none, and most of a lap is
    lost by it; `driven` is how far the kart came, in laps, leaps left out."""
    L, device = subject.unet.config.context, subject.device
    frames = subject.real(starts, 0, L)
    actions = subject.actions(starts, L).to(device)
    context = subject.encode(frames).float().to(device)
    agent.views = None
    for t in range(L):
        agent.observe(frames[:, t].movedim(1, -1))
    generator = torch.Generator().manual_seed(seed)
    clip, passed = frames[:, -CLIP:], SectorCount(len(starts))
    for i in tqdm(range(num_frames), desc="the agent drives in the dream", unit="frame", leave=False):
        actions[:, -1] = agent.act(generator).to(device)
        noise = torch.randn(context[:, -1].shape, generator=generator).to(device)
        latent = sample_next_latent(subject.unet, context, actions, noise, subject.steps)
        context = torch.cat([context[:, 1:], latent[:, None]], dim=1)
        actions = torch.cat([actions[:, 1:], actions[:, -1:]], dim=1)
        frame = subject.decode(latent[:, None])
        agent.observe(frame[:, 0].movedim(1, -1))
        clip = torch.cat([clip, frame], dim=1)[:, -CLIP:]
        if i % CLIP == CLIP - 1:
            passed.add(place_seen(judge, clip))
    laps = passed.count / SECTORS
    return {
        "laps": laps.tolist(),
        "driven": (passed.driven / SECTORS).tolist(),
        "three_laps": int((laps >= 3).sum()),
        "roll_outs": len(starts),
        "frames": num_frames,
    }


def lap_control(subject: Subject, judge: TruthJudge, count: int) -> dict:
    """What the count of laps itself gets wrong: laps in `count` held-out windows of the game's own frames, all
    together, as the judge sees them (`seen`) and by the truth (`true`)."""
    starts = subject.windows(subject.held_out, CONTROL_FRAMES, count, "laps of the game itself")
    seen, true = SectorCount(len(starts)), SectorCount(len(starts))
    for i in range(0, CONTROL_FRAMES - CLIP + 1, CLIP):
        seen.add(place_seen(judge, subject.real(starts, i, CLIP)))
        true.add(true_state(subject, judge, starts, i + CLIP - 1)["truth/place"])
    laps = {name: one.count.sum().item() / SECTORS for name, one in (("seen", seen), ("true", true))}
    return {**laps, "windows": len(starts), "frames": CONTROL_FRAMES}


def place_seen(judge: TruthJudge, clips_u8: Tensor) -> Tensor:
    """Radians (M,) along the lap, of clips uint8 (M, CLIP, 3, H, W). Or BadInput: it has learned none."""
    if "truth/place" not in judge.angles:
        raise InputError("the recording has no truth/place")
    place = judge.read(clips_u8)["truth/place"]
    return torch.atan2(place[:, 1], place[:, 0])


class SectorCount:
    """How many sectors of a lap each of M drivers has passed in order (`count`), and how many they came forward
    wherever a leap had put them (`driven`). One counts once it was seen twice running."""

    def __init__(self, num_drivers: int) -> None:
        self.count, self.driven = torch.zeros(num_drivers), torch.zeros(num_drivers)
        self.at = torch.full((num_drivers,), -1)  # the last sector that counted
        self.here = torch.full((num_drivers,), -1)  # the sector that each is in
        self.last_seen = torch.full((num_drivers,), -1)

    def add(self, radians: Tensor) -> None:
        """Places (M,) along the lap, as angles."""
        sector = (radians.remainder(2 * math.pi) / (2 * math.pi) * SECTORS).long().clamp(max=SECTORS - 1)
        sure = sector == self.last_seen
        begins = sure & (self.at < 0)
        moves = sure & (self.at >= 0) & (sector == (self.at + 1) % SECTORS)
        self.count += moves
        self.at = torch.where(begins | moves, sector, self.at)
        onward = (sector - self.here + 1) % SECTORS - 1  # -1: one back, 1: one on; all else is a leap
        self.driven += torch.where(sure & (self.here >= 0) & (onward.abs() == 1), onward, 0)
        self.here = torch.where(sure, sector, self.here)
        self.last_seen = sector
