"""Where the kart is along the track, read off frames by the lap probe of the model's folder (laps.npz), which was
trained longer than a probe of an evaluation can be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dream.evaluation.evaluator import Evaluator
from dream.evaluation.state_probe import CLIP, StateProbe, recorded_state, state_errors
from dream.inference.load_networks import find_network, pick_runtime
from dream.inference.network_file import load_network
from dream.play.views import clip_views

COMPARED_CLIPS = 256  # real ones, on which the better probe is chosen


def use_lap_probe(evaluator: Evaluator, probe: StateProbe, model_path: Path) -> tuple[StateProbe, dict]:
    """The probe, or one that reads the track position off frames by the laps.npz next to the model, where that is
    closer to the recorded one in real clips; and, where there is such a file, the mean errors of both in these clips as
    fractions of a lap.

    The clips are of the episodes that are not held out, which the probe was trained on and the file was not: another
    track, for example, shows. Raises InputError if the file is damaged or cannot be run here."""
    path = find_network(model_path, "laps.npz")
    if path is None or "truth/place" not in probe.angles:
        return probe, {}
    with_file = replace(probe, place=load_place_probe(path))
    starts = evaluator.windows(evaluator.train, CLIP, COMPARED_CLIPS, "comparing probes of the place")
    clips, labels = evaluator.real_frames(starts, 0, CLIP), recorded_state(evaluator, probe, starts, CLIP - 1)
    errors = [state_errors(each.predict(clips), labels, each)["lap_fraction"] for each in (probe, with_file)]
    return (with_file if errors[1] < errors[0] else probe), {"trained_here": errors[0], "laps_npz": errors[1]}


def load_place_probe(path: Path) -> Callable[[Tensor], Tensor]:
    """The network of a laps.npz, as a function of clips uint8 (M, CLIP, 3, H, W) that returns vectors (M, 2), (cos,
    sin) of the place at the last frame. Raises InputError if the file is damaged or cannot be run here."""
    network = load_network(path, "laps", pick_runtime(None, path), num_outputs=2)
    return lambda clips_u8: torch.stack(
        [torch.from_numpy(network(clip_views(clip))) for clip in clips_u8.movedim(2, -1).numpy()]
    )
