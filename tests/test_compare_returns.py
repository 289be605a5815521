"""compare_returns.py: the same agents in two games."""

import json

import compare_returns
import numpy as np
import pytest
from player.common.errors import InputError


def write(path, game: str, rewards: dict, steps: int, folder: str = "run"):
    """A file as evaluate_ppo.py --json writes it. rewards: per decision, by the name of the agent."""
    episodes = {
        name: [
            [
                {"seed": 1, "return": reward * steps, "steps": steps},
                {"seed": 2, "return": 0.0, "steps": steps},
            ]
        ]
        for name, reward in rewards.items()
    }
    checkpoints = {name: [f"{folder}/{name}.pt"] for name in rewards if name != "random"}
    path.write_text(json.dumps({"game": game, "episodes": episodes, "checkpoints": checkpoints}))
    return path


def compare(*paths) -> None:
    compare_returns.main(compare_returns.parse_args([*map(str, paths)]))


def test_rewards_and_ranks_are_compared(tmp_path, capsys):
    game = write(tmp_path / "a.json", "Game-v0", {"a": 2, "b": 4, "c": 8, "d": 6, "random": -1}, 100)
    model = write(tmp_path / "b.json", "Dream-v0", {"a": 1, "b": 3, "c": 5, "d": 7, "random": -2}, 10)
    compare(game, model)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][-2:] == ["Game-v0", "Dream-v0"]
    assert lines[1] == ["a", "1.000", "0.500"] and lines[5] == ["random", "-0.500", "-1.000"]
    assert lines[6][-3:] == ["4", "agents:", "0.80"]  # the random policy has no rank


def test_spearman():
    """Against the definition for ranks without ties, 1 - 6 sum d^2 / (n (n^2 - 1)), and an example with ties."""
    x, y = np.array([10.0, 20, 30, 40, 50]), np.array([0.1, 0.5, 0.3, 0.2, 0.9])
    d = np.array([0, 2, 0, 2, 0])
    assert compare_returns.spearman(x, y) == pytest.approx(1 - 6 * (d**2).sum() / (5 * 24))
    assert compare_returns.spearman(x, -x) == pytest.approx(-1)
    tied = np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1]
    assert compare_returns.spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(tied)
    assert np.isnan(compare_returns.spearman(np.ones(3), x[:3]))


def test_files_that_do_not_fit(tmp_path):
    good = write(tmp_path / "a.json", "Game-v0", {"a": 1}, 10)
    with pytest.raises(InputError, match="no agent of the same name"):
        compare(good, write(tmp_path / "b.json", "Game-v0", {"b": 1}, 10))
    with pytest.raises(InputError, match="a is another agent in"):
        compare(good, write(tmp_path / "c.json", "Game-v0", {"a": 1}, 10, folder="other"))
    with pytest.raises(InputError, match="No such file"):
        compare(good, tmp_path / "none.json")
    compare(good, write(tmp_path / "e.json", "Game-v0", {"a": 1}, 10, folder="./x/../run"))  # the same file
    whole = json.loads(good.read_text())
    damaged = [{**whole, "checkpoints": []}, {**whole, "game": ["x"]}, {**whole, "episodes": {"a": [[]]}}]
    for content in ("", "[]", "{}", "[" * 100_000, "\x89PNG", *map(json.dumps, damaged)):
        (tmp_path / "d.json").write_text(content)
        with pytest.raises(InputError, match=r"was not written by evaluate_ppo.py"):
            compare(good, tmp_path / "d.json")
