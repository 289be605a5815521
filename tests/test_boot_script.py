"""Boot scripts, and files that define the agent's actions."""

import pytest
from player.common.errors import InputError
from player.games.game import read_actions
from player.games.retro.boot_script import read_script, run_script

BUTTONS = ("B", "Y", "SELECT", "START", "LEFT", "RIGHT")


def test_script_presses_and_waits():
    pressed, mode = [], iter([4] * 20 + [28] * 5)
    presses = read_script("none 2\nB+LEFT 1 # a comment\n\nSTART until mode 28", BUTTONS)
    run_script(presses, pressed.append, lambda name: next(mode))
    assert pressed[:3] == [(), (), ("B", "LEFT")]
    assert pressed[3:6] == [("START",)] * 3 and set(pressed[6:18]) == {()}  # tapped, not held down
    assert pressed[18:21] == [("START",)] * 3 and len(pressed) == 3 + 20
    with pytest.raises(InputError, match="did not become 3"):
        run_script(read_script("B until mode 3", BUTTONS), pressed.append, lambda name: 1)


@pytest.mark.parametrize("line", ["Q 3", "B", "B x", "B 0", "B until mode", "B 99999",
                                  "B ²", "B -1", "B 1.5", "B until x --5", "B until x ²", "B until x 5 6", "B+ 3",
                                  "B " + "9" * 5000, "B until x " + "9" * 5000])  # fmt: skip
def test_script_error_names_the_line(line):
    """isdigit() accepts characters that int() does not, and int() refuses very long numbers."""
    with pytest.raises(InputError, match="line 2, ") as caught:
        read_script("none 1\n" + line, BUTTONS)
    assert "\n" not in str(caught.value)


def test_actions_from_a_file(tmp_path):
    file = tmp_path / "actions.txt"
    file.write_text("# comment\nrest none none\njump B+LEFT space+left\nrun B left_shift+ArrowUp\n")
    rest, jump, run = read_actions(str(file), list(BUTTONS))
    assert (rest.buttons, jump.buttons, jump.keys) == ((), ("B", "LEFT"), ("space", "left"))
    assert run.keys == ("left shift", "up")
    for text, message in (
        ("a B", "expected NAME"),
        ("a Q q", "no button Q"),
        ("a B b\na B c", "a is used twice"),
        ("a B b", "defines 1 actions"),
        ("a\x07 B b", r"line 1: 'a\\x07' is no name"),  # trained a model that play_sd.py refused
        (f"{'a' * 5000} B b", "line 1: 'a{40}' is no name"),
        ("a B \x07", "line 1: no keyboard has the key"),
        ("a B Button.left", "line 1: no keyboard has the key 'Button.left'"),
        ("a B up++left", "line 1: no keyboard has the key"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            read_actions(str(file), list(BUTTONS))
    with pytest.raises(InputError, match="cannot be read"):
        read_actions(str(tmp_path / "none"), list(BUTTONS))
