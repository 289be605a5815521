"""Compares an agent with a random policy on the same episodes and prints a table.

python ppo/evaluate_ppo.py --agent ppo/checkpoints/RUN/best.pt                     # 20 random starts on track 0
python ppo/evaluate_ppo.py --agent best.pt --track 2 --episodes 50 --json output/agent.json
python ppo/evaluate_ppo.py --agent best.pt --game SuperMarioKart-Snes --integrations DIR --state NAME

The agent's actions are sampled, as in training and in recording. Takes about a minute on one CPU core.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import player  # noqa: F401  first: it reports packages that are missing
import gymnasium
import numpy as np
import torch
from player.common.agent_view import preprocess_frames
from player.common.errors import run_script
from player.common.startup import ArgumentParser
from player.envs.vector_env import make_env
from player.games.cli import add_game_options, check_game_options, find_options
from player.games.game import BUILT_IN_GAME, Game, check_agent
from player.games.registry import find_game, same_game
from player.rl.agent import Agent, FrameStack, load_agent

MAX_ENVS = 32  # environments of Mode7Kart stepped together; a process can hold only one emulator
MAX_OFF_ROAD = 0.05  # an episode is clean only if at most this fraction of its time is off the road

Policy = Callable[
    [torch.Tensor], np.ndarray
]  # views uint8 (M, STACK, OBS_SIZE, OBS_SIZE) -> actions int (M,)
EpisodeResult = Dict[str, Any]


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", required=True, metavar="FILE", help="the agent, a best.pt of train_ppo.py")
    parser.add_argument(
        "--episodes", type=int, default=20, help="number for each policy (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1000, help="episode i has seed SEED + i (default: %(default)s)"
    )
    add_game_options(parser)
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=180,
        help="Mode7Kart: time limit per episode (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all results to a JSON file")
    args = parser.parse_args(argv)
    if args.episodes < 1 or args.seed < 0 or args.max_seconds <= 0:
        parser.error("--episodes must be at least 1, --seed at least 0 and --max-seconds above 0")
    check_game_options(parser, args)
    return args


def main(args: argparse.Namespace) -> None:
    start_s = time.perf_counter()
    agent = load_agent(Path(args.agent))
    # As the agent was trained, unless the user says otherwise; settings are those of its own game alone.
    options = {**find_options(args), "frame_skip": agent.config.frame_skip}
    is_own_game = same_game(args.game, agent.config.game)
    if is_own_game and args.game != BUILT_IN_GAME:
        options["max_frames"] = args.max_frames or agent.config.max_frames
        options["game_settings"] = options["game_settings"] or agent.config.game_settings
    game = find_game(args.game, args.integrations, args.state, args.track, args.rivals, **options)
    check_agent(args.agent, agent.config, game, f"choose --game {agent.config.game}")
    if not is_own_game:
        print(
            f"assumed: an agent trained on {agent.config.game} can play {game.name}, whose actions are the same"
        )
    built_in = game.name == BUILT_IN_GAME
    seeds = [args.seed + i for i in range(args.episodes)]
    print(f"{game.name}{f', track {args.track}' if built_in else ''}: seeds {seeds[0]} to {seeds[-1]}")
    print(game.describe())
    settings = {"start": "anywhere", "max_seconds": args.max_seconds} if built_in else {}
    num_envs = min(args.episodes, MAX_ENVS) if built_in else 1
    envs = [make_env(game, agent.config.frame_skip, **settings) for _ in range(num_envs)]
    try:
        policies = {
            "agent": agent_policy(agent, args.seed),
            "random": random_policy(agent.config.num_actions, args.seed),
        }
        episodes = {name: run_episodes(envs, policy, seeds, game) for name, policy in policies.items()}
    finally:
        for env in envs:
            env.close()
    summaries = {name: summarize(results) for name, results in episodes.items()}
    print_table(summaries)
    print(f"{time.perf_counter() - start_s:.0f} s")
    if args.json:
        report = {
            "checkpoint": str(args.agent),
            "game": game.name,
            "track": args.track if built_in else None,
            "rivals": args.rivals,
            "seeds": seeds,
            "summary": summaries,
            "episodes": episodes,
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


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


TABLE_ROWS = {
    "finished": "finished races",
    "clean": "  without wall contact, at most 5 % of the time off the road",
    "mean_wall_contacts": "wall contacts or falls into the water, frames",
    "mean_off_road_share": "fraction of the time off the road",
    "mean_laps": "laps",
    "mean_seconds_a_lap": "seconds per lap",
    "mean_return": "return",
    "mean_steps": "decisions",
}


def print_table(summaries: Dict[str, Dict[str, Any]]) -> None:
    """Prints one column per policy. `summaries`: name of the policy -> result of `summarize`."""
    print(f"{'mean per episode, or number of episodes':62}" + "".join(f"{name:>12}" for name in summaries))
    for key, label in TABLE_ROWS.items():
        if key in next(iter(summaries.values())):
            print(f"{label:62}" + "".join(f"{format_cell(key, one):>12}" for one in summaries.values()))


def format_cell(key: str, summary: Dict[str, Any]) -> str:
    """One value of a summary as text."""
    value = summary[key]
    if isinstance(value, int):
        return f"{value} of {summary['episodes']}"
    return "-" if value is None else f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
