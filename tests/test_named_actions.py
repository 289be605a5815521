"""The actions of well-known Gymnasium environments have names and keys, which a person can be told."""

import types

import gymnasium
import pytest
from player.games.gymnasium_actions import ale_actions, choose_actions, declared_actions


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


def declaring(names, keys):
    return types.SimpleNamespace(
        unwrapped=types.SimpleNamespace(action_names=names, action_keys=keys),
        action_space=gymnasium.spaces.Discrete(2),
    )


def test_an_environment_may_declare_names_and_keys_of_its_actions():
    """As the world model does: an agent that learns in it knows the game's actions."""
    env = declaring(("gas", "left+gas"), (("up",), ("left", "up")))
    actions = choose_actions("Own-v0", list("01"), None, declared_actions(env))
    assert [(action.name, action.keys) for action in actions] == [
        ("gas", ("up",)),
        ("left+gas", ("left", "up")),
    ]


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (None, None), (("gas",), (("up",),)), (("gas", "gas"), ((), ())), (("gas", 7), ((), ())),
        (("gas", "x\n"), ((), ())), (("gas", "left"), ((), (3,))), (("gas", "left"), ((),)), (5, 6),
    ],
)  # fmt: skip
def test_other_declarations_are_ignored(names, keys):
    assert declared_actions(declaring(names, keys)) == []
