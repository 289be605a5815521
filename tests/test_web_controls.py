"""The web page in a real browser: what keys, fingers and gamepads do."""

import pytest
from web_helpers import Browser

pytestmark = pytest.mark.slow
UP, LEFT, SPACE, ENTER, BACKSPACE = "\ue013", "\ue012", " ", "\ue007", "\ue003"  # as Selenium names them


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
        with browser.held(BACKSPACE):
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
    for key in (SPACE, ENTER):
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
