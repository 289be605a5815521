"""Start states from any recording of the game that a model was trained on."""

from pathlib import Path

import numpy as np
import torch

from dream.common.errors import InputError
from dream.data.latents import to_float_frames
from dream.data.splits import window_starts
from dream.data.start_states import ModelShape, StartStates
from dream.data.trajectories import Trajectories, has_varied_rewards, open_trajectories, read_rewards
from dream.inference.input_files import check_kind
from dream.models.checkpoints import fingerprint, load_autoencoder

CANDIDATES = 4  # windows that `choose_rewarded` compares, per start state


@torch.no_grad()
def encode_start_states(
    model_path: Path, recording: Path, model: ModelShape, number: int, which: str = "even"
) -> StartStates:
    """`number` start states of a recording, encoded by the encoder.pt next to the model. which: "even", evenly spaced;
    "rewarded", those of `choose_rewarded`; "auto", these where the recording has rewards to choose by.

    Raises InputError if the recording has other frames or actions than the model, or no rewards to choose by, or the
    encoder is not the model's."""
    check_kind("recording", recording, "recording")
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
    if which == "rewarded" or (which == "auto" and has_varied_rewards(data)):
        chosen = choose_rewarded(data, starts, L, number)
    else:
        chosen = starts[np.linspace(0, len(starts) - 1, min(number, len(starts))).astype(int)]
    latents = [
        encoder(to_float_frames(data.frames[row, t : t + L], torch.device("cpu"))).numpy()
        for row, t in chosen
    ]
    actions = [data.actions[row, t : t + L] for row, t in chosen]
    return StartStates(np.stack(latents).astype(np.float32), np.stack(actions).astype(np.int64))


def choose_rewarded(data: Trajectories, starts: np.ndarray, length: int, number: int) -> np.ndarray:
    """Up to `number` of the windows of `length` frames at starts int64 (M, 2), row and t, with high rewards from all
    over the recording: the best one of each of CANDIDATES x number parts of it, and the best `number` of these.

    An agent that begins where a random policy mostly is, at a fence, learns to stand still. Raises InputError if the
    recording has no rewards, or the same everywhere."""
    if not has_varied_rewards(data):
        raise InputError("the recording has no rewards to choose start states by: leave out starts=rewarded")
    rewards = read_rewards(data)
    sums = np.cumsum(
        np.pad(rewards.astype(np.float64), ((0, 0), (1, 0))), axis=1
    )  # (N, T + 1), rewards before t
    rows, t = starts.T
    returns = sums[rows, t + length] - sums[rows, t]
    parts = np.array_split(np.arange(len(starts)), min(CANDIDATES * number, len(starts)))
    best = np.array([part[np.argmax(returns[part])] for part in parts])
    # of equal ones, some from everywhere rather than the first
    best = np.random.default_rng(0).permutation(best)
    return starts[np.sort(best[np.argsort(-returns[best], kind="stable")[:number]])]
