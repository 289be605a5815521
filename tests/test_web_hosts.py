"""The web page on other hosts than our server: without headers, without a network, exported anew, with another game."""

import shutil

import pytest
from web_helpers import (
    SOFTWARE_GPU,
    UNREADABLE,
    PageHandlerWithoutHeaders,
    export_small_page,
    replace_text,
    served,
)

pytestmark = pytest.mark.slow
UP, TAB, BACKSPACE = "\ue013", "\ue004", "\ue003"  # as Selenium names them


def test_it_plays_offline_after_the_first_visit(web_site):
    with served(web_site) as (server, browser):
        browser.open(server.url)
        browser.wait("page.isOffline")
        server.close()
        browser.open(server.url)
        assert browser.run("crossOriginIsolated")
        browser.press("n")
        with browser.held(UP):
            browser.wait_frames(3)
        browser.press("\ue004")
        browser.wait_frames(2)
        kept = browser.run("caches.keys().then(([name]) => caches.open(name)).then(cache => cache.keys())"
                           ".then(keys => keys.map(({ url }) => url.split('?')[0]).join())")  # fmt: skip
        assert "frame.wasm.onnx" in kept and "weights.bin" in kept and "check.bin" in kept
        for other in (
            "asyncify",
            "webgpu",
            "frame.webgpu32.onnx",
            "frame.webgpu16.onnx",
        ):  # of the backends that are not used
            assert other not in kept


def test_after_a_visit_on_a_gpu_it_plays_offline_without_it(web_site, tmp_path):
    """The GPU's graphs and runtime, computed on the CPU here, are chosen at the first visit and not at the second."""
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    replace_text(
        folder / "backend.js", 'name: "webgpu32", backend: "webgpu"', 'name: "webgpu32", backend: "wasm"'
    )
    with served(folder) as (server, browser):
        browser.open(server.url)
        assert browser.run("page.session.model.files.includes('model/frame.webgpu32.onnx')")
        browser.wait("page.isOffline")
        server.close()
        browser.open(server.url)  # the same variant again
        browser.open(server.url + "?backend=wasm")
        browser.press(UP)
        browser.wait_frames(1)


def test_on_a_host_without_headers_the_service_worker_allows_threads(web_site):
    with served(web_site, PageHandlerWithoutHeaders) as (server, browser):
        browser.open(server.url)
        assert browser.run("crossOriginIsolated")
        assert browser.errors() == []


def test_a_host_that_decompresses_files_on_the_way_works(web_site, tmp_path):
    """Some servers send .gz files with a header that makes the browser decompress them."""

    class Handler(PageHandlerWithoutHeaders):
        def end_headers(self) -> None:
            if self.path.split("?")[0].endswith(".gz"):
                self.send_header("Content-Encoding", "gzip")
            super().end_headers()

    with served(web_site, Handler) as (server, browser):
        browser.open(server.url)
        browser.press(UP)
        browser.wait_frames(1)


def test_a_new_export_at_the_same_address_is_shown(web_site, tmp_path):
    """The cache must not keep the old one."""
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    with served(folder) as (server, browser):
        browser.open(server.url)
        browser.wait("page.isOffline")
        text = (folder / "site.json").read_text()
        version = browser.run("page.site.version")
        others = ["dream", "dream http://elsewhere/ 1", f"dream {server.url}other/ 1"]  # of other pages
        for name in others:
            browser.run("caches.open(args[0]).then(() => null)", name)
        (folder / "site.json").write_text(
            text.replace(version, "0123456789abcdef").replace("forward", "ahead")
        )
        browser.open(server.url)
        browser.wait("page.isOffline")
        assert browser.run("page.site.game.action_names")[1] == "ahead"
        assert browser.run("caches.keys()") == [*others, f"dream {server.url} 0123456789abcdef"]
        kept = browser.run("caches.open((await caches.keys()).at(-1)).then(cache => cache.keys())"
                           ".then(keys => keys.map(key => key.url))")  # fmt: skip
        assert not [url for url in kept if version in url] and [
            url for url in kept if "0123456789abcdef" in url
        ]


def test_new_modules_are_loaded_from_a_host_that_lets_browsers_keep_them(web_site, tmp_path):
    class Handler(PageHandlerWithoutHeaders):
        headers_sent = {"Cache-Control": "max-age=86400"}  # noqa: RUF012

    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    with served(folder, Handler) as (server, browser):
        browser.open(server.url)
        browser.wait("page.isOffline")
        with open(folder / "timing.js", "a") as file:
            file.write("globalThis.isNew = true;\n")
        browser.open(server.url)
        assert browser.run("globalThis.isNew")


def test_an_export_that_is_fetched_in_part_leaves_the_older_one(web_site, tmp_path):
    """A file of the new one is missing: without the network the page plays as before."""
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    with served(folder) as (server, browser):
        browser.open(server.url)
        browser.wait("page.isOffline")
        version = browser.run("page.site.version")
        text = (folder / "site.json").read_text().replace(version, "0123456789abcdef")
        (folder / "site.json").write_text(text)
        (folder / "icon.svg").unlink()
        browser.open(server.url)
        assert browser.run("page.site.version") == "0123456789abcdef"
        browser.wait(
            "caches.keys().then(names => globalThis.names = names) && globalThis.names?.length === 2"
        )
        browser.run("new Promise(done => setTimeout(done, 500))")
        assert not browser.run("page.isOffline")
        server.close()
        browser.open(server.url)
        assert browser.run("page.site.version") == version


def test_without_storage_for_the_page_it_plays_on_one_thread(web_site):
    """As where a user blocks the data of sites."""
    with served(web_site, PageHandlerWithoutHeaders) as (server, browser):
        block = (
            """Object.defineProperty(window, "sessionStorage", { get() { throw new Error("blocked"); } });"""
        )
        browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": block})
        browser.open(server.url)
        assert not browser.run("crossOriginIsolated")
        browser.press(UP)
        browser.wait_frames(1)


@pytest.mark.parametrize("damage", ["missing", "older"])
def test_a_module_that_cannot_be_loaded_is_reported(web_site, tmp_path, damage):
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    (folder / "timing.js").unlink()
    if damage == "older":
        (folder / "timing.js").write_text("export const OTHER = 1;\n")
    with (
        served(folder) as (server, browser),
        pytest.raises(AssertionError, match=r"cannot be loaded .*reload"),
    ):
        browser.open(server.url)


def test_a_missing_file_is_reported(web_site, tmp_path):
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    (folder / "model" / "frame.wasm.onnx").unlink()
    with (
        served(folder) as (server, browser),
        pytest.raises(AssertionError, match=r"cannot play here: model/frame\.wasm\.onnx.*404"),
    ):
        browser.open(server.url)


def test_a_backend_that_generates_other_frames_is_not_used(web_site, tmp_path):
    """As by a fault of a GPU's driver: the page compares a frame with the model's before it plays."""
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    check = bytearray((folder / "model" / "check.bin").read_bytes())
    check[-3 * 112 * 256 :] = bytes(3 * 112 * 256)
    (folder / "model" / "check.bin").write_bytes(check)
    message = r"cannot play here: wasm generates other frames \(\d+ dB\).*check.bin do not belong together"
    with served(folder) as (server, browser), pytest.raises(AssertionError, match=message):
        browser.open(server.url)


@pytest.mark.parametrize(
    "name, message",
    [
        ("model/check.bin", "model/check.bin is damaged: export the page again"),
        ("model/starts.bin", "model/starts.bin is damaged: export the page again"),
        ("site.json", "site.json is damaged, or not of this page: export the page again"),
    ],
)
def test_a_damaged_file_is_reported(web_site, tmp_path, name, message):
    """Shorter than the shapes of the model say, and with its size in site.json; or no JSON."""
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    path = folder / name
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-4])
    if name != "site.json":
        replace_text(folder / "site.json", f'"{name}": {size}', f'"{name}": {size - 4}')
    with (
        served(folder) as (server, browser),
        pytest.raises(AssertionError, match=f"cannot play here: {message}"),
    ):
        browser.open(server.url)


def test_a_backend_that_is_not_there_is_reported(web_site):
    with served(web_site) as (server, browser), pytest.raises(AssertionError, match="no backend webgpu in"):
        browser.open(server.url + "?backend=webgpu")


@pytest.mark.long
def test_a_gpu_that_is_slower_than_the_game_is_not_used(web_site, tmp_path):
    """The software adapter of WebGPU counts as a GPU here; it takes seconds for a frame."""
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    condition = "!(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter)"
    replace_text(folder / "backend.js", condition, "(self.triedGpu = true)")
    replace_text(
        folder / "worker.js", "return { backend, bits,", "return { triedGpu: self.triedGpu, backend, bits,"
    )
    with served(folder, options=SOFTWARE_GPU) as (server, browser):
        browser.open(server.url)
        if not browser.run("page.session.model.triedGpu"):
            pytest.skip("the software adapter of WebGPU does not start here")
        assert browser.run("page.session.model.backend") == "wasm"
        browser.press(UP)
        browser.wait_frames(1)
        assert browser.errors() == []


# -- another game ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_flow", [True, False])
def test_another_game_plays_with_its_own_keys(tmp_path, use_flow):
    """Its keys are commands of the page in other games: a command keeps its other key, or has none."""
    with served(export_small_page(tmp_path, use_flow)) as (server, browser):
        browser.open(server.url)
        assert browser.run("page.site.frame_shape") == [32, 48]
        assert browser.run("page.session.drivers") == ["you"]  # the pretrained agent has other actions
        action = "page.site.game.action_names[page.session.state.action]"
        for keys, name in ((" ", "jump"), (("z", "\ue014"), "run"), (("z", "d"), "run")):
            with browser.held(*keys):
                lit = f"document.querySelectorAll('#keys .lit').length === {len(keys)}"
                browser.wait(f"{action} === '{name}' && {lit}")
            browser.wait(f"{action} === 'nothing'")
        browser.press("p")
        browser.wait("page.isPaused")
        browser.press("p")
        with browser.held(BACKSPACE):
            browser.wait("page.isRewinding")
        browser.press("t")
        with browser.held(" "):
            browser.wait_frames(2)
        shown = browser.run(
            "[...document.querySelectorAll('#seen figure')].filter(each => each.checkVisibility()).length"
        )
        assert shown == (7 if use_flow else 5)
        browser.press("h")
        browser.wait("document.getElementById('help').checkVisibility()")
        assert browser.run(UNREADABLE) == []
        assert browser.errors() == []


def test_other_games_have_buttons_for_their_keys_on_a_touch_screen(tmp_path):
    with served(export_small_page(tmp_path, True), size=(360, 640), touch=True) as (server, browser):
        browser.open(server.url)
        center = """(box => [box.x + box.width / 2, box.y + box.height / 2])
            (document.querySelector(args[0]).getBoundingClientRect())"""
        browser.touch(browser.run(center, "#touch [data-key=space]"))
        browser.wait("page.site.game.action_names[page.session.state.action] === 'jump'")
        browser.touch()
        browser.touch(*(browser.run(center, f"#touch button[data-key={key}]") for key in ("z", "right")))
        browser.wait("page.site.game.action_names[page.session.state.action] === 'run'")
        browser.touch()
