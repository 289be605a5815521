"""Start states: short pieces of a recording from which a rollout can begin (initial_sequence.npz). No torch, no pygame.

File format: frames (K, L, C, h, w) latents; actions (K, L); autoencoder, the fingerprint of the autoencoder that
encoded them; optional truth/<name> (K,), the game's true state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dream.common.errors import InputError, refuse_damaged
from dream.common.files import atomic_write, check_zip
from dream.common.game_info import GameInfo
from dream.data.splits import window_starts
from dream.data.trajectories import Trajectories

if TYPE_CHECKING:
    from torch import Tensor

NUM_START_STATES = 8  # in the initial_sequence.npz of a training run
MIN_REWARD_FRACTION = 0.6  # of the best reward: the kart drives and does not stand in front of a wall
MIN_MOTION = 4.0  # mean absolute difference, 0-255, between two frames in which something moves
FOLLOWING_FRAMES = 32  # of the same episode after a start state, where there are so many: something to play
COMPARED_EPISODES = 64  # whose beginnings are compared


@dataclass
class StartStates:
    """K start states of L frames each, oldest frame first."""

    latents: np.ndarray  # float32 (K, L, C, h, w)
    actions: np.ndarray  # int64 (K, L)
    # By name, float32 (K,): the game's true state at the last frame; NaN if unknown
    game_states: dict[str, np.ndarray] = field(default_factory=dict)
    # By index of the start state: number of frames generated before it, for states that are not recorded
    num_generated: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.latents)

    def append(self, latents: np.ndarray, actions: np.ndarray, num_generated: int = 0) -> None:
        """Adds a generated state, latents (L, C, h, w) and actions (L,), whose true game state is unknown."""
        self.num_generated = {**self.num_generated, len(self): num_generated}
        self.latents = np.concatenate([self.latents, latents[None].astype(np.float32)])
        self.actions = np.concatenate([self.actions, actions[None]])
        unknown = np.float32(np.nan)
        self.game_states = {name: np.append(values, unknown) for name, values in self.game_states.items()}

    def game_state(self, index: int) -> dict[str, float] | None:
        """The game's true state of start state `index`, by name; None if any part of it is unknown."""
        state = {name: float(values[index]) for name, values in self.game_states.items()}
        return state if state and np.isfinite(list(state.values())).all() else None

    def save(self, path: Path, autoencoder: str) -> None:
        """Writes an initial_sequence.npz with an atomic replace. `autoencoder`: its fingerprint."""
        game_states = {f"truth/{name}": values for name, values in self.game_states.items()}
        frames = self.latents.astype(np.float16)
        with atomic_write(path) as file:
            np.savez(file, frames=frames, actions=self.actions, autoencoder=autoencoder, **game_states)


class ModelShape(Protocol):
    """What start states must fit; every backend has these attributes."""

    autoencoder: str  # fingerprint
    latent_shape: tuple[int, int, int]  # C, h, w
    context_length: int  # L
    game: GameInfo


def load_start_states(path: Path, model: ModelShape) -> StartStates:
    """Reads an initial_sequence.npz. Raises InputError if the file is missing or damaged or does not fit the model."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"no start states at {path}: sd/train_sd.py writes initial_sequence.npz next to its best.pt"
        )
    with refuse_damaged(path, "give an initial_sequence.npz of sd/train_sd.py"):
        check_zip(path)  # np.load does not compare all checksums
        with np.load(path, allow_pickle=False) as file:
            return _read_start_states(path, file, model)


def _read_start_states(path: Path, file: Mapping[str, np.ndarray], model: ModelShape) -> StartStates:
    frames, actions = file["frames"], file["actions"]
    autoencoder = str(file["autoencoder"]) if "autoencoder" in file else model.autoencoder
    game_states = {
        name.removeprefix("truth/"): file[name].astype(np.float32)
        for name in file
        if name.startswith("truth/")
    }
    if autoencoder != model.autoencoder:
        raise InputError(f"{path} was made with another autoencoder: use the file next to the model")
    shape = (model.context_length, *model.latent_shape)
    if frames.ndim != 5 or frames.shape[1:] != shape or frames.shape[0] == 0 or frames.dtype.kind != "f":
        raise InputError(
            f"{path} holds frames {frames.dtype} {frames.shape}, wanted float (K, {str(shape)[1:]}: use the file "
            "next to the model"
        )
    if actions.shape != frames.shape[:2] or actions.dtype.kind not in "iu":
        raise InputError(
            f"{path} holds actions {actions.dtype} {actions.shape}, wanted integers {frames.shape[:2]}: use the file "
            "next to the model"
        )
    if actions.min() < 0 or actions.max() >= len(model.game.action_names) or not np.isfinite(frames).all():
        raise InputError(f"{path} holds actions or latents out of range: use the file next to the model")
    if any(values.shape != frames.shape[:1] for values in game_states.values()):
        raise InputError(
            f"{path} holds a truth/ array that does not have one value for each of its {len(frames)} start states: "
            "use the file next to the model"
        )
    return StartStates(frames.astype(np.float32), actions.astype(np.int64), game_states)


def save_start_states(
    data: Trajectories, latents: "Tensor", mask: np.ndarray, context: int, autoencoder: str, path: Path
) -> None:
    """Writes start states of `context` frames, chosen from the mask (N, T), as an initial_sequence.npz.

    `latents`: of the whole recording, (N, T, C, h, w). `autoencoder`: its fingerprint. Raises InputError if the mask
    has no `context` frames in a row.
    """
    import torch  # here, because an exported model plays without it

    from dream.data.latents import gather_windows

    chosen = torch.from_numpy(select_start_states(data, mask, context, NUM_START_STATES))
    actions = torch.from_numpy(data.actions)
    window, window_actions = gather_windows(latents, actions, chosen, context, torch.device("cpu"))
    rows, last = chosen[:, 0].numpy(), chosen[:, 1].numpy() + context - 1
    game_states = {
        name.removeprefix("truth/"): np.asarray(array[rows, last], np.float32)
        for name, array in data.extras.items()
        if name.startswith("truth/") and array.ndim == 2
    }
    StartStates(window.numpy(), window_actions.numpy(), game_states).save(path, autoencoder)


def high_reward_starts(
    trajectories: Trajectories, mask: np.ndarray, length: int, count: int, following: int = 0
) -> np.ndarray:
    """Up to `count` windows of `length` frames with a high reward: pairs of row and t, int64 (M, 2).

    The windows of the mask (N, T) are divided into `count` groups in order of time, as many for each `track` if the
    recording has several. From each group one window is drawn whose reward is at least MIN_REWARD_FRACTION of the
    group's best; always taking the best would choose similar parts of the track. Without recorded rewards, the middle
    window of each group is taken. Only windows that `following` frames of the same episode follow are considered, if
    there are any.

    Raises InputError if the mask has no `length` frames in a row.
    """
    starts = window_starts(trajectories.episode_starts, mask, length + following)
    if len(starts) == 0:
        starts = window_starts(trajectories.episode_starts, mask, length)
    if len(starts) == 0:
        raise InputError(
            f"no {length} frames in a row between two resets to choose start states from: record longer episodes"
        )
    track = trajectories.extras.get("track")
    if track is None or track.ndim != 2:
        track = np.zeros(mask.shape)
    tracks, track_index = np.unique(track[starts[:, 0], starts[:, 1]], return_inverse=True)
    starts_by_track = [starts[track_index == i] for i in range(len(tracks))][:count]
    groups = []
    for i, track_starts in enumerate(starts_by_track):
        num_groups = count // len(starts_by_track) + (i < count % len(starts_by_track))
        groups += np.array_split(track_starts, min(num_groups, len(track_starts)))
    rewards = trajectories.extras.get("rewards")
    if rewards is None or rewards.ndim != 2:
        return np.stack([group[len(group) // 2] for group in groups])
    rewards = np.nan_to_num(np.asarray(rewards, np.float64))
    sums = np.cumsum(np.pad(rewards, ((0, 0), (1, 0))), axis=1)  # (N, T + 1), rewards before t
    rng = np.random.default_rng(0)
    chosen = []
    for group in groups:
        returns = sums[group[:, 0], group[:, 1] + length] - sums[group[:, 0], group[:, 1]]
        good = np.flatnonzero(returns >= returns.max() - (1 - MIN_REWARD_FRACTION) * abs(returns.max()))
        chosen.append(group[rng.choice(good)])
    return np.stack(chosen)


def select_start_states(trajectories: Trajectories, mask: np.ndarray, length: int, count: int) -> np.ndarray:
    """Up to `count` different windows of `length` frames to start from: pairs of row and t, int64 (M, 2).

    Most come from `high_reward_starts`. If `count` is at least 4, the first is an episode's first frames (if the mask
    has any), since there the game begins, and the last is one with a low reward in which something moves, for example
    driving off the road (if rewards are recorded). Raises InputError if the mask has no `length` frames in a row.
    """
    starts = window_starts(trajectories.episode_starts, mask, length)
    rewards = trajectories.extras.get("rewards")
    first, last = [], []
    if count >= 4:
        first = _lively_beginning(trajectories, mask, length)
    if count >= 4 and rewards is not None and rewards.ndim == 2:
        returns = [np.nan_to_num(rewards[row, t : t + length]).sum() for row, t in starts]
        low = starts[np.argsort(returns, kind="stable")[: max(1, len(starts) // 10)]]
        for row, t in np.random.default_rng(0).permutation(low)[:200]:
            if _motion(trajectories, row, t, t + length - 1) > MIN_MOTION:
                last = [np.array([row, t])]
                break
    num_good = count - len(first) - len(last)
    good = high_reward_starts(trajectories, mask, length, num_good, FOLLOWING_FRAMES)
    chosen = np.stack([*first, *good, *last])
    _, first_occurrence = np.unique(chosen, axis=0, return_index=True)
    return chosen[np.sort(first_occurrence)]  # without duplicates, in the same order


def _lively_beginning(trajectories: Trajectories, mask: np.ndarray, length: int) -> list[np.ndarray]:
    """The first frames of the first episode in whose beginning enough moves, as [(row, t)]; [] if the mask (N, T) has
    no first frames. Enough is half of what moves in the liveliest beginning: some games end, or leave the picture, at
    once."""
    episode_starts = trajectories.episode_starts
    for frames in (length + FOLLOWING_FRAMES, length):
        starts = window_starts(episode_starts, mask, frames)
        starts = starts[episode_starts[starts[:, 0], starts[:, 1]]][:COMPARED_EPISODES]
        if len(starts):
            steps = range(length - 1, frames, max(1, length))
            motion = [sum(_motion(trajectories, row, t, t + step) for step in steps) for row, t in starts]
            return [starts[int(np.argmax(np.array(motion) >= max(motion) / 2))]]
    return []


def _motion(trajectories: Trajectories, row: int, t: int, later: int) -> float:
    """Mean absolute difference, 0-255, of the frames at t and `later` in a row."""
    frames = trajectories.frames[row, [t, later]].astype(np.int16)
    return float(np.abs(frames[1] - frames[0]).mean())
