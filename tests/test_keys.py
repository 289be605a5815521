"""Maps held keys to actions, reads key files. Needs no window."""

import pytest
from dream.common.errors import InputError
from dream.play.keys import action_for_keys, demo_actions, noop_action, read_keys_file

NAMES = ("nothing", "forward", "left", "right", "forward+left", "forward+right")
KEYS = ((), ("up",), ("left",), ("right",), ("up", "left"), ("up", "right"))


@pytest.mark.parametrize(
    ("held", "name"),
    [
        ((), "nothing"),
        (("up",), "forward"),
        (("left",), "left"),
        (("up", "left"), "forward+left"),
        (("right", "up"), "forward+right"),
        (("left", "right"), "nothing"),  # opposites cancel
        (("up", "left", "right"), "forward"),
        (("up", "down", "left"), "left"),
        (("down",), "nothing"),  # no key of this game
        (("up", "x", "left shift"), "forward"),
    ],
)
def test_held_keys_of_a_kart(held, name):
    assert NAMES[action_for_keys(held, KEYS)] == name


def test_odd_games():
    assert action_for_keys(("left", "right"), ((), ("left",), ("left", "right"))) == 2  # this game wants both
    assert action_for_keys(("a", "b"), ((), ("b",), ("a",))) == 1  # equally long: the lowest index
    no_idle = (("a",), ("b",), ("a", "b"))
    assert [action_for_keys(held, no_idle) for held in ((), ("b",), ("b", "a"))] == [0, 1, 2]
    assert noop_action((("a",), ())) == 1
    assert action_for_keys(("a",), ((), ())) == 0  # a recording that names no keys


def test_keys_file(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text(
        "# a comment\nup+left 3\nforward\n\n- 2   # coast\nnothing 1\nleft+right 1\nforward+right 2\n"
    )
    assert read_keys_file(path, NAMES, KEYS) == [4, 4, 4, 1, 0, 0, 0, 0, 5, 5]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Up", "forward"),
        ("LEFT 1", "left"),
        ("Key.up+Key.left", "forward+left"),
        ("ArrowUp+ArrowRight", "forward+right"),
        ("up left", "forward+left"),
        ("up,left 1", "forward+left"),
        ("forward+left", "forward+left"),  # an action's name
        ("none", "nothing"),
        ("-", "nothing"),
        ("left+right", "nothing"),  # opposites cancel
    ],
)
def test_keys_by_the_names_of_other_programs(tmp_path, text, name):
    path = tmp_path / "keys.txt"
    path.write_text(text)
    assert read_keys_file(path, NAMES, KEYS) == [NAMES.index(name)]


def test_keys_with_spaces_digits_and_names_that_no_keyboard_has(tmp_path):
    keys, path = ((), ("left shift",), ("1",), ("mouse.left",), ("-",), ("+",)), tmp_path / "keys.txt"
    path.write_text("left shift 2\nShift_L\n1 2\n1\nmouse.left\nminus\n-\n+ 2\n")
    names = [f"action_{i}" for i in range(len(keys))]
    assert read_keys_file(path, names, keys) == [1, 1, 1, 2, 2, 2, 3, 4, 0, 5, 5]


def test_a_key_file_is_checked_before_the_model_is_loaded(tmp_path, monkeypatch):
    import play_sd

    monkeypatch.setattr(play_sd, "load_env", lambda args: pytest.fail("loaded"))
    path = tmp_path / "keys.txt"
    path.write_text("up 0\n")
    with pytest.raises(InputError, match="line 1: '0' is not a number of frames"):
        play_sd.main(play_sd.parse_args(["--headless", "--keys", str(path)]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("up 3\nfly 2\n", r"line 2: 'fly' is neither an action \(nothing, forward.*left, right, up"),
        ("up three\n", "line 1: 'up three' is neither an action"),
        ("up 0\n", "line 1"),
        ("up -3\n", "line 1"),
        ("up 99999999999999\n", "line 1"),
        ("\n\nup left 3 3\n", "line 3: 'up left 3' is neither"),
        ("up\x01 3\n", "line 1: not an action or keys"),
        (f"{'u' * 5000} 3\n", "line 1: not an action or keys but 'uuuuuuuuuuuuuuuuuuuu'"),
        ("Button.left 3\n", "line 1: 'Button.left' is neither"),
        ("up++left 3\n", "line 1"),
        ("# nothing at all\n", "contains no actions"),
    ],
)
def test_keys_file_says_which_line_is_wrong(tmp_path, text, message):
    path = tmp_path / "keys.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_keys_file(path, NAMES, KEYS)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    for name, why in (("missing.txt", "No such file"), (".", "directory"), ("picture.png", "not UTF-8")):
        with pytest.raises(InputError, match=rf"cannot be read as a text file \([^\[]*{why}"):
            read_keys_file(tmp_path / name, NAMES, KEYS)


def test_demo_actions_fit_any_game():
    actions = demo_actions(KEYS, num_frames=150, fps=15)
    assert len(actions) == 150 and {0, 1, 4, 5} == set(actions)
    assert actions[0] == 1 and actions[-1] == 1  # accelerates at first, and again after coasting
    assert actions == demo_actions(KEYS, 150, 15)
    shooter = ((), ("z",), ("left",))
    assert demo_actions(shooter, num_frames=7, fps=2) == [0, 0, 1, 1, 2, 2, 0]
    assert len(demo_actions(((),), num_frames=3, fps=0.5)) == 3
