"""Measures whether rollouts keep the game's state: a probe predicts speed, heading and track position from frames.

The probe is trained on real frames, with the game's state as labels, and applied to generated ones. The labels are
the arrays truth/* of the recording; the code is not specific to a game.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dream.common.errors import InputError
from dream.common.progress import progress_bar
from dream.data.latents import to_float_frames
from dream.data.splits import window_starts
from dream.evaluation.evaluator import Evaluator, draw_noise
from dream.evaluation.probes import ClipProbe, angle_error, make_probe, predict, train_probe
from dream.models.agent import Agent
from dream.models.rollout import sample_next_latent

BATCH = 32
CLIP = 4  # frames that the probe sees; it predicts the state at the last one
SECONDS = (1, 2, 5)  # into a rollout
NUMBERS = ("truth/speed", "truth/x", "truth/y")  # in the game's units
# Radians per unit; truth/place is a fraction of the lap.
ANGLES = {"truth/heading": 1.0, "truth/place": 2 * math.pi}
SECTORS = 8  # of a lap; a lap counts if they are passed in order
CONTROL_FRAMES = 400  # per window of real frames in which laps are counted


@dataclass(frozen=True)
class StateProbe:
    """A trained probe, and the mean and standard deviation by which its numbers are scaled."""

    probe: ClipProbe
    numbers: tuple[str, ...]  # the members of NUMBERS that were recorded
    angles: tuple[str, ...]  # the members of ANGLES that were recorded
    mean: Tensor  # (len(numbers),)
    std: Tensor  # (len(numbers),)
    place: Callable[[Tensor], Tensor] | None = None  # reads truth/place instead: see place_probe.py

    def predict(self, clips_u8: Tensor) -> dict[str, Tensor]:
        """State at the last frame of clips uint8 (M, CLIP, 3, H, W): numbers (M,) and angles as vectors (M, 2), (cos,
        sin) of any length."""
        outputs = predict(self.probe, to_float_frames(clips_u8, torch.device("cpu")))
        n = len(self.numbers)
        numbers = outputs[:, :n] * self.std + self.mean
        vectors = outputs[:, n:].unflatten(1, (len(self.angles), 2))
        state = {
            **{name: numbers[:, i] for i, name in enumerate(self.numbers)},
            **{name: vectors[:, i] for i, name in enumerate(self.angles)},
        }
        return {**state, "truth/place": self.place(clips_u8)} if self.place else state


def train_state_probe(evaluator: Evaluator, num_steps: int, seed: int) -> StateProbe:
    """Trains a probe on the episodes that are not held out. Angles are predicted as (cos, sin), because
    an angle itself jumps at 2 pi.

    Raises InputError if the recording has no state, or a state with values that are not finite.
    """
    extras, shape = evaluator.data.extras, evaluator.data.actions.shape
    names, angles = (
        tuple(name for name in wanted if name in extras and extras[name].shape == shape)
        for wanted in (NUMBERS, ANGLES)
    )
    for name in (*names, *angles):
        if not np.isfinite(extras[name]).all():
            raise InputError(f"{name} of the recording has values that are not finite")
    pool = torch.from_numpy(window_starts(evaluator.data.episode_starts, evaluator.train, CLIP))
    if not names or not angles or len(pool) == 0:
        raise InputError(f"the recording has none of {', '.join(NUMBERS)}, or none of {', '.join(ANGLES)}")
    numbers = torch.stack([torch.from_numpy(np.array(extras[name])).float() for name in names], dim=-1)
    radians = [torch.from_numpy(np.array(extras[name])).float() * ANGLES[name] for name in angles]
    radians = torch.stack(radians, dim=-1)  # (N, T, angles)
    mask = torch.from_numpy(evaluator.train)
    mean, std = numbers[mask].mean(dim=0), numbers[mask].std(dim=0) + 1e-6
    generator = torch.Generator().manual_seed(seed)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        chosen = pool[torch.randint(len(pool), (BATCH,), generator=generator)]
        rows, times = chosen[:, 0], chosen[:, 1] + CLIP - 1
        angle = radians[rows, times]
        vectors = torch.stack([angle.cos(), angle.sin()], dim=-1).flatten(1)  # (BATCH, angles x 2)
        targets = torch.cat([(numbers[rows, times] - mean) / std, vectors], dim=1)
        clips = to_float_frames(evaluator.real_frames(chosen, 0, CLIP), evaluator.device)
        return clips, targets.to(evaluator.device)

    probe = make_probe(CLIP, len(names) + 2 * len(angles), seed, evaluator.device)
    probe = train_probe(probe, batches, F.smooth_l1_loss, num_steps)
    return StateProbe(probe, names, angles, mean, std)


def evaluate_state(evaluator: Evaluator, probe: StateProbe, starts: Tensor, generated: Tensor) -> dict:
    """Mean errors of the predicted state 1, 2 and 5 s into rollouts under the recorded actions.

    starts (M, 2) and generated uint8 (M, F, 3, H, W): from `evaluate_rollouts`. For comparison: errors on the real
    frames of the same moments, on those decoded, and of assuming that the state at the start never changes
    (`no_motion`).
    """
    L, results = evaluator.unet.config.context, {}
    for seconds in SECONDS:
        frame = round(seconds * evaluator.data.fps)
        if not CLIP <= frame <= generated.shape[1]:
            continue
        real = evaluator.real_frames(starts, L + frame - CLIP, CLIP)
        clips = {
            "generated": generated[:, frame - CLIP : frame],
            "decoded": evaluator.decode(evaluator.encode(real)),
            "real": real,
        }
        labels = recorded_state(evaluator, probe, starts, L + frame - 1)
        errors = {kind: state_errors(probe.predict(clip), labels, probe) for kind, clip in clips.items()}
        start = recorded_state(evaluator, probe, starts, L - 1)
        for name in probe.angles:
            start[name] = torch.stack([start[name].cos(), start[name].sin()], dim=1)
        results[f"after_{seconds}_s"] = {**errors, "no_motion": state_errors(start, labels, probe)}
    return {**results, "clips": len(starts)}


def recorded_state(evaluator: Evaluator, probe: StateProbe, starts: Tensor, offset: int) -> dict[str, Tensor]:
    """The recorded state (M,) by name, `offset` frames after starts (M, 2); angles in radians."""
    rows, times = starts[:, 0].numpy(), starts[:, 1].numpy() + offset
    return {
        name: torch.from_numpy(evaluator.data.extras[name][rows, times]).float() * ANGLES.get(name, 1.0)
        for name in (*probe.numbers, *probe.angles)
    }


def state_errors(
    predicted: dict[str, Tensor], labels: dict[str, Tensor], probe: StateProbe
) -> dict[str, float]:
    """Mean absolute errors: speed, and distance between positions, in the game's units; heading in degrees; track
    position as a fraction of a lap. Without the errors of what was not recorded."""
    errors = {}
    if "truth/speed" in predicted:
        errors["speed"] = (predicted["truth/speed"] - labels["truth/speed"]).abs().mean().item()
    if {"truth/x", "truth/y"} <= set(predicted):
        dx, dy = (predicted[name] - labels[name] for name in ("truth/x", "truth/y"))
        errors["distance"] = torch.hypot(dx, dy).mean().item()
    angles = {name: angle_error(predicted[name], labels[name]).mean().item() for name in probe.angles}
    if "truth/heading" in angles:
        errors["heading_degrees"] = math.degrees(angles["truth/heading"])
    if "truth/place" in angles:
        errors["lap_fraction"] = angles["truth/place"] / (2 * math.pi)
    return errors


@torch.inference_mode()
def agent_laps(
    evaluator: Evaluator, probe: StateProbe, agent: Agent, starts: Tensor, num_frames: int
) -> dict:
    """Lets an agent of the real game drive in the world model for num_frames frames, from real contexts at starts
    (M, 2), and counts laps.

    `laps`: sectors passed in order, as predicted by the probe, / SECTORS. After a jump of the predicted track position,
    counting resumes at the sector after the last counted one, so that a jump costs up to a lap. `distance_laps`:
    distance driven in laps, without jumps. Raises InputError if the probe was trained without track positions.
    """
    L, device = evaluator.unet.config.context, evaluator.device
    frames = evaluator.real_frames(starts, 0, L)
    actions = evaluator.actions(starts, L).to(device)
    context = evaluator.encode(frames).float().to(device)
    agent.views = None
    for t in range(L):
        agent.observe(frames[:, t].movedim(1, -1))
    generators = evaluator.generators(torch.arange(len(starts)))
    clip, counter = frames[:, -CLIP:], SectorCount(len(starts))
    for i in progress_bar(
        range(num_frames), desc="agent drives in the world model", unit="frame", leave=False
    ):
        actions[:, -1] = agent.act(generators).to(device)
        noise = draw_noise(generators, context.shape[2:]).to(device)
        latent = sample_next_latent(evaluator.unet, context, actions, noise, evaluator.steps)
        context = torch.cat([context[:, 1:], latent[:, None]], dim=1)
        actions = torch.cat([actions[:, 1:], actions[:, -1:]], dim=1)
        frame = evaluator.decode(latent[:, None])
        agent.observe(frame[:, 0].movedim(1, -1))
        clip = torch.cat([clip, frame], dim=1)[:, -CLIP:]
        if i % CLIP == CLIP - 1:
            counter.update(predicted_track_position(probe, clip))
    laps = counter.passed / SECTORS
    return {
        "laps": laps.tolist(),
        "distance_laps": (counter.distance / SECTORS).tolist(),
        "three_laps": int((laps >= 3).sum()),
        "num_rollouts": len(starts),
        "frames": num_frames,
    }


def lap_count_on_real_frames(evaluator: Evaluator, probe: StateProbe, count: int) -> dict:
    """Validates the lap counter: the total of laps in `count` held-out windows of CONTROL_FRAMES real frames, counted
    from the probe's predictions (`predicted`) and from the recorded state (`recorded`)."""
    starts = evaluator.windows(evaluator.held_out, CONTROL_FRAMES, count, "laps in real frames")
    predicted, recorded = SectorCount(len(starts)), SectorCount(len(starts))
    for i in range(0, CONTROL_FRAMES - CLIP + 1, CLIP):
        predicted.update(predicted_track_position(probe, evaluator.real_frames(starts, i, CLIP)))
        recorded.update(recorded_state(evaluator, probe, starts, i + CLIP - 1)["truth/place"])
    counters = (("predicted", predicted), ("recorded", recorded))
    laps = {name: counter.passed.sum().item() / SECTORS for name, counter in counters}
    return {**laps, "windows": len(starts), "frames": CONTROL_FRAMES}


def predicted_track_position(probe: StateProbe, clips_u8: Tensor) -> Tensor:
    """Track position (M,), as an angle in radians, of clips uint8 (M, CLIP, 3, H, W). Raises InputError if the probe
    was trained without truth/place."""
    if "truth/place" not in probe.angles:
        raise InputError("the recording has no truth/place")
    vectors = probe.predict(clips_u8)["truth/place"]
    return torch.atan2(vectors[:, 1], vectors[:, 0])


class SectorCount:
    """Counts for each of M drivers the sectors of a lap that are passed in order (`passed`) and the sectors by which it
    advances, without jumps (`distance`); both float32 (M,). A sector is accepted if it is predicted twice in a row."""

    def __init__(self, num_drivers: int) -> None:
        self.passed, self.distance = torch.zeros(num_drivers), torch.zeros(num_drivers)
        self.last_passed = torch.full((num_drivers,), -1)  # the last sector that was passed in order
        self.current = torch.full((num_drivers,), -1)  # the last accepted sector
        self.last_predicted = torch.full((num_drivers,), -1)

    def update(self, positions: Tensor) -> None:
        """positions: track positions (M,) as angles in radians."""
        sector = (positions.remainder(2 * math.pi) / (2 * math.pi) * SECTORS).long().clamp(max=SECTORS - 1)
        accepted = sector == self.last_predicted
        first = accepted & (self.last_passed < 0)
        in_order = accepted & (self.last_passed >= 0) & (sector == (self.last_passed + 1) % SECTORS)
        self.passed += in_order
        self.last_passed = torch.where(first | in_order, sector, self.last_passed)
        advance = (sector - self.current + 1) % SECTORS - 1  # -1: one back, 1: one ahead; all else is a jump
        self.distance += torch.where(accepted & (self.current >= 0) & (advance.abs() == 1), advance, 0)
        self.current = torch.where(accepted, sector, self.current)
        self.last_predicted = sector
