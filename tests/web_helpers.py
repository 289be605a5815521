"""Helpers of the tests of the web page: the page of a model, served on this machine, in a headless Chromium."""

import base64
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import export_web
import numpy as np
import pytest
from dream.common.errors import InputError
from dream.common.game_info import GameInfo
from dream.common.runs import save_checkpoint
from dream.models.checkpoints import fingerprint, load_autoencoder_part, model_checkpoint
from dream.web import runtime
from dream.web.server import PageHandler, address, open_server
from small import save_small_world_model, small_unet

TIMEOUT_S = 300  # a busy machine plays slowly, but it plays
GAME = GameInfo(("nothing", "jump", "run"), ((), ("space",), ("z", "right")), 30.0)  # of `export_small_page`
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")

# Texts that are too small, cut off, or have too little contrast with the background of the page.
UNREADABLE = """(() => {
    const luminance = (color) => color.match(/[\\d.]+/g).slice(0, 3)
        .map(value => value / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const background = luminance("rgb(18, 19, 28)");
    const problems = [];
    for (const each of document.querySelectorAll("#help span, #help p, #help h2, #bar button, #status *, #hint span")) {
        const style = getComputedStyle(each), box = each.getBoundingClientRect();
        if (!each.checkVisibility() || !each.textContent) continue;
        const own = style.backgroundColor;
        const behind = /, 0\\)$/.test(own) ? background : luminance(own);
        if (parseFloat(style.fontSize) < 10.9) problems.push(`${each.textContent}: ${style.fontSize}`);
        if (contrast(luminance(style.color), behind) < 4.5) problems.push(`${each.textContent}: contrast`);
        if (box.left < 0 || box.right > innerWidth + 0.5) problems.push(`${each.textContent}: cut off`);
    }
    return problems;
})()"""


def find_chromium() -> tuple[str, str]:
    """Paths of Chromium and of its driver; skips the test where one, or Selenium, is not installed."""
    pytest.importorskip("selenium", reason="Selenium is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs Chromium and its driver (Debian: chromium, chromium-driver)")
    return chromium, driver


def find_runtime() -> Path:
    """The package of the runtime; skips the test where it is neither in the cache nor can be fetched."""
    try:
        return runtime.find_tarball(None)
    except InputError as problem:
        pytest.skip(str(problem))


def export_small_page(folder: Path, use_flow: bool = True, keys: str = "") -> Path:
    """The page of a small random model of another game, with two sampling steps; returns its folder. keys: content of
    a key file, for the page's list."""
    find_chromium()
    paths = save_small_world_model(folder, game=GAME)
    if not use_flow:
        decoder = load_autoencoder_part(paths["decoder_path"], "decoder")
        save_checkpoint(model_checkpoint(small_unet(), GAME, fingerprint(decoder), 1), paths["model_path"])
    args = ["--model-path", paths["model_path"], "--output-dir", folder / "site", "--runtime", find_runtime()]
    if keys:
        (folder / "keys.txt").write_text(keys)
        args += ["--keys", folder / "keys.txt"]
    export_web.main(export_web.parse_args([*map(str, args)]))
    return folder / "site"


def replace_text(path: Path, old: str, new: str) -> None:
    """Replaces `old`, which the file must contain, by `new`."""
    text = path.read_text()
    assert old in text, f"{path.name} lacks {old}"
    path.write_text(text.replace(old, new))


def frames_as_rgba(frames: np.ndarray) -> list[list[int]]:
    alpha = np.full((*frames.shape[:3], 1), 255, np.uint8)
    return np.concatenate([frames, alpha], axis=3).reshape(len(frames), -1).tolist()


class PageHandlerWithoutHeaders(PageHandler):
    """As a host that cannot set headers: for tests of the service worker."""

    headers_sent = {"Cache-Control": "no-cache"}  # noqa: RUF012


class Server:
    """Serves a page's folder until `close`; `url` is its address."""

    def __init__(self, folder: Path, handler: type = PageHandler) -> None:
        self.server = open_server(folder, 0, handler)
        self.url = address(self.server)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Browser:
    """A headless Chromium. Sizes are those of the page, in CSS pixels."""

    def __init__(
        self, size: tuple[int, int] = (1280, 720), touch: bool = False, options: tuple[str, ...] = ()
    ) -> None:
        from selenium import webdriver

        chromium, driver = find_chromium()
        settings = webdriver.ChromeOptions()
        settings.binary_location = chromium
        # no sandbox: it does not work for root, as in containers
        for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
            settings.add_argument(option)
        for option in options:
            settings.add_argument(option)
        if touch:
            metrics = {"width": size[0], "height": size[1], "pixelRatio": 2, "touch": True}
            settings.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        settings.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(settings, webdriver.ChromeService(driver))
        self.driver.set_script_timeout(TIMEOUT_S)
        self.driver.command_executor.client_config.timeout = TIMEOUT_S + 30  # of an answer: 120 s by default
        if not touch:
            metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, url: str) -> None:
        """Opens the page and waits until it can be played."""
        self.driver.get(url)
        self.wait("globalThis.page?.session.state && document.getElementById('loading').hidden")

    def run(self, script: str, *args: object) -> object:
        """The value of an expression of JavaScript, awaited; `args` are in `args`."""
        code = (
            "const args = [...arguments], done = args.pop();"
            f"(async () => ({script}))().then(value => done([value]), problem => done(String(problem)));"
        )
        result = self.driver.execute_async_script(code, *args)
        assert isinstance(result, list), result
        return result[0]

    def wait(self, condition: str) -> None:
        """Waits until an expression of JavaScript is true."""
        until = time.monotonic() + TIMEOUT_S
        while not self.driver.execute_script(f"return Boolean({condition})"):
            problem = self.driver.execute_script(
                "return document.querySelector('#message.problem')?.textContent"
            )
            assert not problem, problem
            assert time.monotonic() < until, f"{condition} is not true after {TIMEOUT_S} s"
            time.sleep(0.05)

    def wait_frames(self, count: int) -> None:
        """Waits until `count` more frames have been generated."""
        goal = self.run("page.session.state.numFrames") + count
        self.wait(f"page.session.state.numFrames >= {goal}")

    @contextmanager
    def held(self, *keys: str) -> Iterator[None]:
        """Holds keys, as Selenium names them, by real key events."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).key_down(key).perform()
        try:
            yield
        finally:
            for key in keys:
                ActionChains(self.driver).key_up(key).perform()

    def press(self, *keys: str) -> None:
        for key in keys:
            with self.held(key):
                pass

    def touch(self, *points: tuple[float, float]) -> None:
        """Puts fingers on these points and takes all others off."""
        kind = "touchStart" if points else "touchEnd"
        touches = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def frames(self) -> np.ndarray:
        """The frames of the history and the current one, uint8 (N, H, W, 3)."""
        text = """[...page.session.history, page.session.state].map(({ rgba }) => {
            let bytes = ""; for (const value of rgba) bytes += String.fromCharCode(value); return btoa(bytes); })"""
        rgba = [np.frombuffer(base64.b64decode(frame), np.uint8) for frame in self.run(text)]
        H, W = self.run("page.site.frame_shape")
        return np.stack(rgba).reshape(-1, H, W, 4)[..., :3]

    def memory_mb(self) -> float:
        """Resident memory of the processes that run pages and their workers, after garbage collection."""
        self.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        parents = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended
                parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        own, before = {self.driver.service.process.pid}, set()
        while own != before:
            before, own = own, own | {pid for pid, parent in parents.items() if parent in own}
        total = 0.0
        for pid in own:
            with suppress(OSError):
                if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf(
                        "SC_PAGE_SIZE"
                    )
        assert total, "no process of a page"
        return total / 1e6

    def errors(self) -> list[str]:
        """Errors in the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def close(self) -> None:
        self.driver.quit()


def restart(browser: Browser, start: int) -> None:
    """Brings the page to a start state, with a person as driver, as after loading."""
    browser.run("""(Object.assign(page, { isPaused: false, isSeenShown: false, areNumbersShown: false }),
        page.session.driver = "you", page.session.seed = 0)""")
    browser.run(
        "new Promise(done => page.pending.push(async () => { page.session.start = args[0];"
        "await page.session.restart(); page.onRestart(); done(); }))",
        start,
    )


@contextmanager
def served(folder: Path, handler: type = PageHandler, **options: object) -> Iterator[tuple[Server, Browser]]:
    """Serves a page's folder; yields server and browser, which has not opened it yet. options: of the browser. Both are
    closed at the end; a test may close the server before."""
    server, browser = Server(folder, handler), Browser(**options)
    try:
        yield server, browser
    finally:
        browser.close()
        server.close()
