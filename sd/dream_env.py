"""A world model as a Gymnasium environment, to train agents in.

    import gymnasium, dream_env                                   # with sd/ on the path
    env = gymnasium.make("Dream-v0", model_path="output/sd/final.pt")
    envs = gymnasium.make_vec("Dream-v0", num_envs=16, model_path="output/sd/final.pt")
    python ppo/train_ppo.py --game dream_env:Dream-v0 --game-path sd --game-settings model_path=output/sd/final.pt

Observations are the generated frames, uint8 (H, W, 3); actions, their names and the frame rate are those of the
recording that the model was trained on. Rewards and ends of episodes are predicted by the model; without a recording
that had rewards, all rewards are 0. An episode begins at a random start state (`reset(options={"start": k})`: at
number k), and is truncated after `horizon` frames, since a rollout becomes less and less like the game.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import dream  # noqa: F401  first of ours: it reports packages that are missing
import gymnasium
import numpy as np
from dream.common.errors import InputError
from dream.data.start_states import StartStates, load_start_states
from dream.inference.backend import Backend
from dream.inference.batch_env import BatchEnv
from dream.inference.export_folder import default_start_states
from dream.inference.select_backend import load_backend
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

PRETRAINED = Path(__file__).resolve().parent / "pretrained" / "model.pt"
HORIZON = 500  # frames
END_PROBABILITY = 0.5  # above it the episode ends
NUM_RECORDED_STARTS = 64


class DreamVectorEnv(VectorEnv):
    """Episodes that are generated in one batch. A finished one begins anew in the same step
    (AutoresetMode.SAME_STEP)."""

    metadata: ClassVar[dict] = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        model_path: str | Path = PRETRAINED,
        recording: str | Path | None = None,
        num_starts: int = NUM_RECORDED_STARTS,
        horizon: int = HORIZON,
        backend: str = "auto",
        device: str = "auto",
        render_mode: str | None = None,
    ) -> None:
        """model_path: final.pt of sd/train_sd.py, with decoder.pt and initial_sequence.npz next to it. recording: a
        trajectories.npz to take `num_starts` start states from (None: those of initial_sequence.npz). horizon: frames
        after which an episode is truncated. backend, device: as of sd/play_sd.py.

        Raises InputError if a file is missing or damaged, or an argument is out of range."""
        if horizon < 1 or num_starts < 1 or num_envs < 1:
            raise InputError("horizon, num_starts and num_envs must be at least 1")
        self.num_envs, self.horizon, self.render_mode = num_envs, horizon, render_mode
        self.backend = shared_backend(str(model_path), backend, device)
        self.start_states = read_start_states(self.backend, model_path, recording, num_starts)
        self.episodes = BatchEnv(self.backend, self.start_states, num_envs)
        game = self.backend.game
        self.action_names, self.action_keys = game.action_names, game.action_keys
        self.metadata = {**type(self).metadata, "render_fps": game.fps}
        self.single_observation_space = gymnasium.spaces.Box(0, 255, (*self.backend.frame_shape, 3), np.uint8)
        self.single_action_space = gymnasium.spaces.Discrete(len(game.action_names))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.rngs = [np.random.default_rng() for _ in range(num_envs)]
        self.frames = np.zeros(self.observation_space.shape, np.uint8)
        if not self.has_rewards:
            gymnasium.logger.warn(f"{model_path} was trained without rewards: all rewards are 0")

    @property
    def has_rewards(self) -> bool:
        return self.backend.has_outcome

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins all episodes. seed: that of environment i is seed + i, or seed[i]. options: "start", the number of a
        start state, or one for each environment."""
        N = self.num_envs
        seeds = [None if seed is None else seed + i for i in range(N)] if not isinstance(seed, list) else seed
        starts = (options or {}).get("start")
        starts = [starts] * N if starts is None or np.ndim(starts) == 0 else list(starts)
        if len(seeds) != N or len(starts) != N:
            raise ValueError(f"{len(seeds)} seeds and {len(starts)} start states for {N} environments")
        for i, own_seed in enumerate(seeds):
            if own_seed is not None:
                self.rngs[i] = np.random.default_rng(own_seed)
        begun = np.array([self.begin(i, start) for i, start in enumerate(starts)])
        return self.frames.copy(), {"start": begun, "_start": np.ones(N, bool)}

    def begin(self, i: int, start: int | None = None) -> int:
        """Begins episode i; returns the number of its start state."""
        start = int(self.rngs[i].integers(len(self.start_states))) if start is None else int(start)
        if not 0 <= start < len(self.start_states):
            raise ValueError(f"start state {start} is not one of {len(self.start_states)}")
        self.frames[i] = self.episodes.reset(i, start, seed=int(self.rngs[i].integers(2**31)))
        return start

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Executes actions, int (num_envs,). Of the episodes that have ended, `infos["final_obs"]` has the last frames,
        and the observations are the first ones of the next episodes."""
        step = self.episodes.step(actions)
        self.frames[:] = step.frames
        terminated = step.ends > END_PROBABILITY
        truncated = ~terminated & (self.episodes.lengths >= self.horizon)
        done = terminated | truncated
        infos: dict[str, Any] = {"end_probability": step.ends, "_end_probability": np.ones(len(done), bool)}
        if done.any():
            infos["final_obs"] = np.array([None] * self.num_envs, object)
            infos["_final_obs"] = done.copy()
            for i in np.flatnonzero(done):
                infos["final_obs"][i] = self.frames[i].copy()
                self.begin(int(i))
        return self.frames.copy(), step.rewards, terminated, truncated, infos

    def render(self) -> list[np.ndarray] | None:
        return list(self.frames.copy()) if self.render_mode == "rgb_array" else None


class DreamEnv(gymnasium.Env):
    """One episode at a time. Arguments as of DreamVectorEnv."""

    # frame_skip 1: a step is one frame of the recording, and so one decision
    metadata: ClassVar[dict] = {"render_modes": ["rgb_array", "human"], "render_fps": 15, "frame_skip": 1}

    def __init__(
        self, model_path: str | Path = PRETRAINED, render_mode: str | None = None, **settings: Any
    ) -> None:
        # A finished episode stays at its last frame until `reset`, as Gymnasium wants it: never by itself.
        self.envs = DreamVectorEnv(1, model_path, **settings)
        self.observation_space = self.envs.single_observation_space
        self.action_space = self.envs.single_action_space
        self.action_names, self.action_keys = self.envs.action_names, self.envs.action_keys
        self.metadata = {**type(self).metadata, "render_fps": self.envs.metadata["render_fps"]}
        self.render_mode, self.window = render_mode, None

    @property
    def has_rewards(self) -> bool:
        return self.envs.has_rewards

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode at a random start state, or at number options["start"]."""
        super().reset(seed=seed)
        frames, infos = self.envs.reset(seed=int(self.np_random.integers(2**31)), options=options)
        self.frame = frames[0]
        self.show()
        return self.frame, {"start": int(infos["start"][0])}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        envs = self.envs
        if not self.action_space.contains(np.int64(action)):
            raise ValueError(f"action {action} is not one of {self.action_space.n}")
        step = envs.episodes.step([action])
        self.frame = step.frames[0]
        terminated = bool(step.ends[0] > END_PROBABILITY)
        truncated = not terminated and bool(envs.episodes.lengths[0] >= envs.horizon)
        self.show()
        return (
            self.frame,
            float(step.rewards[0]),
            terminated,
            truncated,
            {"end_probability": float(step.ends[0])},
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


@lru_cache(maxsize=4)
def shared_backend(model_path: str, backend: str, device: str) -> Backend:
    """The backend of a model: one for all environments of a process, since states are kept outside of it."""
    path = Path(model_path)
    return load_backend(path.with_name("decoder.pt"), path, None, backend, device)


def read_start_states(
    backend: Backend, model_path: str | Path, recording: str | Path | None, number: int
) -> StartStates:
    """The start states next to the model, or `number` of a recording. Raises InputError if there are none."""
    if recording is None:
        return load_start_states(default_start_states(Path(model_path)), backend)
    from dream.inference.recorded_starts import encode_start_states  # needs PyTorch

    return encode_start_states(Path(model_path), Path(recording), backend, number)


gymnasium.register("Dream-v0", entry_point=DreamEnv, vector_entry_point=DreamVectorEnv)
