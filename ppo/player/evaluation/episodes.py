"""Plays episodes of a game and sums them up: returns, and in games with a track also laps and contacts."""

import copy
from typing import Any, Callable, Dict, List, Sequence

import gymnasium
import numpy as np
import torch

from player.common.agent_view import preprocess_frames
from player.common.errors import InputError
from player.envs.vector_env import make_env
from player.games.game import BUILT_IN_GAME, Game
from player.rl.agent import Agent, FrameStack

MAX_ENVS = 32  # environments of Mode7Kart stepped together; a process can hold only one emulator
TEST_SEED = 500_000  # of a TestGame's episodes; far from those of training and of evaluate_ppo.py
TEST_SECONDS = 70.0  # of an episode of Mode7Kart in a TestGame
MAX_STEPS = 20_000  # decisions of an episode
MAX_OFF_ROAD = 0.05  # an episode is clean only if at most this fraction of its time is off the road

Policy = Callable[
    [torch.Tensor], np.ndarray
]  # views uint8 (M, STACK, OBS_SIZE, OBS_SIZE) -> actions int (M,)
EpisodeResult = Dict[str, Any]


def make_envs(game: Game, frame_skip: int, num_episodes: int, max_seconds: float) -> List[gymnasium.Env]:
    """Environments in which `run_episodes` plays `num_episodes`. max_seconds: time limit of an episode of Mode7Kart,
    which then begins anywhere on the track."""
    built_in = game.name == BUILT_IN_GAME
    settings = {"start": "anywhere", "max_seconds": max_seconds} if built_in else {}
    return [
        make_env(game, frame_skip, **settings) for _ in range(min(num_episodes, MAX_ENVS) if built_in else 1)
    ]


def agent_policy(agent: Agent, seed: int) -> Policy:
    """The agent's actions, sampled."""
    generator = torch.Generator().manual_seed(seed)
    return lambda views: agent.act(views, generator)[0].numpy()


def random_policy(num_actions: int, seed: int) -> Policy:
    """Uniformly random actions."""
    random = np.random.default_rng(seed)
    return lambda views: random.integers(num_actions, size=len(views))


def run_episodes(
    envs: List[gymnasium.Env], policy: Policy, seeds: List[int], game: Game
) -> List[EpisodeResult]:
    """Runs one episode per seed and returns the result of each.

    The episodes run in batches of one per environment; `policy` acts in the environments whose episodes have not ended.
    """
    results: List[EpisodeResult] = []
    for begin in range(0, len(seeds), len(envs)):
        batch = list(zip(envs, seeds[begin : begin + len(envs)]))
        starts = [env.reset(seed=seed) for env, seed in batch]
        statistics = [EpisodeStatistics(seed, info, game) for (_, seed), (_, info) in zip(batch, starts)]
        frames = np.stack([frame for frame, _ in starts])  # (B, H, W, 3)
        stack = FrameStack(len(batch), torch.device("cpu"))
        views = stack.push(preprocess_frames(frames), np.ones(len(batch), bool))
        while True:
            running = [i for i, episode in enumerate(statistics) if not episode.has_ended]
            if not running:
                break
            for i, action in zip(running, policy(views[running])):
                if statistics[i].num_steps == MAX_STEPS:  # some games never end
                    statistics[i].has_ended = True
                    continue
                frames[i], reward, terminated, truncated, info = envs[i].step(int(action))
                statistics[i].add(float(reward), terminated, truncated, info)
            views = stack.push(preprocess_frames(frames), np.zeros(len(batch), bool))
        results += [episode.result(envs[i]) for i, episode in enumerate(statistics)]
    return results


class EpisodeStatistics:
    """Sums up the steps of one episode."""

    def __init__(self, seed: int, info: Dict[str, Any], game: Game) -> None:
        """`info`: of the reset."""
        self.seed, self.game, self.has_ended, self.finished = seed, game, False, False
        self.num_steps, self.total_reward, self.off_road, self.wall = 0, 0.0, 0.0, 0.0
        self.has_progress = {"progress", "off_road", "wall"} <= set(game.truth_names)
        self.first_progress = self.progress = self.game_state(info)["progress"] if self.has_progress else 0.0

    def game_state(self, info: Dict[str, Any]) -> Dict[str, float]:
        """The values of `info["truth"]` by name."""
        return {name: float(value) for name, value in zip(self.game.truth_names, info["truth"])}

    def add(self, reward: float, terminated: bool, truncated: bool, info: Dict[str, Any]) -> None:
        """Adds the result of one step."""
        self.num_steps += 1
        self.total_reward += reward
        self.has_ended, self.finished = bool(terminated or truncated), bool(terminated)  # may be NumPy's
        if self.has_progress:
            state = self.game_state(info)
            self.progress = state["progress"]
            self.off_road += state["off_road"]
            self.wall += state["wall"]

    def result(self, env: gymnasium.Env) -> EpisodeResult:
        """Seed, return and number of steps; in games with progress along a track also the statistics of the race."""
        result: EpisodeResult = {"seed": self.seed, "return": self.total_reward, "steps": self.num_steps}
        if not self.has_progress:
            return result
        seconds = self.num_steps * env.unwrapped.frame_skip / self.game.frame_rate
        laps = (self.progress - self.first_progress) / env.unwrapped.track.length
        off_road = self.off_road / self.num_steps
        clean = self.finished and self.wall == 0 and off_road <= MAX_OFF_ROAD
        return {
            **result,
            "finished": self.finished,
            "clean": clean,
            "wall_contacts": self.wall,
            "off_road_share": off_road,
            "laps": laps,
            "seconds_a_lap": seconds / laps if laps >= 1 else None,
        }


def summarize(results: List[EpisodeResult]) -> Dict[str, Any]:
    """Counts the true values of booleans and averages all others, leaving out None (seconds of less than a lap)."""
    summary: Dict[str, Any] = {"episodes": len(results)}
    for name in (name for name in results[0] if name != "seed"):
        values = [result[name] for result in results]
        if isinstance(values[0], bool):
            summary[name] = sum(values)
        else:
            known = [value for value in values if value is not None]
            summary["mean_" + name] = sum(known) / len(known) if known else None
    return summary


def summarize_agents(episodes: Sequence[List[EpisodeResult]]) -> Dict[str, Any]:
    """The summary of all episodes of one or several agents of a kind; with several, also the standard deviation of each
    mean between them, as `mean_..._std`."""
    summary = summarize([result for each in episodes for result in each])
    if len(episodes) > 1:
        own = [summarize(each) for each in episodes]
        for name in [name for name in summary if name.startswith("mean_")]:
            values = [one[name] for one in own if one[name] is not None]
            summary[name + "_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return summary


class TestGame:
    """Another game with the same actions, in which an agent is measured while it is trained: the real game, for one
    that learns in a world model."""

    def __init__(self, game: Game, action_names: Sequence[str], num_episodes: int, seed: int) -> None:
        """Episode i of a measurement has the seed `seed` + i. Raises InputError if the game has other actions."""
        self.game = game
        names = [action.name for action in self.game.actions]
        if names != list(action_names):
            raise InputError(
                f"--test-game {game.name} has the actions {', '.join(names)}, --game has {', '.join(action_names)}"
            )
        self.envs = make_envs(self.game, self.game.frame_skip, num_episodes, TEST_SECONDS)
        self.seeds = [seed + i for i in range(num_episodes)]
        print(
            f"test game: {game.name}, {num_episodes} episodes, seeds from {seed}; {game.describe().splitlines()[0]}"
        )

    def measure(self, agent: Agent) -> Dict[str, float]:
        """Metrics of the agent: test/return, and in games with a track test/laps."""
        agent_on_cpu = copy.deepcopy(agent).cpu().eval()
        results = run_episodes(self.envs, agent_policy(agent_on_cpu, self.seeds[0]), self.seeds, self.game)
        summary = summarize(results)
        names = {"mean_return": "test/return", "mean_laps": "test/laps"}
        return {metric: summary[name] for name, metric in names.items() if summary.get(name) is not None}

    def close(self) -> None:
        for env in self.envs:
            env.close()
