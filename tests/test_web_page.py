"""The web page of the pretrained model in a real browser: real keys, real frames, no network."""

import itertools
import os

import numpy as np
import pytest
from dream.common.agent_view import preprocess_frame
from dream.inference.network_file import load_network
from dream.play.keys import action_for_keys, has_gas, key_aliases, lacks_brake, noop_action
from dream.play.views import push_view
from pretrained import PRETRAINED, moved_right
from web_helpers import frames_as_rgba, restart

pytestmark = pytest.mark.slow
UP, LEFT, RIGHT = "\ue013", "\ue012", "\ue014"  # as Selenium names them


# -- driving ---------------------------------------------------------------------------------------------------------


def test_the_picture_waits_for_a_key_and_the_keys_are_lit(browser):
    assert browser.run("document.getElementById('hint').checkVisibility()")
    assert browser.run("page.session.state.numFrames") == 0
    with browser.held(UP, LEFT):
        browser.wait_frames(2)
        lit = "[...document.querySelectorAll('#keys .lit')].map(each => each.dataset.key).sort()"
        assert browser.run(lit) == ["left", "up"]
        assert browser.run("page.site.game.action_names[page.session.state.action]") == "forward+left"
        assert not browser.run("document.getElementById('hint').checkVisibility()")
    browser.wait_frames(2)
    assert browser.run(lit) == []
    assert browser.run("page.site.game.action_names[page.session.state.action]") == "nothing"


@pytest.mark.parametrize("key, sign", [(LEFT, 1), (RIGHT, -1)])
def test_a_held_key_turns_the_world(browser, key, sign):
    """Held left moves the hills to the right."""
    restart(browser, 1)
    with browser.held(UP, key):
        browser.wait_frames(12)
    frames = browser.frames()[-13:]
    moved = [moved_right(before, after) for before, after in itertools.pairwise(frames[2:])]
    assert sign * np.mean(moved) > 1, moved


def test_letters_are_arrow_keys_too(browser):
    with browser.held("w", "d"):
        browser.wait_frames(3)
        assert browser.run("page.site.game.action_names[page.session.state.action]") == "forward+right"


def test_a_pause_freezes_the_picture_and_play_goes_on(browser):
    with browser.held(UP):
        browser.wait_frames(2)
        browser.press("p")
        browser.wait("document.getElementById('paused').checkVisibility()")
        before = browser.driver.get_screenshot_as_png()
        browser.run("new Promise(done => setTimeout(done, 500))")
        assert browser.driver.get_screenshot_as_png() == before
        browser.press(".")
        count = browser.run("page.session.state.numFrames")
        browser.press("p")
        browser.wait(f"page.session.state.numFrames > {count + 1}")
        assert browser.driver.get_screenshot_as_png() != before


def test_a_single_step_generates_one_frame(browser):
    browser.press("p", "p")  # the first one begins, the second one pauses
    browser.wait("document.getElementById('paused').checkVisibility()")
    count = browser.run("page.session.state.numFrames")
    for i in range(1, 3):
        browser.press(".")
        browser.wait(f"page.session.state.numFrames >= {count + i}")
    browser.run("new Promise(done => setTimeout(done, 300))")
    assert browser.run("page.session.state.numFrames") == count + 2


def test_rewinding_goes_back_while_held_and_the_same_keys_give_the_same_frames(browser):
    with browser.held(UP):
        browser.wait_frames(8)
        browser.press("p")
    browser.wait("page.isPaused")
    frames = browser.frames()
    with browser.held("z"):
        browser.wait("document.getElementById('rewind-sign').checkVisibility()")
        browser.wait("page.session.state.numFrames <= 3")
    browser.wait("!page.isRewinding")
    count = browser.run("page.session.state.numFrames")
    assert len(browser.frames()) == count + 1
    again = "(async () => { for (const action of args[0]) await page.session.step(action); })()"
    actions = [browser.run("page.site.game.action_names.indexOf('forward')")] * 2
    browser.run(again, actions)
    repeated = browser.frames()
    assert np.array_equal(repeated[: count + 1], frames[: count + 1])
    browser.run("page.session.rewind() && page.session.rewind()")
    browser.run(again, actions)
    assert np.array_equal(browser.frames(), repeated)


def test_restart_and_start_states(browser):
    first = browser.frames()[-1]
    with browser.held(UP):
        browser.wait_frames(3)
    browser.press("r")
    browser.wait("page.session.state.numFrames === 0")
    assert np.array_equal(browser.frames(), first[None])
    browser.press("n")
    browser.wait("page.session.start === 1 && page.session.state.numFrames === 0")
    assert not np.array_equal(browser.frames()[-1], first)
    browser.press("b", "b")
    browser.wait("page.session.start === page.site.num_starts - 1")


def test_the_agent_drives(browser):
    browser.press("\ue004")  # Tab
    browser.wait_frames(6)
    assert "agent" in browser.run("document.getElementById('status').textContent")
    assert browser.run("page.session.history.some(({ action }) => action > 0)")
    frames = browser.frames()[-6:]
    logits = browser.run(
        "page.session.model.logits(page.session.agentView.observe(args[0])).then(logits => [...logits])",
        frames_as_rgba(frames),
    )
    views = None
    for frame in frames:
        views = push_view(views, frame)
    policy = load_network(PRETRAINED / "agent.npz", "agent", "onnxruntime")
    assert np.abs(logits - policy(views)).max() < 0.05 * np.abs(policy(views)).max()
    browser.press("\ue004")
    browser.wait("page.session.driver === 'you'")


def test_the_agent_sees_what_it_sees_in_the_window(browser):
    frame = np.random.default_rng(0).integers(256, size=(112, 256, 3), dtype=np.uint8)
    view = browser.run("[...page.session.agentView.preprocess(args[0])]", frames_as_rgba(frame[None])[0])
    assert np.abs(np.array(view).reshape(84, 84) - preprocess_frame(frame).astype(int)).max() <= 1


def test_actions_of_keys_are_those_of_the_window(browser):
    games = [
        [[], ["up"], ["left"], ["right"], ["up", "left"], ["up", "right"]],
        [["space"], ["z", "x"], ["left", "right"], []],
        [["a"], ["up"], ["down"]],
        [[], ["left"], ["right"], ["down", "left"]],
    ]
    held = [
        [],
        ["up"],
        ["left", "right"],
        ["up", "down"],
        ["up", "left", "right"],
        ["z", "x", "space"],
        ["a", "left"],
    ]
    code = """import("./keys.js").then(keys => args[0].map(game => [args[1].map(held => keys.actionForKeys(held, game)),
        keys.noopAction(game), keys.hasGas(game), keys.lacksBrake(game), keys.keyAliases(game)]))"""
    for game, got in zip(games, browser.run(code, games, held), strict=True):
        actions = [action_for_keys(keys, game) for keys in held]
        assert got == [actions, noop_action(game), has_gas(game), lacks_brake(game), key_aliases(game)], game


def test_a_late_frame_does_not_make_the_next_ones_hurry(browser):
    code = """import("./timing.js").then(async ({ FrameLimiter }) => {
        const limiter = new FrameLimiter(2); limiter.due = performance.now() - 10_000; await limiter.wait();
        return limiter.due - performance.now(); })"""
    assert 0 < browser.run(code) <= 500


def test_noise_is_normal_and_depends_on_seed_and_frame(browser):
    code = """import("./random.js").then(({ normal, sampleCategorical }) => [
        ...[[0, 0], [0, 0], [0, 1], [1, 0]].map(([seed, frame]) => [...normal(seed, frame, 20_001)]),
        Array.from({ length: 3000 }, (_, i) => sampleCategorical([0, Math.log(2), -50], 0, i))])"""
    one, same, frame, seed, samples = map(np.array, browser.run(code))
    assert np.array_equal(one, same)
    for other in (frame, seed):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert abs(one.mean()) < 0.03 and abs(one.std() - 1) < 0.03 and abs((one**4).mean() - 3) < 0.2
    assert np.abs(np.bincount(samples, minlength=3) / 3000 - [1 / 3, 2 / 3, 0]).max() < 0.04


# -- long runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [150, pytest.param(9000, marks=pytest.mark.long, id="ten minutes")])
def test_memory_does_not_grow(browser, frames):
    """A frame that is kept is 0.15 MB, as in the history, or half a megabyte with its float32 values. The history of
    20 s, which is full before the measurement, is shortened here. WEB_FRAMES=N: another number of frames."""
    frames = int(os.environ.get("WEB_FRAMES", frames))
    browser.run("(page.session.maxHistory = 10, null)")
    browser.press("\ue004")  # the agent drives
    browser.wait_frames(30)
    before = browser.memory_mb()
    for _ in range(frames // 50):
        browser.wait_frames(50)
    after = browser.memory_mb()
    latents = browser.run("page.session.model.memory()")["count"]
    browser.run("(page.session.maxHistory = 300, null)")
    assert after < before + 40, (before, after)
    assert latents <= 11 + browser.run("page.site.context")  # with the current frame's
