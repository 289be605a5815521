"""Names and keys of a recording's actions that other tools wrote: translated, named or replaced on opening."""

import json

import numpy as np
import pytest
from dream.common.game_info import GameInfo
from dream.data.trajectories import open_trajectories
from trajectory_helpers import save


def open_with_keys(tmp_path, action_keys, **changed):
    meta = np.array(json.dumps({"fps": 15, "record_envs": 1, "action_keys": action_keys}))
    return open_trajectories(save(tmp_path / "t.npz", meta=meta, **changed))


@pytest.mark.parametrize(
    ("action_keys", "expected"),
    [
        ([["Key.left"], [], ["Key.right"]], (("left",), (), ("right",))),
        ([["'w'"], [], ["KeyA", "ShiftLeft"]], (("w",), (), ("a", "left shift"))),
        ([["key.keyboard.left.control"], ["VK_LEFT"], ["KEY_ENTER"]], (("left ctrl",), ("left",), ("return",))),
        ([["Up", "Left"], [], ["enter"]], (("up", "left"), (), ("return",))),  # not the keypad's key
        (["up+left", "none", "Key.up"], (("up", "left"), (), ("up",))),  # a text in place of a list
        ([["up+left"], ["none"], ["up left"]], (("up", "left"), (), ("up", "left"))),
        ([["+"], ["UP"], ["-"]], (("+",), ("up",), ("-",))),
    ],
)  # fmt: skip
def test_names_of_other_programs(tmp_path, action_keys, expected):
    data = open_with_keys(tmp_path, action_keys)
    assert data.action_keys == expected
    assert not any("do not fit" in line or "no keyboard" in line for line in data.assumptions)
    if any("Key" in str(keys) for keys in action_keys):
        assert any(line.startswith("keys: ") and "is" in line for line in data.assumptions)


def test_names_of_pygame_are_left_alone(tmp_path):
    keys = [["enter", "left shift"], [], ["[4]", "equals"]]
    data = open_with_keys(tmp_path, keys)
    assert data.action_keys == tuple(map(tuple, keys))
    assert not any("key" in line for line in data.assumptions)


def test_keys_that_no_keyboard_has_are_named(tmp_path):
    data = open_with_keys(tmp_path, [["up"], ["Button.left"], ["jump"]])
    assert data.action_keys == (("up",), ("Button.left",), ("jump",))
    assert "no keyboard has the keys 'Button.left', 'jump'" in "\n".join(data.assumptions)


@pytest.mark.parametrize("name", ["\x00", "a\nb", "\ud800", "x" * 100_000, "'\x1b[31m'"])
def test_unprintable_keys_are_replaced(tmp_path, name):
    """They trained a model that play_sd.py refused."""
    data = open_with_keys(tmp_path, [["up"], [name], []])
    assert data.action_keys == (("up",), ("no key 1",), ())
    assert any("no keyboard has the keys 'no key 1'" in line for line in data.assumptions)
    assert all(line.isprintable() and len(line) <= 300 for line in data.assumptions)
    saved = {"action_names": data.action_names, "action_keys": data.action_keys, "fps": 15}
    assert GameInfo.from_dict(saved).action_keys == data.action_keys


@pytest.mark.parametrize("name", ["", " ", "a\tb", "\x07", "\ud83d", "x" * 1000])
def test_unprintable_action_names_are_replaced(tmp_path, name):
    data = open_with_keys(tmp_path, [["up"], [], ["left"]], action_names=np.array(["forward", name, "left"]))
    assert data.action_names == ("forward", "action_1", "left")
    assert any("names of actions 1 are empty, unprintable" in line for line in data.assumptions)
    GameInfo.from_dict({"action_names": data.action_names, "action_keys": data.action_keys, "fps": 15})


def test_actions_that_are_named_after_keys(tmp_path):
    path = save(tmp_path / "t.npz", action_names=np.array(["left", "none", "Key.right"]))
    data = open_trajectories(path)
    assert data.action_keys == (("left",), (), ("right",))
    assert any("each action is on the keys that it is named after" in line for line in data.assumptions)
    save(path, action_names=np.array(["left", "none", "FIRE"]))
    assert open_trajectories(path).action_keys == (("0",), ("1",), ("2",))


@pytest.mark.parametrize("action_keys", [{"0": "up"}, [["up"], [], [1]], [["up"]], [None, [], []], "up"])
def test_other_kinds_of_keys_do_not_fit(tmp_path, action_keys):
    data = open_with_keys(tmp_path, action_keys)
    assert data.action_keys == (("0",), ("1",), ("2",))
    assert any("action_keys do not fit 3 actions" in line for line in data.assumptions)
