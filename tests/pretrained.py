"""The pretrained world model of the repository: its files, and how far the picture of two frames moves."""

from pathlib import Path

import numpy as np

PRETRAINED = Path(__file__).resolve().parent.parent / "sd" / "pretrained"
# Names of the files by the options of play_sd.py.
PRETRAINED_FILES = {
    "decoder_path": "decoder.pt",
    "model_path": "model.pt",
    "trajectory_path": "initial_sequence.npz",
}
HILLS = slice(16, 27)  # rows of the picture, the panorama above the horizon
REACH = 24  # columns that it moves in a frame, at most


def moved_right(before: np.ndarray, after: np.ndarray) -> int:
    """By how many columns the hills of two frames (H, W, 3) moved."""
    middle = before[HILLS, REACH:-REACH].astype(int)
    shifts = range(-REACH, REACH + 1)
    errors = [
        np.abs(after[HILLS, REACH + s : after.shape[1] - REACH + s].astype(int) - middle).mean()
        for s in shifts
    ]
    return shifts[int(np.argmin(errors))]
