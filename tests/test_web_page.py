"""The web page of the pretrained model in a real browser: real keys, real frames, no network."""

import base64
import itertools
import os

import numpy as np
import pytest
import torch
from dream.common.agent_view import preprocess_frame
from dream.inference.network_file import load_network
from dream.inference.torch_backend import TorchBackend
from dream.inference.world_model_env import WorldModelEnv
from dream.play.drive import Drive
from dream.play.keys import action_for_keys, has_gas, key_aliases, lacks_brake, noop_action
from dream.play.views import push_view
from pretrained import PRETRAINED, PRETRAINED_FILES, moved_right
from web_helpers import SOFTWARE_GPU, UNREADABLE, Browser, Server

pytestmark = pytest.mark.slow
UP, LEFT, RIGHT, SPACE = "\ue013", "\ue012", "\ue014", " "  # as Selenium names them
MIN_PSNR_DB = 45.0


@pytest.fixture(scope="module")
def server(web_site):
    server = Server(web_site)
    yield server
    server.close()


@pytest.fixture(scope="module")
def opened(server):
    """A browser with the page."""
    browser = Browser()
    browser.open(server.url)
    yield browser
    browser.close()


@pytest.fixture
def browser(opened):
    """The browser, at the first start state, as after loading; without errors in the console at the end."""
    restart(opened, 0)
    yield opened
    assert opened.errors() == []


def restart(browser: Browser, start: int) -> None:
    browser.run("""(Object.assign(page, { isPaused: false, isSeenShown: false, areNumbersShown: false }),
        page.session.driver = "you", page.session.seed = 0)""")
    browser.run(
        "new Promise(done => page.pending.push(async () => { page.session.start = args[0];"
        "await page.session.restart(); page.onRestart(); done(); }))",
        start,
    )


# -- the same frames as PyTorch --------------------------------------------------------------------------------------

GENERATE = """(async ([start, actions, encoded]) => {
    const { session } = page;
    page.isPaused = true;
    session.start = start;
    await session.restart();
    const noise = new Float32Array(Uint8Array.from(atob(encoded), c => c.charCodeAt(0)).buffer);
    const size = noise.length / actions.length;
    for (const [i, action] of actions.entries()) {
        await session.step(action, true, noise.slice(i * size, (i + 1) * size));
    }
    return Object.fromEntries(Object.entries(session.seen).map(([name, values]) => [name, values.length]));
})(args)"""


def compare_with_torch(browser: Browser, actions: list[int]) -> None:
    """Generates frames under these actions from the second start state, in the page and in PyTorch."""
    backend = TorchBackend(*(PRETRAINED / PRETRAINED_FILES[f"{name}_path"] for name in ("decoder", "model")), None,
                           torch.device("cpu"))  # fmt: skip
    env = WorldModelEnv.load(backend, PRETRAINED / "initial_sequence.npz", 0)
    start = 1
    noise = np.random.default_rng(0).standard_normal((len(actions), *backend.latent_shape), dtype=np.float32)
    seen = browser.run(GENERATE, start, actions, base64.b64encode(noise.tobytes()).decode())
    C, h, w = backend.latent_shape
    H, W = backend.frame_shape
    assert seen == {"flow": 2 * h * w, "warped": 3 * H * W, "residual": C * h * w}
    frames = browser.frames()
    state = backend.init_state(env.start_states.latents[start], env.start_states.actions[start])
    for i, action in enumerate([None, *actions]):
        if action is not None:
            state = backend.step(state, action, noise[i - 1])
        error = (frames[i].astype(float) - state.rgb) / 255
        assert -10 * np.log10(np.mean(error**2) + 1e-12) > MIN_PSNR_DB, f"frame {i}"


def test_frames_are_those_of_pytorch(browser):
    assert browser.run("page.session.model.backend") == "wasm"
    compare_with_torch(browser, [4, 1, 5])


def test_frames_on_webgpu_are_those_of_pytorch(server):
    """On the software adapter, which the page itself would not choose; a graph that WebGPU lacks fails here."""
    browser = Browser(options=SOFTWARE_GPU)
    try:
        browser.driver.get(server.url + "site.json")
        if not browser.run("navigator.gpu?.requestAdapter().then(Boolean)"):
            pytest.skip("the software adapter of WebGPU does not start here")
        browser.errors()  # that page has no icon
        browser.open(server.url + "?backend=webgpu")
        assert browser.run("page.session.model.name") == "WebGPU"
        compare_with_torch(browser, [4])  # a frame takes seconds there
        assert browser.errors() == []
    finally:
        browser.close()


def test_a_software_adapter_is_not_chosen(server):
    browser = Browser(options=SOFTWARE_GPU)
    try:
        browser.open(server.url)
        assert browser.run("page.session.model.backend") == "wasm"
    finally:
        browser.close()


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


def frames_as_rgba(frames: np.ndarray) -> list[list[int]]:
    alpha = np.full((*frames.shape[:3], 1), 255, np.uint8)
    return np.concatenate([frames, alpha], axis=3).reshape(len(frames), -1).tolist()


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


def test_keys_that_are_pressed_in_a_pause_do_not_act_later(browser):
    action = "page.site.game.action_names[page.session.state.action]"
    with browser.held(UP):
        browser.wait_frames(2)
    browser.wait(f"{action} === 'nothing'")
    browser.press("p")
    browser.wait("page.isPaused")
    browser.press(LEFT, UP)
    browser.wait("page.controls.sinceFrame.size === 0")
    browser.press(".")
    browser.run("new Promise(done => setTimeout(done, 500))")
    assert browser.run(action) == "nothing"


def test_shortcuts_of_the_browser_stay_its_own(browser):
    """For the letters that are arrow keys too; a key of a game that uses Ctrl itself is the game's."""
    code = """[["w", "KeyW"], ["ArrowLeft", "ArrowLeft"], ["r", "KeyR"]].map(([key, code]) => !dispatchEvent(
        Object.assign(new KeyboardEvent("keydown", { key, code, ctrlKey: true, cancelable: true }))))"""
    assert browser.run(code) == [False, False, False]
    assert browser.run("page.controls.held().size") == 0
    browser.run("(page.controls.keys.push('left ctrl'), null)")
    try:
        assert browser.run(code) == [True, True, False]
        browser.run("(dispatchEvent(new KeyboardEvent('keyup', { key: 'Meta', code: 'MetaLeft' })), null)")
        assert browser.run("page.controls.held().size") == 0
    finally:
        browser.run("(page.controls.keys.pop(), page.controls.releaseAll(), null)")


def test_rewinding_lasts_while_one_of_its_keys_is_held(browser):
    with browser.held("z"):
        with browser.held("\ue003"):  # Backspace
            browser.wait("page.isRewinding")
        assert browser.run("page.isRewinding")
    browser.wait("!page.isRewinding")
    # The key's name at its end may be another one, as after Shift or a change of the layout.
    code = """(["keydown", "keyup"].forEach((kind, i) => dispatchEvent(new KeyboardEvent(
        kind, { key: "zq"[i], code: "KeyZ" }))), null)"""
    browser.run(code)
    assert not browser.run("page.isRewinding")


def test_a_focused_button_is_pressed_by_its_keys(browser):
    focus = "(document.querySelector('[data-command=numbers]').focus(), null)"
    for key in (SPACE, "\ue007"):  # Enter
        browser.run(focus)
        with browser.held(key):
            pass
        browser.wait("page.areNumbersShown")
        assert not browser.run("page.isPaused")
        browser.run(focus)
        browser.press(key)
        browser.wait("!page.areNumbersShown")
    browser.run("(document.activeElement.blur(), null)")
    browser.driver.find_element("css selector", "[data-command=numbers]").click()
    browser.wait("page.areNumbersShown")
    assert browser.run("document.activeElement === document.body")  # a pointer leaves the keys to the page


def test_keys_of_other_alphabets_have_the_letters_of_their_places(browser):
    code = (
        """import("./keys.js").then(({ keyName }) => args[0].map(([key, code]) => keyName({ key, code })))"""
    )
    keys = [["р", "KeyH"], ["z", "KeyY"], ["ζ", "KeyZ"], ["é", "Digit2"], ["A", "KeyQ"]]  # noqa: RUF001
    assert browser.run(code, keys) == ["h", "z", "z", "é", "a"]


def test_the_time_of_a_drive_is_that_of_moving_frames_of_a_person(browser):
    """Compared with the window's, on changing and on standing frames."""
    fps, rng = 10, np.random.default_rng(0)
    moves = [1] * 25 + [0] * 30 + [1] * 12
    frames = [rng.integers(256, size=(8, 8, 3), dtype=np.uint8)]
    for move in moves:
        frames.append(rng.integers(256, size=(8, 8, 3), dtype=np.uint8) if move else frames[-1])
    people = [not 5 <= i < 9 for i in range(len(moves))]
    drive, expected = Drive(fps), []
    for i, is_person in enumerate(people):
        drive.add(frames[i], frames[i + 1], is_person, is_noop=False)
        expected.append([drive.seconds, drive.best_s])
    drive.pop()
    expected.append([drive.seconds, drive.best_s])
    code = """import("./drive.js").then(({ Drive }) => {
        const [fps, frames, people] = args, drive = new Drive(fps), values = () => [drive.seconds, drive.bestS];
        const got = people.map((isPerson, i) => (drive.add(frames[i], frames[i + 1], isPerson, false), values()));
        drive.pop();
        return [...got, values()]; })"""
    assert browser.run(code, fps, frames_as_rgba(np.stack(frames)), people) == expected


def test_messages_that_stay(opened, server):
    """An error is not replaced or removed by what is said before or after it."""
    browser = Browser()
    try:
        browser.open(server.url)
        browser.press("x")
        browser.run("(page.session.model.frame = () => Promise.reject(new Error('lost')), null)")
        with pytest.raises(AssertionError, match=r"^stopped: lost; reload the page"), browser.held(UP):
            browser.wait("false")
        browser.press("x")
        browser.run("new Promise(done => setTimeout(done, 4000))")
        assert browser.run("document.getElementById('message').checkVisibility()")
        assert "stopped" in browser.run("document.getElementById('message').textContent")
    finally:
        browser.close()


def test_a_gamepad_drives(browser):
    fake = """(navigator.getGamepads = () => [{ index: 0, axes: [args[0], 0],
        buttons: [{ pressed: true }, ...Array(16).fill({ pressed: false })] }])"""
    browser.run(fake.replace("args[0]", "-1"))
    browser.wait_frames(2)
    assert browser.run("page.site.game.action_names[page.session.state.action]") == "forward+left"
    browser.run("(navigator.getGamepads = () => [{ index: 0, axes: [0, 0], buttons: [] }], null)")
    browser.run(
        "(dispatchEvent(Object.assign(new Event('gamepaddisconnected'), { gamepad: { index: 0 } })), null)"
    )
    browser.run("(navigator.getGamepads = () => [], null)")
    browser.wait_frames(2)
    assert browser.run("page.site.game.action_names[page.session.state.action]") == "nothing"


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_the_help_pauses_and_can_be_read(browser):
    browser.press("h")
    browser.wait("document.getElementById('help').checkVisibility()")
    count = browser.run("page.session.state.numFrames")
    text = browser.run("document.getElementById('help').innerText")
    for words in (
        "forward+left",
        "back in time while held",
        "what the model sees",
        "the agent plays, or you do",
    ):
        assert words in text
    assert browser.run(UNREADABLE) == []
    with browser.held(UP):
        browser.run("new Promise(done => setTimeout(done, 300))")
    assert browser.run("page.session.state.numFrames") == count
    assert browser.run("document.activeElement.id") == "help"  # so that it scrolls by PageDown
    browser.press("h")
    browser.wait("!document.getElementById('help').checkVisibility()")


def test_what_the_model_sees_is_shown(browser):
    with browser.held(UP, LEFT):
        browser.press("t", "i")
        browser.wait_frames(6)
        browser.wait("document.getElementById('seen').checkVisibility()")
        browser.press("p")
    browser.wait("page.isPaused")
    captions = browser.run("[...document.querySelectorAll('#seen figure')].map(each => each.innerText)")
    assert len(captions) == 7
    colors = browser.run("""[...document.querySelectorAll("#seen canvas")].map(each => new Set(new Uint32Array(
        each.getContext("2d").getImageData(0, 0, each.width, each.height).data.buffer)).size)""")
    assert min(colors) > 20, colors  # each of them shows something
    assert "WebAssembly" in browser.run("document.getElementById('numbers').textContent")
    browser.press("t", "i")
    browser.wait("!document.getElementById('seen').checkVisibility()")


@pytest.mark.parametrize("size, touch", [((320, 640), True), ((740, 360), True), ((1280, 720), False)])
def test_the_page_fits(server, size, touch):
    """Nothing is wider than the page, nothing moves while it loads and plays, and all of it can be read."""
    browser = Browser(size, touch)
    try:
        if touch:  # as of a phone with rounded corners
            insets = {"top": 20, "left": 30, "bottom": 20, "right": 30}
            browser.driver.execute_cdp_cmd("Emulation.setSafeAreaInsetsOverride", {"insets": insets})
        browser.open(server.url)
        W, H = browser.run("[innerWidth, innerHeight]")
        assert list(size) == [W, H]
        browser.run("(page.isWaiting = false, null)")
        browser.wait_frames(3)
        shift = """new Promise(done => { let sum = 0; new PerformanceObserver(list => list.getEntries().forEach(
            entry => sum += entry.hadRecentInput ? 0 : entry.value)).observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(sum), 500); })"""
        assert browser.run(shift) == 0
        browser.run("(page.toggleNumbers(), page.toggleSeen(), null)")
        browser.wait_frames(2)
        for part in ("stage", "bar", "commands", "keys", "status", "numbers", *(["touch"] if touch else [])):
            left, top, right, bottom = browser.run(
                "(box => [box.left, box.top, box.right, box.bottom])"
                f"(document.getElementById('{part}').getBoundingClientRect())"
            )
            assert left >= 0 and top >= 0 and right <= W and bottom <= H, part
        assert browser.run("document.documentElement.scrollWidth") <= W
        browser.run("(page.toggleHelp(), null)")
        browser.wait("document.getElementById('help').checkVisibility()")
        assert browser.run(UNREADABLE) == []
        assert browser.errors() == []
    finally:
        browser.close()


def test_fingers_steer_and_the_gas_stays_on(server):
    browser = Browser((740, 360), touch=True)
    try:
        browser.open(server.url)
        action = "page.site.game.action_names[page.session.state.action]"
        browser.touch((40, 180))
        browser.wait_frames(2)
        assert browser.run(action) == "forward+left"
        browser.touch()
        browser.wait_frames(2)
        assert browser.run(action) == "forward"
        browser.touch((400, 180))
        browser.wait_frames(2)
        assert browser.run(action) == "forward+right"
        browser.touch()
        x, y = browser.run("(box => [box.x + box.width / 2, box.y + box.height / 2])"
                           "(document.querySelector('#touch [data-key=up]').getBoundingClientRect())")  # fmt: skip
        browser.touch((x, y))
        browser.touch()
        browser.wait_frames(2)
        assert browser.run(action) == "nothing"
    finally:
        browser.close()


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
    browser.run("(page.session.maxHistory = 300, null)")
    assert after < before + 40, (before, after)
