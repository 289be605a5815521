"""Start states from any recording of the game that a model was trained on."""

from pathlib import Path

import numpy as np
import torch

from dream.common.errors import InputError
from dream.data.latents import to_float_frames
from dream.data.splits import window_starts
from dream.data.start_states import ModelShape, StartStates
from dream.data.trajectories import open_trajectories
from dream.models.checkpoints import fingerprint, load_autoencoder


@torch.no_grad()
def encode_start_states(model_path: Path, recording: Path, model: ModelShape, number: int) -> StartStates:
    """`number` start states, evenly spaced over a recording, encoded by the encoder.pt next to the model.

    Raises InputError if the recording has other frames or actions than the model, or the encoder is not the model's."""
    data = open_trajectories(recording)
    encoder, decoder = load_autoencoder(
        *(model_path.with_name(f"{part}.pt") for part in ("encoder", "decoder"))
    )
    size = (decoder.config.height, decoder.config.width)
    if (data.height, data.width) != size or data.action_names != model.game.action_names:
        raise InputError(
            f"{recording} has frames of {data.height} x {data.width} and the actions {', '.join(data.action_names)}: "
            f"the model needs {size[0]} x {size[1]} and {', '.join(model.game.action_names)}"
        )
    if fingerprint(decoder) != model.autoencoder:
        raise InputError(f"{model_path} was trained with another autoencoder than that next to it")
    L = model.context_length
    starts = window_starts(data.episode_starts, np.ones(data.actions.shape, bool), L)
    if len(starts) == 0:
        raise InputError(f"{recording} has no {L} frames in a row between two resets: choose another")
    chosen = starts[np.linspace(0, len(starts) - 1, min(number, len(starts))).astype(int)]
    latents = [
        encoder(to_float_frames(data.frames[row, t : t + L], torch.device("cpu"))).numpy()
        for row, t in chosen
    ]
    actions = [data.actions[row, t : t + L] for row, t in chosen]
    return StartStates(np.stack(latents).astype(np.float32), np.stack(actions).astype(np.int64))
