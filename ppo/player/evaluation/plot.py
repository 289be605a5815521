"""A plot of returns: one row per policy, a dot per episode, a line at the mean of each agent."""

from pathlib import Path
from typing import Dict, List

import numpy as np

from player.evaluation.episodes import EpisodeResult

ROW_INCHES, WIDTH_INCHES, DPI = 0.55, 8.0, 120
SPREAD = 0.5  # of a row's height, over which its agents are distributed


def plot_returns(episodes: Dict[str, List[List[EpisodeResult]]], game: str, path: Path) -> None:
    """Writes the plot. episodes: name of the policy -> for each of its agents a list of results. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 1 + ROW_INCHES * len(episodes)))
    for row, agents in enumerate(episodes.values()):
        for i, results in enumerate(agents):
            y = row + (SPREAD * ((i + 0.5) / len(agents) - 0.5) if len(agents) > 1 else 0.0)
            returns = [result["return"] for result in results]
            axes.scatter(returns, [y] * len(returns), s=14, color="tab:blue", alpha=0.45, linewidths=0)
            axes.plot([np.mean(returns)] * 2, [y - 0.12, y + 0.12], color="black", linewidth=2)
    axes.set_yticks(range(len(episodes)), list(episodes))
    axes.set_ylim(len(episodes) - 0.5, -0.5)
    axes.set_xlabel(f"return of an episode of {game} (line: mean of an agent)")
    axes.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
