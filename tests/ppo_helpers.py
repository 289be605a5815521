"""Helpers of the PPO tests: environments whose frames show the action, stand-ins for an agent, the script's options."""

from pathlib import Path

import gymnasium
import numpy as np
import torch
import train_ppo
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from player.rl.agent import Agent, AgentConfig
from player.rl.behavior import BehaviorPolicies
from player.rl.collector import RolloutCollector
from player.rl.rollout_buffer import Rollout

CPU = torch.device("cpu")
NUM_ACTIONS = 6
SCRIPT = Path(train_ppo.__file__)
TINY = ["--n-envs", "2", "--n-steps", "32", "--batch-size", "32", "--video-every", "0", "--device", "cpu"]


class ShadeEnv(gymnasium.Env):
    """A frame has one shade: 0 after a reset, then 36 (action + 1) + number of steps since the reset.

    The reward of a step is that number of steps. `episodes`: length of each episode, and whether it terminates; the
    others are truncated.
    """

    observation_space = gymnasium.spaces.Box(0, 255, (12, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(NUM_ACTIONS)
    saved_state = b""

    def __init__(self, episodes: list[tuple[int, bool]]) -> None:
        self.episodes, self.number = episodes, -1

    def frame(self, shade: int) -> tuple[np.ndarray, dict]:
        return np.full((12, 16, 3), shade, np.uint8), {"truth": np.array([shade], np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number, self.steps = self.number + 1, 0
        return self.frame(0)

    def step(self, action):
        self.steps += 1
        length, terminates = self.episodes[self.number % len(self.episodes)]
        done = self.steps == length
        frame, info = self.frame(36 * (int(action) + 1) + self.steps)
        return frame, float(self.steps), done and terminates, done and not terminates, info


class ShadeAgent:
    """Stands in for an agent: random actions, and a value that differs for all stacks of shades."""

    weights = torch.tensor([1.0, 3.0, 7.0, 11.0])

    def predict_values(self, views: torch.Tensor) -> torch.Tensor:
        return views.float().mean(dim=(2, 3)) @ self.weights

    def act(self, views: torch.Tensor, generator: torch.Generator):
        actions = torch.randint(NUM_ACTIONS, (len(views),), generator=generator)
        return actions, torch.zeros(len(views)), self.predict_values(views)


# Of each of the three environments
EPISODES = ([(3, True), (5, False)], [(2, False), (1, True), (1, False)], [(7, True)])
ENV_FNS = [lambda episodes=episodes: ShadeEnv(episodes) for episodes in EPISODES]


def collect(num_steps: int, recorded: tuple = (0, 1, 2), explore_envs: int = 0, envs=None):
    """A rollout of ShadeAgent, its CollectStats, and the collector. envs: a vector environment of ENV_FNS."""
    envs = envs or SyncVectorEnv(ENV_FNS, autoreset_mode=AutoresetMode.SAME_STEP)
    names = ["agent"] * (envs.num_envs - explore_envs) + ["wander"] * explore_envs
    collector = RolloutCollector(envs, 0, ("shade",), CPU, BehaviorPolicies(names, NUM_ACTIONS))
    rollout = Rollout.empty(num_steps, len(EPISODES) - explore_envs, CPU)
    stats = collector.collect(ShadeAgent(), rollout, torch.Generator().manual_seed(1), list(recorded))
    return rollout, stats, collector


def new_agent(seed: int = 0) -> Agent:
    """An agent with random weights for Mode7Kart."""
    torch.manual_seed(seed)
    names = ("nothing", "forward", "left", "right", "forward+left", "forward+right")
    return Agent(AgentConfig(NUM_ACTIONS, names, "Mode7Kart-v0", 4))


def train(*flags) -> None:
    """Runs train_ppo.py in this process with small settings."""
    train_ppo.main(train_ppo.parse_args([*TINY, *map(str, flags)]))
