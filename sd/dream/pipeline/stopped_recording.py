"""What a recorder that was stopped or has failed has left: enough to train on, or something to remove."""

import shutil

import numpy as np

from dream.common.errors import InputError
from dream.data.trajectories import open_trajectories
from dream.pipeline.stages import Folder

MIN_FRAMES = 2048  # fewer show too little of a game
NUM_COMPARED = 64


def keep_or_remove(folder: Folder) -> str:
    """Removes what an unfinished recording has left in the run's folder, unless the packed file has MIN_FRAMES that are
    not all equal. Returns a line that says what is kept; empty if nothing is."""
    path = folder.recording
    shutil.rmtree(path.with_name(f"{path.stem}.recording"), ignore_errors=True)  # parts that were not packed
    if not path.exists():
        return ""
    try:
        frames = open_trajectories(path).frames
        N, T = frames.shape[:2]
        positions = np.linspace(0, N * T - 1, NUM_COMPARED).astype(int)
        is_frozen = all(np.array_equal(frames[divmod(int(i), T)], frames[0, 0]) for i in positions)
        if N * T >= MIN_FRAMES and not is_frozen:
            return f"note: the recording was stopped at {N * T} frames and is used as it is (remove {path} if not)"
    except InputError:
        pass
    path.unlink()
    return ""
