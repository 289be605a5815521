"""Collects rollouts: steps many environments at once, fills the rollout buffer and the rows of the recording.

The agent is trained on the first N environments. They may be followed by W exploration environments, in which a random
policy takes over from time to time (`behavior.py`); these are only recorded.
"""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from player.common.agent_view import preprocess_frames
from player.rl.agent import Agent, FrameStack
from player.rl.behavior import BehaviorPolicies
from player.rl.rollout_buffer import Rollout

SEEDS_PER_PART = (
    1_000_003  # between the seeds of two parts of a run; a prime, above any number of environments
)


@dataclass
class CollectStats:
    """The recorded rows, and statistics of the episodes that ended in the N training environments."""

    rows: Dict[str, np.ndarray] = field(default_factory=dict)  # arrays as for TrajectoryWriter.write, by key
    episode_returns: List[float] = field(default_factory=list)  # sums of rewards
    episode_lengths: List[int] = field(default_factory=list)  # steps


class RolloutCollector:
    """Steps N training and W exploration environments; episodes continue from one rollout to the next."""

    def __init__(
        self,
        envs: VectorEnv,
        seed: int,
        truth_names: Sequence[str],
        device: torch.device,
        behaviors: BehaviorPolicies,
        tracks: Sequence[Dict[str, Any]] = (),
    ) -> None:
        """`envs`: N + W environments. Environment i is reset with seed + i. `truth_names`: names of `infos["truth"]`.
        `device`: of the agent's observations. `behaviors`: chooses the actions of all environments. `tracks`: as for
        `make_vector_env`; the recorded `track` is the track's number, or for savestates the index in that list."""
        numbers = np.array([track.get("track", i) for i, track in enumerate(tracks)], np.int64)
        self.tracks = np.resize(numbers, envs.num_envs) if len(tracks) > 1 else None
        self.envs, self.truth_names, self.behaviors = envs, truth_names, behaviors
        self.returns = np.zeros(envs.num_envs)
        self.lengths = np.zeros(envs.num_envs, np.int64)
        self.stack = FrameStack(envs.num_envs, device)
        self.seed, self.part = seed, 0
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Begins an episode in every environment; environment i is reset with seed + i."""
        frames, infos = self.envs.reset(seed=[seed + i for i in range(self.envs.num_envs)])
        self.observe(frames, np.ones(self.envs.num_envs, bool), infos)

    def _game_state(self, infos: dict) -> np.ndarray:
        """The game states, float32 (N + W, number of names)."""
        if not self.truth_names:
            return np.zeros((self.envs.num_envs, 0), np.float32)
        # Gymnasium's own vector environments return an array of objects.
        return np.stack([np.asarray(values, np.float32) for values in infos["truth"]])

    def collect(
        self,
        agent: Agent,
        rollout: Rollout,
        generator: torch.Generator,
        recorded: List[int],
        on_step: Optional[Callable[[], Any]] = None,
    ) -> CollectStats:
        """Runs the T steps of a rollout and returns what was recorded.

        The N training environments fill `rollout`. The K environments `recorded` (indices into all N + W) fill
        `CollectStats.rows`, arrays (K, T, ...). `on_step` is called after each step, for a progress bar.
        """
        N = rollout.rewards.shape[1]
        stats = CollectStats(rows=self.empty_rows(len(rollout.rewards), len(recorded)))
        for t in range(len(rollout.rewards)):
            views = self.stack.views[:N]
            actions, log_probs, values = agent.act(self.stack.views, generator)
            executed = self.behaviors.act(actions.cpu(), generator).numpy()
            actions, log_probs, values = actions[:N], log_probs[:N], values[:N]
            self.write_row(stats.rows, recorded, t, executed)
            frames, rewards, terminated, truncated, infos = self.envs.step(executed)
            done = terminated | truncated
            rollout.views[t], rollout.actions[t], rollout.log_probs[t] = views, actions, log_probs
            rollout.values[t] = values
            rollout.rewards[t] = torch.from_numpy(rewards[:N].astype(np.float32))
            rollout.done[t] = torch.from_numpy(done[:N])
            rollout.next_values[t] = 0
            if t > 0:
                self.fill_next_values(rollout, t - 1, values)
            bootstrap = truncated[:N] & ~terminated[:N]  # a terminal state is worth 0, also at the time limit
            if bootstrap.any():
                env_ids = np.flatnonzero(bootstrap)
                last_views = self.stack.preview(
                    preprocess_frames([infos["final_obs"][i] for i in env_ids]), env_ids
                )
                rollout.next_values[t, env_ids] = agent.predict_values(last_views)
            if stats.rows:
                stats.rows["rewards"][:, t] = rewards[recorded]
            self.returns += rewards
            self.lengths += 1
            stats.episode_returns += self.returns[:N][done[:N]].tolist()
            stats.episode_lengths += self.lengths[:N][done[:N]].tolist()
            self.returns[done] = self.lengths[done] = 0
            self.observe(frames, done, infos)
            if on_step:
                on_step()
        self.fill_next_values(rollout, len(rollout.rewards) - 1, agent.predict_values(self.stack.views[:N]))
        return stats

    def observe(self, frames: np.ndarray, episode_start: np.ndarray, infos: dict) -> None:
        """Stores the result of a reset or step as the current observation.

        `frames`: uint8 (N + W, H, W, 3). `episode_start`: bool (N + W,), True for the first frame after a reset.
        """
        self.frames, self.episode_start, self.game_state = frames, episode_start, self._game_state(infos)
        self.stack.push(infos["views"] if "views" in infos else preprocess_frames(frames), episode_start)

    @staticmethod
    def fill_next_values(rollout: Rollout, t: int, values: torch.Tensor) -> None:
        """Sets next_values[t] to the next step's values where no episode ended; elsewhere it is 0 or already set."""
        rollout.next_values[t] = torch.where(rollout.done[t], rollout.next_values[t], values)

    def empty_rows(self, num_steps: int, K: int) -> Dict[str, np.ndarray]:
        """Uninitialized arrays (K, num_steps, ...) for the rows of K environments; no arrays if K is 0."""
        if K == 0:
            return {}
        _, H, W, _ = self.frames.shape
        rows = {
            "frames": np.empty((K, num_steps, 3, H, W), np.uint8),
            "actions": np.empty((K, num_steps), np.int64),
            "episode_starts": np.empty((K, num_steps), bool),
            "rewards": np.empty((K, num_steps), np.float32),
        }
        if self.tracks is not None:
            rows["track"] = np.empty((K, num_steps), np.int64)
        for name in self.truth_names:
            rows[f"truth/{name}"] = np.empty((K, num_steps), np.float32)
        return rows

    def write_row(
        self, rows: Dict[str, np.ndarray], recorded: List[int], t: int, actions: np.ndarray
    ) -> None:
        """Writes step t of the K environments `recorded`: the current observation and the actions chosen from it, int64
        (N + W,). The rewards are known only after the step; the caller writes them."""
        if not rows:
            return
        for row, env_id in zip(rows["frames"], recorded):  # a loop, because self.frames[recorded] would copy
            row[t] = self.frames[env_id].transpose(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        rows["actions"][:, t] = actions[recorded]
        rows["episode_starts"][:, t] = self.episode_start[recorded]
        if self.tracks is not None:
            rows["track"][:, t] = self.tracks[recorded]
        for i, name in enumerate(self.truth_names):
            rows[f"truth/{name}"][:, t] = self.game_state[recorded, i]

    def state_dict(self) -> dict:
        """Everything needed to continue, including the states of the games if they can be saved."""
        return {
            "games": [
                torch.from_numpy(np.array(bytearray(state), np.uint8)) for state in self.saved_states()
            ],
            "frames": torch.from_numpy(self.frames.copy()),
            "game_state": torch.from_numpy(self.game_state),
            "episode_start": torch.from_numpy(self.episode_start),
            "returns": torch.from_numpy(self.returns),
            "lengths": torch.from_numpy(self.lengths),
            "views": self.stack.views.cpu(),
            "part": self.part,
            "behaviors": self.behaviors.state_dict(),
        }

    def saved_states(self) -> List[bytes]:
        """The state of each game; b"" if it cannot be saved."""
        return list(self.envs.get_attr("saved_state"))

    def load_state_dict(self, state: dict) -> None:
        """Continues from a `state_dict`. Games that cannot be saved start new episodes, with other seeds than those of
        the run's earlier parts, which would otherwise be played again."""
        self.part = int(state.get("part", 0))
        games = [saved.numpy().tobytes() for saved in state["games"]]
        if not games[0] or len(games) != self.envs.num_envs:
            self.part += 1
            self.begin(self.seed + SEEDS_PER_PART * self.part)
            return
        self.envs.set_attr("saved_state", games)
        self.frames = state["frames"].numpy().copy()
        self.game_state = state["game_state"].numpy().copy()
        self.episode_start = state["episode_start"].numpy().copy()
        self.returns, self.lengths = state["returns"].numpy().copy(), state["lengths"].numpy().copy()
        self.behaviors.load_state_dict(state["behaviors"])
        self.stack.views = state["views"].to(self.stack.views.device).clone()
