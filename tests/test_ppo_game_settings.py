"""train_ppo.py and evaluate_ppo.py with another game: its settings, frame skip and maximum of frames."""

import json

import evaluate_ppo
import numpy as np
import pytest
import train_ppo
from player.common.errors import InputError
from player.evaluation import episodes
from player.games.game import compare_with_agent
from player.games.registry import find_game
from player.rl.agent import load_agent

pytest.importorskip("cv2")
FLICKER = "odd_environments:OddFlicker-v0"
TINY = ["--game", FLICKER, "--n-envs", "2", "--n-steps", "16", "--batch-size", "16", "--train-iters", "1"]


def train(*options):
    train_ppo.main(train_ppo.parse_args([*TINY, *map(str, options)]))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train("--n-epochs", 1, "--output-dir", folder, "--game-settings", "period=3")
    return folder


def test_the_agent_knows_how_its_game_was_played(run_dir):
    config = load_agent(run_dir / "best.pt").config
    assert (config.frame_skip, config.max_frames, config.game_settings) == (4, 3, {"period": 3})
    with np.load(run_dir / "trajectories.npz", allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"]))
    assert (meta["max_frames"], meta["game_settings"], meta["fps"]) == (3, {"period": 3}, 15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--game-settings", "period=2", "--max-frames", "3"], '--game-settings {"period": 3}'),
        (["--game-settings", "period=3", "--max-frames", "2"], "--max-frames 3"),
        (["--game-settings", "period=3", "--frame-skip", "2"], "--frame-skip 4"),
    ],
)
def test_resume_needs_the_same_game(run_dir, options, message):
    with pytest.raises(InputError) as caught:
        train("--n-epochs", 2, "--output-dir", run_dir, "--resume", *options)
    assert f"began with {message}" in str(caught.value)


def test_resume_with_the_same_game(run_dir):
    train("--n-epochs", 2, "--output-dir", run_dir, "--resume", "--game-settings", "period=3")


def test_evaluation_plays_the_game_as_in_training(run_dir, monkeypatch, capsys):
    """Unless the user says otherwise."""
    made = []

    def make_env(game, frame_skip, **settings):
        made.append(game)
        raise InputError("enough")

    monkeypatch.setattr(episodes, "make_env", make_env)
    flags = ["--agent", str(run_dir / "best.pt"), "--episodes", "1", "--game", FLICKER]
    for options in ([], ["--max-frames", "2", "--game-settings", "period=4"]):
        with pytest.raises(InputError, match="enough"):
            evaluate_ppo.main(evaluate_ppo.parse_args([*flags, *options]))
    assert [(game.frame_skip, game.max_frames, game.settings["period"]) for game in made] == [
        (4, 3, 3),
        (4, 2, 4),
    ]


@pytest.mark.parametrize("game", ["odd_environments:OddTurns-v0", "FrozenLake-v1", "Mode7Kart-v0"])
def test_evaluation_with_another_game_names_the_agents_game(run_dir, game):
    """Not settings of the agent's game, which the user has not given."""
    with pytest.raises(
        InputError, match=f"was trained on {FLICKER} and knows .*: choose --game {FLICKER}"
    ) as caught:
        evaluate_ppo.main(evaluate_ppo.parse_args(["--agent", str(run_dir / "best.pt"), "--game", game]))
    assert "--game-settings" not in str(caught.value)


def test_evaluation_with_a_game_of_the_same_actions_says_so(run_dir, monkeypatch, capsys):
    def make_env(game, frame_skip, **settings):
        raise InputError("enough")

    monkeypatch.setattr(episodes, "make_env", make_env)
    flags = ["--agent", str(run_dir / "best.pt"), "--episodes", "1", "--game", "CartPole-v1"]
    with pytest.raises(InputError, match="enough"):
        evaluate_ppo.main(evaluate_ppo.parse_args(flags))
    assert f"an agent trained on {FLICKER} can play CartPole-v1" in capsys.readouterr().out


def test_differences_from_the_training_are_named(run_dir):
    config = load_agent(run_dir / "best.pt").config
    assert compare_with_agent(find_game(FLICKER, game_settings={"period": 3}), config) == []
    lines = compare_with_agent(find_game(FLICKER, frame_skip=2, max_frames=1), config)
    assert len(lines) == 3 and "a step of 4 frames works with 2" in lines[0]
