"""The agent's observation, in NumPy: the last frames, small and grey."""

import numpy as np

from dream.common.agent_view import preprocess_frame
from dream.common.limits import STACK


def push_view(views: np.ndarray | None, frame_u8: np.ndarray) -> np.ndarray:
    """The observation after another frame, uint8 (H, W, 3), as a new array uint8 (STACK, OBS_SIZE, OBS_SIZE), oldest
    view first.

    views: the observation before it; None: the frame is the first one and fills the whole observation."""
    view = preprocess_frame(frame_u8)[None]
    return np.repeat(view, STACK, axis=0) if views is None else np.concatenate([views[1:], view])


def clip_views(frames_u8: np.ndarray) -> np.ndarray:
    """The observation after the last of the frames uint8 (STACK, H, W, 3), uint8 (STACK, OBS_SIZE, OBS_SIZE)."""
    return np.stack([preprocess_frame(frame_u8) for frame_u8 in frames_u8])
