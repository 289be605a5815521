"""The frames of the web page in a real browser are those of PyTorch, whichever backend generates them."""

import base64
import re
import shutil

import numpy as np
import pytest
import torch
from dream.inference.torch_backend import TorchBackend
from dream.inference.world_model_env import WorldModelEnv
from dream.web.check import MIN_PSNR_DB
from pretrained import PRETRAINED, PRETRAINED_FILES
from web_helpers import SOFTWARE_GPU, Browser, replace_text, served

pytestmark = pytest.mark.slow

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
        assert -10 * np.log10(np.mean(error**2) + 1e-12) >= MIN_PSNR_DB, f"frame {i}"


def test_frames_are_those_of_pytorch(browser):
    assert browser.run("page.session.model.backend") == "wasm"
    compare_with_torch(browser, [4, 1, 5])


# Generates the last frame twice, with the same noise: whether both are the same.
REPEAT_LAST = """(async () => {
    const { session } = page, { action } = session.state, frames = [];
    for (let i = 0; i < 2; i++) {
        session.rewind();
        await session.step(action);
        frames.push(session.state.rgba);
    }
    return frames[0].every((level, i) => level === frames[1][i]);
})()"""


def test_frames_on_webgpu_are_those_of_pytorch(web_site, tmp_path):
    """On the software adapter, which the page itself would not choose; a graph that WebGPU lacks fails here.

    Latents stay on the GPU, and after a rewind the same action gives the same frame from them. By the runtime's log
    nothing is copied to the CPU within a frame. The adapter has no float16: that graph is tested in native ONNX Runtime
    (test_web_graphs.py) and in WebAssembly (below)."""
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    replace_text(folder / "backend.js", 'logLevel = "error"', 'logLevel = "verbose"')
    replace_text(folder / "backend.js", "logSeverityLevel: 3", "logSeverityLevel: 0")
    with served(folder, options=SOFTWARE_GPU) as (server, browser):
        browser.driver.get(server.url + "site.json")
        if not browser.run("navigator.gpu?.requestAdapter().then(Boolean)"):
            pytest.skip("the software adapter of WebGPU does not start here")
        has_half = browser.run(
            "navigator.gpu.requestAdapter().then(({ features }) => features.has('shader-f16'))"
        )
        browser.errors()  # that page has no icon
        browser.open(server.url + "?backend=webgpu")
        assert browser.run("page.session.model.name") == f"WebGPU, float{16 if has_half else 32}"
        compare_with_torch(browser, [4])  # a frame takes seconds there
        assert browser.run("page.session.model.memory()") == {"count": 5, "onGpu": 1}
        assert browser.run(REPEAT_LAST)
        assert browser.run("page.session.model.memory()") == {"count": 5, "onGpu": 1}
        log = browser.errors()
    assert [line for line in log if "/runtime/ort-wasm" not in line] == []  # those are the log of the runtime
    placed = [line for line in log if "placed on [WebGpuExecutionProvider]" in line]
    on_cpu = [line for line in log if re.search(r"placed on \[CPUExecutionProvider\].* nodes: \d+", line)]
    copies = [line for line in log if "Add MemcpyToHost" in line]
    assert len(placed) == 2 and copies == []  # of the graphs frame and decode
    # index arithmetic of the actions, whose numbers come from the CPU
    assert [re.search(r"nodes: (\d+)", line)[1] for line in on_cpu[:1]] == ["2"]


def test_frames_in_float16_are_those_of_pytorch_in_the_page(web_site, tmp_path):
    """The graphs for a GPU with float16, in WebAssembly, which computes them in float32 and rounds in between."""
    folder = tmp_path / "site"
    shutil.copytree(web_site, folder)
    replace_text(folder / "backend.js", "${variant.name}.onnx", "webgpu16.onnx")
    with served(folder) as (server, browser):
        browser.open(server.url)
        assert browser.run("page.session.model.files.includes('model/frame.webgpu16.onnx')")
        compare_with_torch(browser, [4, 1, 5])


def test_a_software_adapter_is_not_chosen(server):
    browser = Browser(options=SOFTWARE_GPU)
    try:
        browser.open(server.url)
        assert browser.run("page.session.model.backend") == "wasm"
    finally:
        browser.close()
