"""What a run has reached, read from the files that the training scripts write: metrics and preview pictures."""

import csv
from pathlib import Path
from typing import NamedTuple

from dream.common.limits import ACTION_EVERY, MAX_ACTION_ROWS
from dream.pipeline.stages import Folder


class Preview(NamedTuple):
    """A grid of pictures that a training script has written, a line that explains it, and what its rows are."""

    path: Path
    caption: str
    row_names: tuple[str, ...] = ()


def last_metrics(run_dir: Path, name: str) -> dict[str, float]:
    """The last row of a run's metrics.csv that has the metric `name`, by name; empty if there is none yet: not every
    epoch is measured."""
    try:
        with open(run_dir / "metrics.csv", encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get(name)]
        return {name: float(value) for name, value in rows[-1].items() if value} if rows else {}
    except (OSError, ValueError, csv.Error):
        return {}


class RolloutQuality(NamedTuple):
    """Of held-out frames, dB: generated ones after `horizon` frames, and the first frame repeated."""

    horizon: int
    generated: float
    still: float

    @property
    def moves(self) -> bool:
        return self.generated > self.still + 0.5


def rollout_quality(folder: Folder) -> RolloutQuality | None:
    """How good the run's model is; None before it was measured."""
    for horizon in (16, 4, 1):  # a short recording has no long episodes
        metrics = last_metrics(folder.model, f"psnr/rollout_{horizon}")
        if metrics:
            return RolloutQuality(
                horizon, metrics[f"psnr/rollout_{horizon}"], metrics[f"psnr/copy_first_{horizon}"]
            )
    return None


def summary(folder: Folder) -> str:
    """How good the run's latest network is, in a few words; empty before the first measurement."""
    quality = rollout_quality(folder)
    if quality:
        return f"{quality.generated:.1f} dB after {quality.horizon} frames (still: {quality.still:.1f})"
    autoencoder = last_metrics(folder.autoencoder, "psnr/autoencoder").get("psnr/autoencoder")
    return "" if autoencoder is None else f"frames decoded at {autoencoder:.1f} dB"


def previews(folder: Folder, action_names: tuple[str, ...]) -> list[Preview]:
    """The latest pictures of the stage that the run has reached."""
    rollout = "above the game, below the model under the same actions"
    actions = f"the model while each action is held; every {ACTION_EVERY}th frame"
    decoded = "above frames of the recording, below the same, encoded and decoded"
    found = [
        latest_preview(folder.model, "_film", rollout, ("game", "model")),
        latest_preview(folder.model, "_actions", actions, action_names[:MAX_ACTION_ROWS]),
    ]
    if not any(found):
        found = [latest_preview(folder.autoencoder, "", decoded, ("game", "decoded"))]
    return [preview for preview in found if preview]


def latest_preview(run_dir: Path, kind: str, caption: str, row_names: tuple[str, ...]) -> Preview | None:
    paths = sorted((run_dir / "previews").glob(f"step_*{kind}.png"))
    return Preview(paths[-1], caption, row_names) if paths else None
