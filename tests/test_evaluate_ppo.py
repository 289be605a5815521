"""evaluate_ppo.py: statistics of the agent and of a random policy."""

import json
from pathlib import Path

import evaluate_ppo
import numpy as np
import pytest
import torch
from agent_helpers import save_forward_agent
from player.common.errors import InputError
from player.common.runs import save_checkpoint
from player.evaluation.episodes import random_policy, run_episodes, summarize
from player.games.game import DRIVING_ACTIONS, Game
from player.games.registry import find_game
from player.rl.agent import Agent, AgentConfig, agent_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_forward_agent(tmp_path_factory.mktemp("agent") / "best.pt")


def test_evaluation_compares_agent_and_random_policy(checkpoint, tmp_path, capsys):
    flags = ["--episodes", "3", "--max-seconds", "8", "--seed", "5", "--json", str(tmp_path / "results.json")]
    evaluate_ppo.main(evaluate_ppo.parse_args(["--agent", str(checkpoint), *flags]))
    output = capsys.readouterr().out
    assert "seeds 5 to 7" in output and "0 of 3" in output
    results = json.loads((tmp_path / "results.json").read_text())
    agent, random = results["summary"]["agent"], results["summary"]["random"]
    assert agent["episodes"] == random["episodes"] == 3 and agent["finished"] == 0
    assert agent["mean_laps"] > 0 and agent["mean_seconds_a_lap"] is None
    assert [episode["seed"] for episode in results["episodes"]["agent"][0]] == [5, 6, 7]


def test_several_agents_are_compared(checkpoint, tmp_path, capsys):
    """Of two agents of a kind, trained with other seeds, mean and deviation; here they are the same agent."""
    pytest.importorskip("matplotlib")
    words = [f"twins={checkpoint},{checkpoint}", f"one={checkpoint}"]
    flags = ["--episodes", "2", "--max-seconds", "4", "--plot", str(tmp_path / "p" / "returns.png")]
    evaluate_ppo.main(
        evaluate_ppo.parse_args(["--agent", *words, *flags, "--json", str(tmp_path / "a.json")])
    )
    results = json.loads((tmp_path / "a.json").read_text())
    twins, one = (results["summary"][name] for name in ("twins", "one"))
    assert twins["episodes"] == 4 and twins["mean_return"] == pytest.approx(one["mean_return"])
    assert twins["mean_return_std"] == pytest.approx(0) and "mean_return_std" not in one
    assert list(results["summary"]) == ["twins", "one", "random"]
    assert (tmp_path / "p" / "returns.png").read_bytes().startswith(b"\x89PNG")
    header = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("mean per episode")
    )
    assert header.split()[-3:] == ["twins", "one", "random"]


def test_names_of_agents(tmp_path):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "best.pt"
    path.touch()
    assert evaluate_ppo.parse_agents([str(path)]) == {"agent": [path]}
    assert evaluate_ppo.parse_agents([str(path), "b=x.pt,y.pt"]) == {
        "run": [path], "b": [Path("x.pt"), Path("y.pt")],
    }  # fmt: skip
    for words in ([str(path), str(path)], ["random=x.pt"], ["=x.pt"]):
        with pytest.raises(InputError, match="give every agent another name"):
            evaluate_ppo.parse_agents(words)
    for words in (["b="], ["b=x.pt,,y.pt"]):
        with pytest.raises(InputError, match="no file after b="):
            evaluate_ppo.parse_agents(words)
    odd = tmp_path / "a,b=c.pt"
    odd.touch()
    assert evaluate_ppo.parse_agents([str(odd)]) == {"agent": [odd]}


def test_columns_do_not_run_together(capsys):
    summary = {
        "episodes": 4,
        "mean_return": 1234.5,
        "mean_return_std": 1234.5,
        "mean_steps": 0.25,
        "mean_steps_std": 0.125,
    }
    evaluate_ppo.print_table(
        {"a": summary, "b": summary, "random": {"episodes": 4, "mean_return": None, "mean_steps": 3.0}}
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[1:] == ["1234.5", "+-", "1234.5"] * 2 + ["-"]
    assert lines[2].split()[1:] == ["0.25", "+-", "0.125"] * 2 + ["3.0"]


def test_a_plot_of_another_kind_is_refused_at_once(capsys):
    with pytest.raises(SystemExit):
        evaluate_ppo.parse_args(["--agent", "x.pt", "--plot", "returns.foo"])
    assert "must end in .png" in capsys.readouterr().err


def test_an_agent_of_another_game_does_not_choose_the_frame_skip(tmp_path):
    """In a world model a step is one frame of the recording, which is four of the game's."""
    agent = Agent(AgentConfig(6, tuple(action.name for action in DRIVING_ACTIONS), "dream_env:Dream-v0", 1))
    save_checkpoint(agent_checkpoint(agent), tmp_path / "a.pt")
    args = evaluate_ppo.parse_args(["--agent", str(tmp_path / "a.pt")])
    assert evaluate_ppo.choose_game(args, [agent]).frame_skip == 4


def test_evaluation_statistics():
    """A scripted policy finishes without penalties; the results do not depend on the batch size."""
    from mode7_helpers import look_ahead_action

    game = find_game("Mode7Kart-v0")
    envs = [game.make(laps=1, frame_skip=4) for _ in range(2)]

    def choose(views: torch.Tensor) -> np.ndarray:
        running = [env for env in envs if env.state["progress"] < env.track.length]
        return np.array([look_ahead_action(env) for env in running[: len(views)]])

    batched = run_episodes(envs, choose, [3, 4], game)
    assert [episode["finished"] for episode in batched] == [True, True]
    assert all(episode["clean"] and episode["wall_contacts"] == 0 for episode in batched)
    assert all(1 <= episode["laps"] < 2.1 and 15 < episode["seconds_a_lap"] < 25 for episode in batched)
    envs = envs[:1]
    assert run_episodes(envs, choose, [3, 4], game) == batched


def test_evaluation_without_game_state_has_only_the_return():
    class ShortGame:
        frame_skip = 4
        unwrapped = None

        def reset(self, seed):
            self.steps = 0
            return np.zeros((12, 16, 3), np.uint8), {}

        def step(self, action):
            self.steps += 1
            return np.zeros((12, 16, 3), np.uint8), 2.0, self.steps == 5, False, {}

    game = Game("Other-v0", DRIVING_ACTIONS, 60, ShortGame)
    episodes = run_episodes([ShortGame()], random_policy(6, 0), [1, 2], game)
    assert episodes == [{"seed": seed, "return": 10.0, "steps": 5} for seed in (1, 2)]
    summary = summarize(episodes)
    assert summary == {"episodes": 2, "mean_return": 10.0, "mean_steps": 5.0}
    evaluate_ppo.print_table({"agent": summary, "random": summary})
