"""The actions of well-known Gymnasium environments have names and keys, which a person can be told."""

import types

import gymnasium
import pytest
from player.games.gymnasium_game import ale_actions, choose_actions


def fake_ale(meanings: list[str], module: str = "ale_py.env"):
    kind = type("AtariEnv", (), {"__module__": module, "get_action_meanings": lambda self: meanings})
    return types.SimpleNamespace(unwrapped=kind(), action_space=gymnasium.spaces.Discrete(4))


def test_atari_actions_are_named_and_have_arrow_keys():
    named = ale_actions(fake_ale(["NOOP", "FIRE", "RIGHT", "UPLEFTFIRE"]))
    actions = choose_actions("ALE/Some-v5", list("0123"), None, named)
    assert [(action.name, action.keys) for action in actions] == [
        ("nothing", ()), ("fire", ("space",)), ("right", ("right",)),
        ("up+left+fire", ("up", "left", "space")),
    ]  # fmt: skip
    assert [action.buttons for action in actions] == [("0",), ("1",), ("2",), ("3",)]


@pytest.mark.parametrize("env", [fake_ale(["NOOP"]), fake_ale(["NOOP"] * 4, "other"), fake_ale(None)])
def test_other_actions_keep_their_numbers(env):
    actions = choose_actions("Some-v0", list("0123"), None, ale_actions(env))
    assert [action.name for action in actions] == list("0123")


@pytest.mark.parametrize(
    ("name", "count", "names"),
    [
        ("LunarLander-v3", 4, ["nothing", "left-engine", "main-engine", "right-engine"]),
        ("MiniGrid-Empty-8x8-v0", 7, ["left", "right", "forward", "pick-up", "drop", "toggle", "done"]),
        ("MiniGrid-Empty-8x8-v0", 3, ["0", "1", "2"]),  # a wrapper has left some out
    ],
)
def test_names_by_the_beginning_of_the_environment_s_name(name, count, names):
    actions = choose_actions(name, [str(i) for i in range(count)], None)
    assert [action.name for action in actions] == names
    assert len({action.keys for action in actions}) == count
