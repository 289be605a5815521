"""Whether a recording is worth training on; what a recorder that was stopped or has failed has left."""

import shutil

import numpy as np

from dream.common.errors import InputError
from dream.data.trajectories import Trajectories, open_trajectories
from dream.pipeline.stages import Folder

MIN_FRAMES = 2048  # fewer show too little of a game
NUM_COMPARED = 64


def check_recording(folder: Folder) -> None:
    """Raises InputError if the recording cannot be read, or if all its actions, or all its frames, are the same."""
    data = open_trajectories(folder.recording)
    if data.actions.min() == data.actions.max():
        action = data.action_names[data.actions.min()]
        raise InputError(
            f"{folder.recording}: its only action is {action!r}, so keys would do nothing: record others too"
        )
    if is_frozen(data):
        raise InputError(f"{folder.recording}: its picture never changes: nothing can be learned from it")


def is_frozen(data: Trajectories) -> bool:
    """Whether NUM_COMPARED frames, evenly spaced, are all the same picture."""
    N, T = data.frames.shape[:2]
    positions = np.linspace(0, N * T - 1, NUM_COMPARED).astype(int)
    return all(np.array_equal(data.frames[divmod(int(i), T)], data.frames[0, 0]) for i in positions)


def keep_or_remove(folder: Folder) -> str:
    """Removes what an unfinished recording has left in the run's folder, unless the packed file has MIN_FRAMES that are
    not all equal. Returns a line that says what is kept; empty if nothing is."""
    path = folder.recording
    shutil.rmtree(path.with_name(f"{path.stem}.recording"), ignore_errors=True)  # parts that were not packed
    if not path.exists():
        return ""
    try:
        data = open_trajectories(path)
        if data.num_frames >= MIN_FRAMES and not is_frozen(data):
            num = data.num_frames
            return (
                f"note: the recording was stopped at {num} frames and is used as it is (remove {path} if not)"
            )
    except InputError:
        pass
    path.unlink()
    return ""
