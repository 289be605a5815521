"""Play in many games at once: fills a rollout to learn from, and hands out what a recording wants.

Behind the games that are learned from there may be further ones, in which a stranger's hand takes the wheel
(`hands.py`). They are only recorded.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Sequence

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from player.common.agent_view import preprocess_frames
from player.rl.agent import Agent, FrameStack
from player.rl.behavior import BehaviorPolicies
from player.rl.rollout_buffer import Rollout


@dataclass
class CollectStats:
    """What one rollout brought beside the tensors that are learned from."""

    rows: Dict[str, np.ndarray] = field(
        default_factory=dict
    )  # of the recorded games, as TrajectoryWriter takes them
    episode_returns: List[float] = field(default_factory=list)  # of the episodes that ended
    episode_lengths: List[int] = field(default_factory=list)


class RolloutCollector:
    """Games going on from epoch to epoch: N to learn from, and behind them W that are only recorded."""

    def __init__(
        self,
        envs: VectorEnv,
        seed: int,
        truth_names: Sequence[str],
        device: torch.device,
        hands: BehaviorPolicies,
        courses: Sequence[Dict[str, Any]] = (),
    ) -> None:
        """envs: N + W games; hands: who presses the keys in each; courses: as for `make_vector_env`;
        recorded as `track` is a course's number, of savestates their place in that list."""
        numbers = np.array([course.get("track", i) for i, course in enumerate(courses)], np.int64)
        self.tracks = np.resize(numbers, envs.num_envs) if len(courses) > 1 else None
        self.envs, self.truth_names, self.hands = envs, truth_names, hands
        self.returns = np.zeros(envs.num_envs)
        self.lengths = np.zeros(envs.num_envs, np.int64)
        self.stack = FrameStack(envs.num_envs, device)
        frames, infos = envs.reset(seed=[seed + i for i in range(envs.num_envs)])
        self.see(frames, np.ones(envs.num_envs, bool), infos)

    def read_truth(self, infos: dict) -> np.ndarray:
        if not self.truth_names:
            return np.zeros((self.envs.num_envs, 0), np.float32)
        return np.stack(
            [np.asarray(one, np.float32) for one in infos["truth"]]
        )  # Gymnasium's own give objects

    def collect(
        self, agent: Agent, rollout: Rollout, generator: torch.Generator, recorded: List[int]
    ) -> CollectStats:
        """Plays T steps: those of the N games go into `rollout`, those of the K games `recorded` (of all N + W) into
        the rows."""
        N = rollout.rewards.shape[1]
        played = CollectStats(rows=self.empty_rows(len(rollout.rewards), len(recorded)))
        for t in range(len(rollout.rewards)):
            views = self.stack.views[:N]
            actions, log_probs, values = agent.act(self.stack.views, generator)
            pressed = self.hands.press(actions.cpu(), generator).numpy()
            actions, log_probs, values = actions[:N], log_probs[:N], values[:N]
            self.record(played.rows, recorded, t, pressed)
            frames, rewards, terminated, truncated, infos = self.envs.step(pressed)
            ended = terminated | truncated
            rollout.views[t], rollout.actions[t], rollout.log_probs[t] = views, actions, log_probs
            rollout.values[t] = values
            rollout.rewards[t] = torch.from_numpy(rewards[:N].astype(np.float32))
            rollout.ended[t] = torch.from_numpy(ended[:N])
            rollout.next_values[t] = 0
            if t > 0:
                self.fill_next_values(rollout, t - 1, values)
            if truncated[:N].any():
                which = np.flatnonzero(truncated[:N])
                last_views = self.stack.preview(
                    preprocess_frames([infos["final_obs"][i] for i in which]), which
                )
                rollout.next_values[t, which] = agent.value_of(last_views)
            if played.rows:
                played.rows["rewards"][:, t] = rewards[recorded]
            self.returns += rewards
            self.lengths += 1
            played.episode_returns += self.returns[:N][ended[:N]].tolist()
            played.episode_lengths += self.lengths[:N][ended[:N]].tolist()
            self.returns[ended] = self.lengths[ended] = 0
            self.see(frames, ended, infos)
        self.fill_next_values(rollout, len(rollout.rewards) - 1, agent.value_of(self.stack.views[:N]))
        return played

    def see(self, frames: np.ndarray, first: np.ndarray, infos: dict) -> None:
        """What a step of the games brought; `first` (N + W,) bool: where it is the first frame after a reset."""
        self.frames, self.first, self.truth = frames, first, self.read_truth(infos)
        self.stack.push(infos["views"] if "views" in infos else preprocess_frames(frames), first)

    @staticmethod
    def fill_next_values(rollout: Rollout, t: int, values: torch.Tensor) -> None:
        """Where no episode ended, the value after action t is that of the next step's state (0 or set already else)."""
        rollout.next_values[t] = torch.where(rollout.ended[t], rollout.next_values[t], values)

    def empty_rows(self, num_steps: int, K: int) -> Dict[str, np.ndarray]:
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

    def record(self, rows: Dict[str, np.ndarray], games: List[int], t: int, actions: np.ndarray) -> None:
        """Frame t is what was seen when action t was chosen. games: the K that are recorded."""
        if not rows:
            return
        for row, game in zip(rows["frames"], games):  # one by one: self.frames[games] would be a copy
            row[t] = self.frames[game].transpose(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        rows["actions"][:, t] = actions[games]
        rows["episode_starts"][:, t] = self.first[games]
        if self.tracks is not None:
            rows["track"][:, t] = self.tracks[games]
        for i, name in enumerate(self.truth_names):
            rows[f"truth/{name}"][:, t] = self.truth[games, i]

    def state(self) -> dict:
        """All that is needed to go on with the same games; the games' own states where they can be saved."""
        return {
            "games": [torch.from_numpy(np.array(bytearray(one), np.uint8)) for one in self.game_states()],
            "frames": torch.from_numpy(self.frames.copy()),
            "truth": torch.from_numpy(self.truth),
            "first": torch.from_numpy(self.first),
            "returns": torch.from_numpy(self.returns),
            "lengths": torch.from_numpy(self.lengths),
            "views": self.stack.views.cpu(),
            "hands": self.hands.state(),
        }

    def game_states(self) -> List[bytes]:
        return list(self.envs.get_attr("saved_state"))

    def restore(self, state: dict) -> None:
        """Goes on where `state` was taken. Games that cannot be saved stay at their fresh start."""
        games = [one.numpy().tobytes() for one in state["games"]]
        if not games[0] or len(games) != self.envs.num_envs:
            return
        self.envs.set_attr("saved_state", games)
        self.frames, self.truth = state["frames"].numpy().copy(), state["truth"].numpy().copy()
        self.first = state["first"].numpy().copy()
        self.returns, self.lengths = state["returns"].numpy().copy(), state["lengths"].numpy().copy()
        self.hands.restore(state["hands"])
        self.stack.views = state["views"].to(self.stack.views.device).clone()
