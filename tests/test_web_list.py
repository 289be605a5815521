"""A recorded list of actions as the driver of the web page: its file, and how it plays in a real browser."""

import json

import export_web
import numpy as np
import pytest
from dream.common.errors import InputError
from dream.web import runtime, site
from small import save_small_world_model
from web_helpers import GAME, export_small_page, served

TAB, BACKSPACE = "\ue004", "\ue003"  # as Selenium names them
KEYS = "jump 8\nz+right 40\n- 4\n"  # at 30 frames a second; a test sees the second run even on a busy machine
ACTIONS = [1] * 8 + [2] * 40 + [0] * 4


# -- the file --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tarball(monkeypatch):
    """No runtime is needed here."""
    monkeypatch.setattr(export_web, "find_tarball", lambda given: given)
    monkeypatch.setattr(runtime, "write_runtime", lambda tarball, folder: None)


@pytest.fixture
def small_model(tmp_path):
    """The path of a small model."""
    return save_small_world_model(tmp_path, game=GAME)["model_path"]


def export(model, folder, keys) -> None:
    args = ["--model-path", model, "--output-dir", folder, "--keys", keys]
    export_web.main(export_web.parse_args([*map(str, args)]))


@pytest.mark.slow
def test_a_key_file_is_written_as_runs_of_actions(small_model, tarball, tmp_path):
    (tmp_path / "keys.txt").write_text("jump 3\nspace\nz+right 2  # run\n- 2\n")
    export(small_model, tmp_path / "site", tmp_path / "keys.txt")
    assert json.loads((tmp_path / "site" / "site.json").read_text())["has_list"]
    runs = np.frombuffer((tmp_path / "site" / "model" / "list.bin").read_bytes(), "<i4").reshape(-1, 2)
    assert runs.tolist() == [[1, 4], [2, 2], [0, 2]]


@pytest.mark.parametrize(
    "text, message",
    [
        ("jump\nfly 3\n", "line 2: 'fly' is neither an action"),
        ("", "contains no actions"),
        ("jump 0\n", "line 1"),
        (b"\xff\xfe", "UTF-8"),
    ],
    ids=["action", "empty", "zero", "binary"],
)
def test_a_key_file_that_cannot_be_used_is_reported(small_model, tarball, tmp_path, text, message):
    """By the messages of play_sd.py, and nothing is written."""
    (tmp_path / "keys.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=f"--keys .*{message}"):
        export(small_model, tmp_path / "site", tmp_path / "keys.txt")
    assert not (tmp_path / "site").exists()


def test_equal_actions_one_after_the_other_are_one_run(tmp_path):
    site.write_list([1, 1, 0, 1], tmp_path / "list.bin")
    assert np.fromfile(tmp_path / "list.bin", "<i4").tolist() == [1, 2, 0, 1, 1, 1]


# -- in the browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def player(tmp_path_factory):
    """A browser with the page of a small model that has a list."""
    folder = export_small_page(tmp_path_factory.mktemp("web"), keys=KEYS)
    with served(folder) as (server, browser):
        browser.open(server.url)
        yield browser


@pytest.fixture
def page(player):
    """The same as after loading; without errors in the console at the end."""
    player.run("(page.session.driver = 'you', page.isPaused = false, null)")
    player.press("r")
    player.wait("page.session.state.numFrames === 0 && page.isWaiting")
    yield player
    assert player.errors() == []


def played(browser) -> list[int]:
    """The actions since the start state."""
    return browser.run("[...page.session.history, page.session.state].slice(1).map(({ action }) => action)")


@pytest.mark.slow
def test_the_list_plays_its_actions_and_stops_at_its_end(page):
    assert page.run("page.session.drivers") == ["you", "list"]
    page.press(TAB)
    page.wait("page.session.state.action === 2")
    assert "list" in page.run("document.getElementById('status').textContent")
    lit = "[...document.querySelectorAll('#keys .lit')].map(each => each.dataset.key).sort().join()"
    page.wait(f"{lit} === 'right,z'")
    page.wait("page.session.isAtEnd && page.isWaiting")
    assert played(page) == ACTIONS
    page.wait("document.getElementById('status').textContent.includes('end')")
    assert "ended" in page.run("document.getElementById('message').textContent")
    assert page.run("document.getElementById('hint').checkVisibility()")
    assert "list again" in page.run("document.getElementById('hint').innerText")
    page.press("p")  # there is nothing to go on with
    page.run("new Promise(done => setTimeout(done, 500))")
    assert page.run("page.session.state.numFrames") == len(ACTIONS)


@pytest.mark.slow
def test_a_key_after_the_end_hands_over(page):
    page.press(TAB)
    page.wait("page.session.isAtEnd && page.isWaiting")
    with page.held(" "):
        page.wait_frames(2)
        assert page.run("[page.session.driver, page.session.state.action]") == ["you", 1]
    page.press(TAB)  # it is over, so it begins again
    page.wait("page.session.driver === 'list' && page.session.state.numFrames < 40")
    page.wait("page.session.isAtEnd && page.isWaiting")
    assert played(page) == ACTIONS


@pytest.mark.slow
def test_a_list_that_is_chosen_in_a_drive_begins_at_the_start(page):
    """Not in its middle, whose actions belong to other states."""
    with page.held(" "):
        page.wait("page.session.state.numFrames >= 20")
        page.press(TAB)
    page.wait("page.session.isAtEnd && page.isWaiting")
    assert played(page) == ACTIONS
    assert page.run("page.session.driver") == "list"


@pytest.mark.slow
def test_a_driver_that_is_only_passed_leaves_the_drive(page):
    """Two presses of Tab between two frames: with an agent, so one comes from it to the person."""
    with page.held(" "):
        page.wait("page.session.state.numFrames >= 20")
        page.run("(page.cycleDriver(), page.cycleDriver(), null)")
        page.wait_frames(2)
    assert page.run("[page.session.driver, page.session.state.numFrames > 20]") == ["you", True]


@pytest.mark.slow
def test_a_restart_begins_the_list_again(page):
    page.press(TAB)
    for _ in range(2):
        page.wait("page.session.isAtEnd && page.isWaiting")
        page.press("r")
        page.wait("page.session.state.numFrames > 0 && page.session.state.numFrames < 40")
    assert page.run("page.session.driver") == "list"
    page.wait("page.session.isAtEnd && page.isWaiting")
    assert played(page) == ACTIONS


@pytest.mark.slow
def test_rewinding_goes_back_in_the_list_too(page):
    page.press(TAB)
    page.wait("page.session.isAtEnd && page.isWaiting")
    frames = page.frames()
    with page.held(BACKSPACE):
        page.wait("page.session.state.numFrames < 10")
    page.wait("page.session.isAtEnd && page.isWaiting")
    assert played(page) == ACTIONS
    assert np.array_equal(page.frames(), frames)


@pytest.mark.slow
def test_the_help_names_the_drivers(page):
    page.press("h")
    page.wait("document.getElementById('help').checkVisibility()")
    assert "the list plays, or you do" in page.run("document.getElementById('help').innerText")
    page.press("h")
