"""The web page in a real browser: what it shows, and whether it fits."""

import numpy as np
import pytest
from dream.play.drive import Drive
from web_helpers import UNREADABLE, Browser, frames_as_rgba

pytestmark = pytest.mark.slow
UP, LEFT = "\ue013", "\ue012"  # as Selenium names them


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


@pytest.mark.parametrize("size, insets", [
    ((320, 640), (0, 0, 0, 0)),
    ((320, 640), (47, 0, 34, 0)),
    ((740, 360), (0, 0, 0, 0)),
    ((740, 360), (0, 47, 21, 47)),
    ((1280, 720), None),
])  # fmt: skip
def test_the_page_fits(server, size, insets):
    """Nothing is wider than the page, nothing moves while it loads and plays, and all of it can be read."""
    browser = Browser(size, touch=insets is not None)
    try:
        top_inset, right_inset, bottom_inset, left_inset = insets or (0, 0, 0, 0)
        if any(insets or ()):  # as of a phone with rounded corners
            sides = dict(zip(("top", "right", "bottom", "left"), insets, strict=True))
            browser.driver.execute_cdp_cmd("Emulation.setSafeAreaInsetsOverride", {"insets": sides})
        browser.open(server.url)
        W, H = browser.run("[innerWidth, innerHeight]")
        assert list(size) == [W, H]
        browser.run("(page.isWaiting = false, null)")
        browser.wait_frames(3)
        shifts = """new Promise(done => {
            const moved = [];
            const add = ({ value, hadRecentInput, sources }) => hadRecentInput || moved.push(value, ...sources.map(
                ({ node, previousRect: from, currentRect: to }) => [node?.id, JSON.stringify([from, to])]));
            const observer = new PerformanceObserver(list => list.getEntries().forEach(add));
            observer.observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(moved), 500);
        })"""
        assert browser.run(shifts) == []
        browser.run("(page.toggleNumbers(), page.toggleSeen(), null)")
        browser.wait_frames(2)
        for part in ("stage", "bar", "keys", "status", "numbers", *(["touch"] if insets else [])):
            left, top, right, bottom = browser.run(
                "(box => [box.left, box.top, box.right, box.bottom])"
                f"(document.getElementById('{part}').getBoundingClientRect())"
            )
            assert left >= 0 and top >= 0 and right <= W and bottom <= H, part
            if part != "numbers":  # whose background goes to the edges
                assert left >= left_inset and top >= top_inset, part
                assert right <= W - right_inset and bottom <= H - bottom_inset, part
        bottoms = "['#commands button:last-child', '#bar'].map(part => box(part).bottom)"
        button, bar = browser.run(
            f"(box => {bottoms})(part => document.querySelector(part).getBoundingClientRect())"
        )
        assert button <= bar
        assert browser.run("document.documentElement.scrollWidth") <= W
        browser.run("(page.toggleHelp(), null)")
        browser.wait("document.getElementById('help').checkVisibility()")
        assert browser.run(UNREADABLE) == []
        assert browser.errors() == []
    finally:
        browser.close()


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
