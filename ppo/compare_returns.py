"""Compares how agents do in two games: in a world model and in the game that it is a model of.

python ppo/evaluate_ppo.py --agent a=a.pt b=b.pt --frame-size 56 128 --json game.json
python ppo/evaluate_ppo.py --agent a=a.pt b=b.pt --game dream_env:Dream-v0 --game-path sd \\
    --game-settings model_path=FILE --json model.json
python ppo/compare_returns.py game.json model.json

Prints the mean reward per decision of each policy in both, since episodes of a model are shorter, and Spearman's rank
correlation between the two: 1 if the model puts the agents into the order in which the game puts them. An agent that
exploits errors of the model gets more there than in the game.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

import player  # noqa: F401  first of ours: it reports packages that are missing
import numpy as np
from player.common.errors import InputError, run_script
from player.common.startup import ArgumentParser


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs=2, metavar="FILE.json",
                        help="what evaluate_ppo.py --json wrote for the same agents in two games")  # fmt: skip
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    first, second = (read_results(path) for path in args.results)
    names = [name for name in first["episodes"] if name in second["episodes"]]
    if not names:
        raise InputError(f"{args.results[0]} and {args.results[1]} have no agent of the same name")
    for name in names:
        files = [
            [Path(file).resolve() for file in each["checkpoints"].get(name, [])] for each in (first, second)
        ]
        if files[0] != files[1]:
            raise InputError(
                f"{name} is another agent in {args.results[1]}: evaluate the same files in both games"
            )
    rewards = np.array(
        [[reward_per_decision(each["episodes"][name]) for each in (first, second)] for name in names]
    )
    head, games = "reward per decision", [each["game"] for each in (first, second)]
    width, column = max(map(len, (head, *names))), 2 + max(map(len, games))
    print(f"{head:{width}}" + "".join(f"{game:>{column}}" for game in games))
    for name, row in zip(names, rewards):
        print(f"{name:{width}}" + "".join(f"{reward:{column}.3f}" for reward in row))
    agents = [i for i, name in enumerate(names) if name in first["checkpoints"]]
    if len(agents) > 2:
        rho = spearman(*rewards[agents].T)
        print(f"Spearman's rank correlation of {len(agents)} agents: {rho:.2f}")


def read_results(path: Path) -> Dict[str, Any]:
    """The content of a file that evaluate_ppo.py --json wrote. Raises InputError if it is not one."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        for agents in results["episodes"].values():
            reward_per_decision(agents)
        for files in results["checkpoints"].values():
            [Path(file) for file in files]
        if not isinstance(results["game"], str):
            raise TypeError("its game has no name")
    except OSError as problem:
        raise InputError(
            f"{path}: {problem.strerror or problem}; evaluate_ppo.py --json writes such files"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError, RecursionError):
        raise InputError(f"{path} was not written by evaluate_ppo.py --json, or is damaged") from None
    return results


def reward_per_decision(agents: List[List[Dict[str, float]]]) -> float:
    """Mean over all decisions in all episodes of one or several agents."""
    episodes = [episode for each in agents for episode in each]
    return sum(episode["return"] for episode in episodes) / sum(episode["steps"] for episode in episodes)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of x and y float (N,): the correlation of their ranks, where equal values share the
    mean of theirs. NaN if all of x or all of y are equal."""
    ranks = [(values[:, None] > values).sum(1) + (values[:, None] == values).sum(1) / 2 for values in (x, y)]
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
