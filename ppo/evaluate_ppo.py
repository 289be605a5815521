"""Compares an agent with a random policy on the same episodes, in one table.

python ppo/evaluate_ppo.py --agent ppo/checkpoints/RUN/best.pt                     # 20 starts anywhere on track 0
python ppo/evaluate_ppo.py --agent best.pt --track 2 --episodes 50 --json output/agent.json
python ppo/evaluate_ppo.py --agent best.pt --game SuperMarioKart-Snes --integrations DIR --state NAME

The agent's actions are sampled, as in training and in recording. Takes about a minute on one CPU core.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import gymnasium
import numpy as np
import torch
from player.common.agent_view import preprocess_frames
from player.common.errors import InputError, run_script
from player.envs.vector_env import make_env
from player.games.cli import add_game_options, check_game_options, emulator_options
from player.games.game import Game
from player.games.registry import find_game
from player.rl.agent import Agent, FrameStack, load_agent

GAMES_AT_ONCE = 32  # of Mode7Kart; of an emulator game a process holds only one
MAX_OFF_ROAD = 0.05  # share of an episode's time, for it to count as clean

Choose = Callable[[torch.Tensor], np.ndarray]  # views (M, STACK, OBS_SIZE, OBS_SIZE) -> actions (M,)
Episode = Dict[str, Any]


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agent", required=True, metavar="FILE", help="the agent, a best.pt of train_ppo.py")
    parser.add_argument("--episodes", type=int, default=20, help="of each driver (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1000, help="of the first; episode i has seed + i (default: %(default)s)"
    )
    add_game_options(parser)
    parser.add_argument(
        "--max-seconds", type=float, default=180, help="Mode7Kart: time limit (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every episode there too")
    args = parser.parse_args(argv)
    if args.episodes < 1 or args.seed < 0 or args.max_seconds <= 0:
        parser.error("--episodes must be at least 1, --seed at least 0 and --max-seconds above 0")
    check_game_options(parser, args)
    return args


def main(args: argparse.Namespace) -> None:
    started = time.perf_counter()
    agent = load_agent(Path(args.agent))
    game = find_game(
        args.game, args.integrations, args.state, args.track, args.rivals, **emulator_options(args)
    )
    if agent.config.action_names != tuple(action.name for action in game.actions):
        raise InputError(
            f"{args.agent} was trained on {agent.config.game}: choose --game {agent.config.game}"
        )
    built_in = game.name == "Mode7Kart-v0"
    seeds = [args.seed + i for i in range(args.episodes)]
    print(f"{game.name}{f', track {args.track}' if built_in else ''}: seeds {seeds[0]} to {seeds[-1]}")
    settings = {"start": "anywhere", "max_seconds": args.max_seconds} if built_in else {}
    num_envs = min(args.episodes, GAMES_AT_ONCE) if built_in else 1
    envs = [make_env(game, agent.config.frame_skip, **settings) for _ in range(num_envs)]
    try:
        drivers = {
            "agent": sampled(agent, args.seed),
            "random": at_random(agent.config.num_actions, args.seed),
        }
        episodes = {name: play(envs, choose, seeds, game) for name, choose in drivers.items()}
    finally:
        for env in envs:
            env.close()
    summaries = {name: summary(played) for name, played in episodes.items()}
    print_table(summaries)
    print(f"{time.perf_counter() - started:.0f} s")
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


def sampled(agent: Agent, seed: int) -> Choose:
    generator = torch.Generator().manual_seed(seed)
    return lambda views: agent.act(views, generator)[0].numpy()


def at_random(num_actions: int, seed: int) -> Choose:
    random = np.random.default_rng(seed)
    return lambda views: random.integers(num_actions, size=len(views))


def play(envs: List[gymnasium.Env], choose: Choose, seeds: List[int], game: Game) -> List[Episode]:
    """One episode a seed, in as many games at once as there are; those that are over wait for the others."""
    episodes: List[Episode] = []
    for begin in range(0, len(seeds), len(envs)):
        batch = list(zip(envs, seeds[begin : begin + len(envs)]))
        starts = [env.reset(seed=seed) for env, seed in batch]
        tallies = [Tally(seed, info, game) for (_, seed), (_, info) in zip(batch, starts)]
        frames = np.stack([frame for frame, _ in starts])  # (B, H, W, 3)
        stack = FrameStack(len(batch), torch.device("cpu"))
        views = stack.push(preprocess_frames(frames), np.ones(len(batch), bool))
        while True:
            going = [i for i, tally in enumerate(tallies) if not tally.over]
            if not going:
                break
            for i, action in zip(going, choose(views[going])):
                frames[i], reward, terminated, truncated, info = envs[i].step(int(action))
                tallies[i].add(float(reward), terminated, truncated, info)
            views = stack.push(preprocess_frames(frames), np.zeros(len(batch), bool))
        episodes += [tally.episode(envs[i]) for i, tally in enumerate(tallies)]
    return episodes


class Tally:
    """Counts what happens in one episode."""

    def __init__(self, seed: int, info: Dict[str, Any], game: Game) -> None:
        self.seed, self.game, self.over, self.finished = seed, game, False, False
        self.num_steps, self.total_reward, self.off_road, self.wall = 0, 0.0, 0.0, 0.0
        self.has_progress = {"progress", "off_road", "wall"} <= set(game.truth_names)
        self.begin = self.progress = self.read(info)["progress"] if self.has_progress else 0.0

    def read(self, info: Dict[str, Any]) -> Dict[str, float]:
        return {name: float(value) for name, value in zip(self.game.truth_names, info["truth"])}

    def add(self, reward: float, terminated: bool, truncated: bool, info: Dict[str, Any]) -> None:
        self.num_steps += 1
        self.total_reward += reward
        self.over, self.finished = bool(terminated or truncated), bool(terminated)  # may be numpy's
        if self.has_progress:
            truth = self.read(info)
            self.progress = truth["progress"]
            self.off_road += truth["off_road"]
            self.wall += truth["wall"]

    def episode(self, env: gymnasium.Env) -> Episode:
        found: Episode = {"seed": self.seed, "return": self.total_reward, "steps": self.num_steps}
        if not self.has_progress:
            return found
        seconds = self.num_steps * env.unwrapped.frame_skip / self.game.frame_rate
        laps = (self.progress - self.begin) / env.unwrapped.track.length
        off_road = self.off_road / self.num_steps
        clean = self.finished and self.wall == 0 and off_road <= MAX_OFF_ROAD
        return {
            **found,
            "finished": self.finished,
            "clean": clean,
            "wall_contacts": self.wall,
            "off_road_share": off_road,
            "laps": laps,
            "seconds_a_lap": seconds / laps if laps >= 1 else None,
        }


def summary(episodes: List[Episode]) -> Dict[str, Any]:
    """Counts of what is true or false, means of the rest. Seconds a lap: over the episodes of a lap at least."""
    result: Dict[str, Any] = {"episodes": len(episodes)}
    for name in (name for name in episodes[0] if name != "seed"):
        values = [episode[name] for episode in episodes]
        if isinstance(values[0], bool):
            result[name] = sum(values)
        else:
            known = [value for value in values if value is not None]
            result["mean_" + name] = sum(known) / len(known) if known else None
    return result


ROWS = {
    "finished": "finished the race",
    "clean": "  and touched no wall, <= 5 % of the time off the road",
    "mean_wall_contacts": "wall contacts or falls into the water, frames",
    "mean_off_road_share": "share of the time off the road",
    "mean_laps": "laps driven",
    "mean_seconds_a_lap": "seconds a lap",
    "mean_return": "return",
    "mean_steps": "decisions an episode",
}


def print_table(summaries: Dict[str, Dict[str, Any]]) -> None:
    print(f"{'mean of an episode, or episodes of all':54}" + "".join(f"{name:>12}" for name in summaries))
    for key, words in ROWS.items():
        if key in next(iter(summaries.values())):
            print(f"{words:54}" + "".join(f"{cell(key, found):>12}" for found in summaries.values()))


def cell(key: str, found: Dict[str, Any]) -> str:
    if isinstance(found[key], int):
        return f"{found[key]} of {found['episodes']}"
    return "-" if found[key] is None else f"{found[key]:.3g}" if abs(found[key]) < 1 else f"{found[key]:.1f}"


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
