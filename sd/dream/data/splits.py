from dream.common.errors import InputError
from dream.data.trajectories import *
from dream.data.trajectories import window_starts, split_episodes, episode_ids
from dream.data.held_out import *
import torch
def train_windows(data, mask, context):
    starts = window_starts(data.episode_starts, mask, context + 1)
    if len(starts) == 0:
        raise InputError(
            f"no {context + 1} frames in a row between two resets to train on: record longer episodes"
        )
    return torch.from_numpy(starts)
