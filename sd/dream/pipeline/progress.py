"""What a run has reached, read from the files that the training scripts write: metrics and preview pictures."""

import csv
from pathlib import Path
from typing import NamedTuple

from dream.pipeline.stages import Folder


class Preview(NamedTuple):
    """A picture that a training script has written, with a line that explains it. `num_rows`: of the grid in it."""

    path: Path
    caption: str
    row_names: tuple[str, ...] = ()


def last_metrics(run_dir: Path) -> dict[str, float]:
    """The last row of a run's metrics.csv by name; empty if there is none yet."""
    try:
        with open(run_dir / "metrics.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {name: float(value) for name, value in rows[-1].items() if value} if rows else {}
    except (OSError, ValueError, csv.Error):
        return {}


def summary(folder: Folder) -> str:
    """How good the run's latest model is, in a few words; empty before the first measurement."""
    model = last_metrics(folder.model)
    horizons = sorted(int(name.rsplit("_")[-1]) for name in model if name.startswith("psnr/rollout_"))
    if horizons:
        horizon = horizons[len(horizons) // 2]
        generated, still = model[f"psnr/rollout_{horizon}"], model[f"psnr/copy_first_{horizon}"]
        return f"after {horizon} frames {generated:.1f} dB (a still picture: {still:.1f})"
    autoencoder = last_metrics(folder.autoencoder).get("psnr/autoencoder")
    return "" if autoencoder is None else f"frames are reconstructed at {autoencoder:.1f} dB"


def previews(folder: Folder, action_names: tuple[str, ...]) -> list[Preview]:
    """The latest pictures of the stage that the run has reached."""
    found = [
        (folder.model, "_film", "above the game, below the model from the same keys; 8 frames from picture to picture",
         ("game", "model")),
        (folder.model, "_actions", "the model while each action is held; 4 frames from picture to picture",
         action_names),
    ]  # fmt: skip
    if not last_metrics(folder.model):
        caption = "above frames of the recording, below the same, encoded and decoded"
        found = [(folder.autoencoder, "", caption, ("game", "decoded"))]
    latest = [
        (sorted((run / "previews").glob(f"step_*{kind}.png")), caption, rows)
        for run, kind, caption, rows in found
    ]
    return [Preview(paths[-1], caption, rows) for paths, caption, rows in latest if paths]
