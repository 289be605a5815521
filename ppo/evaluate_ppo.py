"""Compares agents with each other and with a random policy on the same episodes and prints a table.

python ppo/evaluate_ppo.py --agent ppo/checkpoints/RUN/best.pt                     # 20 random starts on track 0
python ppo/evaluate_ppo.py --agent cloned=c.pt model=a/best.pt,b/best.pt --plot returns.png     # a and b: two seeds
python ppo/evaluate_ppo.py --agent best.pt --track 2 --episodes 50 --json output/agent.json
python ppo/evaluate_ppo.py --agent best.pt --game SuperMarioKart-Snes --integrations DIR --state NAME

The agent's actions are sampled, as in training and in recording. Takes about a minute on one CPU core.
"""

import argparse
import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List, Sequence

import player  # noqa: F401  first: it reports packages that are missing
from player.common.errors import InputError, run_script
from player.common.startup import ArgumentParser
from player.evaluation.episodes import (
    agent_policy,
    make_envs,
    random_policy,
    run_episodes,
    summarize_agents,
)
from player.evaluation.plot import plot_returns
from player.games.cli import add_game_options, check_game_options, find_options
from player.games.game import BUILT_IN_GAME, Game, check_agent, compare_with_agent
from player.games.registry import find_game, same_game
from player.rl.agent import Agent, load_agent

RANDOM = "random"


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", required=True, nargs="+", metavar="[NAME=]FILE[,FILE...]",
                        help="agents, each a best.pt of train_ppo.py, or several of one kind, trained with other "
                        "seeds: their mean and deviation are printed")  # fmt: skip
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
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also plot the return of every episode")
    args = parser.parse_args(argv)
    if args.episodes < 1 or args.seed < 0 or args.max_seconds <= 0:
        parser.error("--episodes must be at least 1, --seed at least 0 and --max-seconds above 0")
    check_game_options(parser, args)
    if args.plot and args.plot.suffix != ".png":
        parser.error(f"--plot {args.plot}: the name must end in .png")
    if args.plot and not find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: pip install matplotlib")
    return args


def parse_agents(words: Sequence[str]) -> Dict[str, List[Path]]:
    """Files by name, from words such as "cloned=c.pt" or "a.pt,b.pt"; without a name, "agent" or the file's folder."""
    agents: Dict[str, List[Path]] = {}
    for word in words:
        name, separator, listed = ("", "", "") if Path(word).exists() else word.partition("=")
        files = [word] if Path(word).exists() else (listed if separator else word).split(",")
        if not separator:
            name = "agent" if len(words) == 1 else Path(word).resolve().parent.name
        if not name or name in agents or name == RANDOM:
            raise InputError(f"--agent {word}: give every agent another name, as in --agent NAME=best.pt")
        if not all(files):
            raise InputError(f"--agent {word}: no file after {name}=, or an empty one between two commas")
        agents[name] = [Path(file) for file in files]
    return agents


def main(args: argparse.Namespace) -> None:
    start_s = time.perf_counter()
    files = parse_agents(args.agent)
    agents = {name: [load_agent(path) for path in paths] for name, paths in files.items()}
    game = choose_game(args, [agent for each in agents.values() for agent in each])
    for name, paths in files.items():
        for path, agent in zip(paths, agents[name]):
            check_agent(path, agent.config, game, f"choose --game {agent.config.game}")
            lines = [
                f"assumed: an agent trained on {agent.config.game} can play {game.name}: the actions are the same"
            ]
            if same_game(game.name, agent.config.game):
                lines = compare_with_agent(game, agent.config)
            for line in lines:
                print(f"{path}: {line}")
    built_in = game.name == BUILT_IN_GAME
    seeds = [args.seed + i for i in range(args.episodes)]
    print(f"{game.name}{f', track {args.track}' if built_in else ''}: seeds {seeds[0]} to {seeds[-1]}")
    print(game.describe())
    envs = make_envs(game, game.frame_skip, args.episodes, args.max_seconds)
    try:
        # name -> one list of episodes for each of its agents
        episodes = {
            name: [run_episodes(envs, agent_policy(agent, args.seed), seeds, game) for agent in each]
            for name, each in agents.items()
        }
        policy = random_policy(len(game.actions), args.seed)
        episodes[RANDOM] = [run_episodes(envs, policy, seeds, game)]
    finally:
        for env in envs:
            env.close()
    summaries = {name: summarize_agents(each) for name, each in episodes.items()}
    print_table(summaries)
    print(f"{time.perf_counter() - start_s:.0f} s")
    if args.json:
        report = {
            "checkpoints": {name: [*map(str, paths)] for name, paths in files.items()},
            "game": game.name,
            "track": args.track if built_in else None,
            "rivals": args.rivals,
            "seeds": seeds,
            "summary": summaries,
            "episodes": episodes,
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        plot_returns(episodes, game.name, args.plot)
        print(f"wrote {args.plot}")


def choose_game(args: argparse.Namespace, agents: List[Agent]) -> Game:
    """The game of --game, as the agents were trained on it, unless the user says otherwise. An agent of another game,
    such as a world model of this one, says nothing about this one's frame skip and settings."""
    options = find_options(args)
    config = next((agent.config for agent in agents if same_game(args.game, agent.config.game)), None)
    if config:
        options["frame_skip"] = config.frame_skip
    if config and args.game != BUILT_IN_GAME:
        options["max_frames"] = args.max_frames or config.max_frames
        options["game_settings"] = options["game_settings"] or config.game_settings
    return find_game(args.game, args.integrations, args.state, args.track, args.rivals, **options)


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
    cells = {
        key: [format_cell(key, one) for one in summaries.values()]
        for key in TABLE_ROWS
        if key in next(iter(summaries.values()))
    }
    width = 2 + max(len(cell) for row in (list(summaries), *cells.values()) for cell in row)
    for label, row in (("mean per episode, or number of episodes", list(summaries)), *cells.items()):
        print(f"{TABLE_ROWS.get(label, label):62}" + "".join(f"{cell:>{width}}" for cell in row))


def format_cell(key: str, summary: Dict[str, Any]) -> str:
    """One value of a summary as text."""
    value, deviation = summary[key], summary.get(key + "_std")
    if isinstance(value, int):
        return f"{value} of {summary['episodes']}"
    cells = ["-" if number is None else f"{number:.3g}" if abs(value) < 1 else f"{number:.1f}"
             for number in (value, deviation)[: 2 if key + "_std" in summary and value is not None else 1]]  # fmt: skip
    return " +- ".join(cells)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
