"""Where the kart is along the track, read off frames by the lap probe of the model's folder (laps.npz), which was
trained longer than a probe of an evaluation can be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dream.evaluation.evaluator import Evaluator
from dream.evaluation.state_probe import CLIP, StateProbe, recorded_state, state_errors
from dream.inference.load_networks import load_lap_probe
from dream.inference.network_file import Network
from dream.play.views import clip_views

COMPARED_CLIPS = 256  # real ones of held-out episodes, on which the better probe is chosen


def use_lap_probe(evaluator: Evaluator, probe: StateProbe, model_path: Path) -> tuple[StateProbe, dict]:
    """The probe, or one that reads the track position off frames by the laps.npz next to the model, where that is
    closer to the recorded position in real clips; laps.npz may be of another track. And, if there is such a file, the
    mean errors of both in these clips as fractions of a lap.

    A file that is damaged or cannot be run here is not used, and a note is printed."""
    if "truth/place" not in probe.angles:
        return probe, {}
    network = load_lap_probe(model_path, None, "the place is read by the probe that was trained here")
    if network is None:
        return probe, {}
    with_file = replace(probe, place=place_reader(network))
    starts = evaluator.windows(evaluator.held_out, CLIP, COMPARED_CLIPS, "comparing probes of the place")
    clips, labels = evaluator.real_frames(starts, 0, CLIP), recorded_state(evaluator, probe, starts, CLIP - 1)
    errors = [state_errors(each.predict(clips), labels, each)["lap_fraction"] for each in (probe, with_file)]
    return (with_file if errors[1] < errors[0] else probe), {"trained_here": errors[0], "laps_npz": errors[1]}


def place_reader(network: Network) -> Callable[[Tensor], Tensor]:
    """A lap probe as a function of clips uint8 (M, CLIP, 3, H, W) that returns vectors (M, 2), (cos, sin) of the place
    at the last frame."""
    return lambda clips_u8: torch.stack(
        [torch.from_numpy(network(clip_views(clip))) for clip in clips_u8.movedim(2, -1).numpy()]
    )
