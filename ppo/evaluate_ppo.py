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
from typing import Any, Dict

import player  # noqa: F401  first: it reports packages that are missing
from player.common.errors import run_script
from player.common.startup import ArgumentParser
from player.evaluation.episodes import agent_policy, make_envs, random_policy, run_episodes, summarize
from player.games.cli import add_game_options, check_game_options, find_options
from player.games.game import BUILT_IN_GAME, check_agent
from player.games.registry import find_game, same_game
from player.rl.agent import load_agent


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
    options, is_own_game = find_options(args), same_game(args.game, agent.config.game)
    if is_own_game:  # a step of another one, such as a world model, may be several frames of this game
        options["frame_skip"] = agent.config.frame_skip
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
    envs = make_envs(game, game.frame_skip, args.episodes, args.max_seconds)
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
