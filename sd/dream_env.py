"""A world model as a Gymnasium environment, to train agents in.

    import sys; sys.path.append("sd")           # the folder of this file; or PYTHONPATH=sd
    import gymnasium, dream_env
    env = gymnasium.make("Dream-v0")            # the pretrained model
    envs = gymnasium.make_vec("Dream-v0", num_envs=16, model_path="output/sd/final.pt", recording="a.npz")
    frames, infos = envs.reset(seed=0)          # uint8 (16, H, W, 3)
    frames, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())

    python ppo/train_ppo.py --game dream_env:Dream-v0 --game-path sd --game-settings model_path=output/sd/final.pt \\
        recording=a.npz --record-envs 0 --explore-envs 0 --n-steps 128 --n-epochs 48

Observations are the generated frames, uint8 (H, W, 3), one at a time: stack them, since speed is not visible in one.
Actions, their names (`env.unwrapped.action_names`) and the frame rate are those of the recording that the model was
trained on. Rewards, in the recording's units, and ends of episodes are predicted by the model; if its recording had no
rewards, all rewards are 0 (sd/train_outcome.py adds them). An episode begins at a random start state, and is truncated
after `horizon` frames, since a rollout becomes less and less like the game: a truncation is no end, so bootstrap from
the value of the last frame. A time limit of the recorded game looks like an end to the model. The vector environment
begins an ended episode anew in the same step: the last frame of the old one is in infos["final_obs"].

Both environments take these arguments:
    model_path    final.pt of sd/train_sd.py, with decoder.pt and initial_sequence.npz next to it
    recording     a trajectories.npz to take start states from (default: those of initial_sequence.npz)
    num_starts    how many of that recording (default: 256)
    starts        which of them: "rewarded", those with high rewards, from all parts of it, or "even", evenly spaced
                  (default: "auto", rewarded where the recording has rewards: agents learn much better there)
    horizon       frames after which an episode is truncated (default: 32)
    backend, device    as of sd/play_sd.py (default: auto)
They raise InputError if a file is missing or damaged, or an argument is out of range.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import dream  # noqa: F401  first of ours: it reports packages that are missing
import gymnasium
import numpy as np
from dream.common.errors import InputError
from dream.common.progress import waiting
from dream.data.start_states import StartStates, load_start_states
from dream.inference.backend import Backend
from dream.inference.batch_env import BatchEnv
from dream.inference.export_folder import default_start_states
from dream.inference.select_backend import BACKENDS, load_backend
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

PRETRAINED = Path(__file__).resolve().parent / "pretrained" / "model.pt"
HORIZON, NUM_STARTS = 32, 256  # with which agents learned best, or as well as with any other (sd/NOTES.md)
STARTS = ("auto", "rewarded", "even")
DEVICES = ("auto", "cpu", "cuda")
# frame_skip 1: a step is one frame of the recording, and so one decision
METADATA = {"render_modes": ["rgb_array"], "render_fps": 15, "frame_skip": 1}


class DreamVectorEnv(VectorEnv):
    """Episodes that are generated in one batch. A finished one begins anew in the same step
    (AutoresetMode.SAME_STEP)."""

    metadata: ClassVar[dict] = {**METADATA, "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        model_path: str | Path = PRETRAINED,
        recording: str | Path | None = None,
        num_starts: int | None = None,
        starts: str = "auto",
        horizon: int = HORIZON,
        backend: str = "auto",
        device: str = "auto",
        render_mode: str | None = None,
    ) -> None:
        self.episodes = open_episodes(
            num_envs, model_path, recording, num_starts, starts, horizon, backend, device
        )
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space, self.single_action_space = make_spaces(self.episodes.backend)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        declare_game(self, self.episodes.backend)
        self.rngs = [np.random.default_rng() for _ in range(num_envs)]
        self.frames = np.zeros(self.observation_space.shape, np.uint8)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins all episodes. seed: that of environment i is seed + i, or seed[i]. options: "start", the number of a
        start state, or one for each environment. Raises ValueError if these do not fit."""
        N, options = self.num_envs, dict(options or {})
        seeds = list(seed) if np.ndim(seed) else [None if seed is None else int(seed) + i for i in range(N)]
        starts = options.pop("start", None)
        starts = list(starts) if np.ndim(starts) else [starts] * N
        if options or len(seeds) != N or len(starts) != N:
            raise ValueError(
                f"{len(seeds)} seeds, {len(starts)} start states, options {list(options)} for {N} environments"
            )
        for i, own_seed in enumerate(seeds):
            if own_seed is not None:
                self.rngs[i] = np.random.default_rng(int(own_seed))
        begun = np.array([self.begin(i, start) for i, start in enumerate(starts)])
        return self.frames.copy(), {"start": begun, "_start": np.ones(N, bool)}

    def begin(self, i: int, start: int | None = None) -> int:
        """Begins episode i, at a random start state if `start` is None; returns its number."""
        start = int(self.rngs[i].integers(len(self.episodes.start_states)) if start is None else start)
        self.frames[i] = self.episodes.reset(i, start, seed=int(self.rngs[i].integers(2**31)))
        return start

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Executes actions, int (num_envs,). Where an episode has ended, `infos["final_obs"]` has its last frame,
        `infos["start"]` the start state of the next one, and the observation is the first frame of that. Raises
        ValueError for actions that do not exist, or before `reset`."""
        step = self.episodes.step(actions)
        self.frames[:] = step.frames
        done = step.terminated | step.truncated
        everywhere = np.ones(self.num_envs, bool)
        infos: dict[str, Any] = {"end_probability": step.end_probability, "_end_probability": everywhere}
        if done.any():
            final_obs, starts = np.array([None] * self.num_envs, object), np.zeros(self.num_envs, np.int64)
            for i in np.flatnonzero(done):
                final_obs[i] = self.frames[i].copy()
                starts[i] = self.begin(int(i))
            final_info = {"end_probability": step.end_probability.copy(), "_end_probability": done.copy()}
            infos.update(final_obs=final_obs, _final_obs=done.copy(), final_info=final_info)
            infos.update(_final_info=done.copy(), start=starts, _start=done.copy())
        return self.frames.copy(), step.rewards, step.terminated, step.truncated, infos

    def render(self) -> list[np.ndarray] | None:
        return list(self.frames.copy()) if self.render_mode == "rgb_array" else None


class DreamEnv(gymnasium.Env):
    """One episode at a time."""

    metadata: ClassVar[dict] = {**METADATA, "render_modes": ["rgb_array", "human"]}

    def __init__(
        self,
        model_path: str | Path = PRETRAINED,
        recording: str | Path | None = None,
        num_starts: int | None = None,
        starts: str = "auto",
        horizon: int = HORIZON,
        backend: str = "auto",
        device: str = "auto",
        render_mode: str | None = None,
    ) -> None:
        self.episodes = open_episodes(1, model_path, recording, num_starts, starts, horizon, backend, device)
        self.observation_space, self.action_space = make_spaces(self.episodes.backend)
        declare_game(self, self.episodes.backend)
        self.render_mode, self.window = render_mode, None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode at a random start state, or at number options["start"]. Raises ValueError if there is no
        such start state."""
        super().reset(seed=seed)
        options = dict(options or {})
        start = options.pop("start", None)
        if options:
            raise ValueError(f"options {list(options)}: there is only start, the number of a start state")
        start = int(self.np_random.integers(len(self.episodes.start_states)) if start is None else start)
        self.frame = self.episodes.reset(0, start, seed=int(self.np_random.integers(2**31)))
        self.show()
        return self.frame.copy(), {"start": start}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Executes an action. Raises ValueError if it does not exist, or before `reset`."""
        step = self.episodes.step([action])
        self.frame = step.frames[0]
        self.show()
        info = {"end_probability": float(step.end_probability[0])}
        return (
            self.frame.copy(),
            float(step.rewards[0]),
            bool(step.terminated[0]),
            bool(step.truncated[0]),
            info,
        )

    def render(self) -> np.ndarray | None:
        return self.frame.copy() if self.render_mode == "rgb_array" else None

    def show(self) -> None:
        """Draws the frame in a window, at the game's pace, with render_mode "human"."""
        if self.render_mode != "human":
            return
        if self.window is None:
            from dream.window.frame_window import FrameWindow  # needs pygame; training does not

            self.window = FrameWindow()
        self.window.show(self.frame, self.metadata["render_fps"])

    def close(self) -> None:
        if self.window is not None:
            self.window.close()
            self.window = None


def open_episodes(
    num_envs: int, model_path: str | Path, recording: str | Path | None, num_starts: int | None, starts: str,
    horizon: int, backend: str, device: str,
) -> BatchEnv:  # fmt: skip
    """The model and its start states. Arguments and errors as the environments'."""
    if recording is None and num_starts is not None:
        raise InputError(f"num_starts={num_starts} is of a recording: give recording=FILE")
    num_starts = NUM_STARTS if num_starts is None else num_starts
    numbers = {"num_envs": num_envs, "num_starts": num_starts, "horizon": horizon}
    for name, path in (("model_path", model_path), ("recording", recording)):
        if not isinstance(path, (str, Path)) and not (path is None and name == "recording"):
            raise InputError(f"{name}={path!r}: wanted the path of a file")
    for name, number in numbers.items():
        if type(number) is not int or number < 1:
            raise InputError(f"{name}={number!r}: wanted a whole number, at least 1")
    for name, value, choices in (
        ("starts", starts, STARTS), ("backend", backend, BACKENDS), ("device", device, DEVICES),
    ):  # fmt: skip
        if value not in choices:
            raise InputError(f"{name}={value!r}: choose from {', '.join(choices)}")
    model_path = Path(model_path)
    files = [model_path, model_path.with_name("decoder.pt")]
    versions = tuple(path.stat().st_mtime_ns for path in files if path.is_file())
    loaded = shared_backend(model_path.resolve(), versions, backend, device)
    if recording is None and starts == "rewarded":
        raise InputError(f"starts={starts} chooses from a recording: give recording=FILE")
    if recording is None:
        states = load_start_states(default_start_states(model_path), loaded)
    else:
        version = Path(recording).stat().st_mtime_ns if Path(recording).is_file() else None
        states = recorded_start_states(loaded, model_path, Path(recording), version, num_starts, starts)
    return BatchEnv(loaded, states, num_envs, horizon)


@lru_cache(maxsize=4)
def shared_backend(model_path: Path, versions: tuple[int, ...], backend: str, device: str) -> Backend:
    """The backend of a model: one for all environments of a process, since states are kept outside of it. versions: of
    the files, so that one that was trained further is loaded again."""
    return load_backend(model_path.with_name("decoder.pt"), model_path, None, backend, device)


@lru_cache(maxsize=4)
def recorded_start_states(
    backend: Backend, model_path: Path, recording: Path, version: int | None, number: int, starts: str
) -> StartStates:
    """`number` start states of a recording. version: of the file. starts: which, a value of STARTS."""
    from dream.inference.recorded_starts import (
        encode_start_states,  # needs PyTorch; an exported model does without
    )

    with waiting(f"encoding start states of {recording}"):
        return encode_start_states(model_path, recording, backend, number, starts)


def make_spaces(backend: Backend) -> tuple[gymnasium.Space, gymnasium.Space]:
    """Observation and action space of one environment."""
    frames = gymnasium.spaces.Box(0, 255, (*backend.frame_shape, 3), np.uint8)
    return frames, gymnasium.spaces.Discrete(len(backend.game.action_names))


def declare_game(env: DreamEnv | DreamVectorEnv, backend: Backend) -> None:
    """Sets the attributes by which others know the game: action_names, action_keys, frame rate, has_rewards."""
    env.action_names, env.action_keys = backend.game.action_names, backend.game.action_keys
    env.metadata = {**type(env).metadata, "render_fps": backend.game.fps}
    env.has_rewards = backend.has_outcome
    if not env.has_rewards:
        gymnasium.logger.warn(
            "the model was trained without rewards: all rewards are 0 (sd/train_outcome.py adds rewards)"
        )


gymnasium.register("Dream-v0", entry_point=DreamEnv, vector_entry_point=DreamVectorEnv)

if __name__ == "__main__":
    print(__doc__)
