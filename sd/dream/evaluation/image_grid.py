"""Writes rows of frames as one PNG file."""

from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image


def save_image_grid(rows: list[Tensor], path: Path) -> None:
    """Writes rows of frames (F, 3, H, W), 0-1, all of the same length F, from top to bottom. Creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = torch.cat([row.float().cpu().clamp(0, 1) for row in rows])
    save_image(make_grid(frames, nrow=len(rows[0]), padding=2, pad_value=1.0), str(path))
