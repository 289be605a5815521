"""Writes the folder of the web page: the page's source, the graphs, the start states and the runtime.

    index.html, *.js, style.css    copies of sd/web/
    site.json                      the game, the shapes, names and sizes of the other files
    model/                         the graphs (graphs.py), weights.bin, starts.bin, agent.onnx if there is an agent
    runtime/                       ONNX Runtime Web (runtime.py)

starts.bin: latents float32 (K, L, C, h, w), then actions int32 (K, L), little-endian.
"""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from dream.common.errors import InputError
from dream.common.files import check_no_file_above
from dream.common.game_info import check_agent_actions
from dream.common.progress import waiting
from dream.data.start_states import StartStates, load_start_states
from dream.inference.export import make_tmp_folder, replace_folder, to_half_weights
from dream.inference.network_file import read_network
from dream.inference.torch_backend import TorchBackend
from dream.web import runtime
from dream.web.graphs import trace_graphs
from dream.web.site_folder import SITE, SOURCE, check_is_site_or_new, fingerprint
from dream.web.weights import WeightFile
from dream.web.winograd import winograd_convs

MAX_BYTES = 40_000_000  # of the folder
# Where index.html holds the size of a frame.
FRAME_SIZES = {
    "--frame-width: 256; --frame-height: 112": "--frame-width: {width}; --frame-height: {height}",
    'width="256" height="112"': 'width="{width}" height="{height}"',
}
MIN_PSNR_DB = 45.0  # between a frame of the page's graphs and of the model


def export_site(
    decoder: Path, model: Path, starts: Path, agent: Path | None, tarball: Path, folder: Path
) -> None:
    """Writes the page into `folder`, in place of one that it holds.

    decoder, model: checkpoints. starts: an initial_sequence.npz. agent: an agent.npz, or None. tarball: the package of
    the runtime (runtime.find_tarball). Raises InputError if a file is missing or damaged, does not fit the
    model, or the page would be too large, ImportError if one of EXPORT_NEEDS (select_backend.py) is not installed."""
    check_no_file_above(folder)
    check_is_site_or_new(folder)
    backend = TorchBackend(decoder, model, None, torch.device("cpu"))
    states = load_start_states(starts, backend)
    graph = read_agent(agent, backend.game.action_names) if agent else None
    tmp_folder = make_tmp_folder(folder.resolve())
    try:
        shutil.copytree(SOURCE, tmp_folder, dirs_exist_ok=True)
        (tmp_folder / "model").mkdir()
        with waiting("exporting the graphs"):
            write_graphs(backend, tmp_folder / "model")
        with waiting("comparing the export with the model"):
            check_graphs(backend, states, tmp_folder / "model")
        write_frame_size(tmp_folder / "index.html", *backend.frame_shape)
        write_starts(states, tmp_folder / "model" / "starts.bin")
        if graph:
            (tmp_folder / "model" / "agent.onnx").write_bytes(graph)
        with waiting("writing the runtime"):
            runtime.write_runtime(tarball, tmp_folder / "runtime")
        source = fingerprint(decoder, model, starts, agent)
        write_site_json(backend, len(states), bool(graph), source, tmp_folder)
        size = sum(path.stat().st_size for path in tmp_folder.rglob("*") if path.is_file())
        if size > MAX_BYTES:
            raise InputError(
                f"the page would take {size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}: {model} is too large for a "
                "web page, train a smaller one (--channels)"
            )
        replace_folder(tmp_folder, folder.resolve())
    finally:
        shutil.rmtree(tmp_folder, ignore_errors=True)


def read_agent(path: Path, action_names: tuple[str, ...]) -> bytes:
    """The graph of an agent.npz. Raises InputError if it is damaged or has other actions than the model."""
    graph, names = read_network(path, "agent")
    check_agent_actions(path, names, action_names)
    return graph


def write_graphs(backend: TorchBackend, folder: Path) -> None:
    """Writes each graph twice: as it is, for WebGPU, and with Winograd convolutions, for WebAssembly."""
    weights = WeightFile("weights.bin")
    for name, model in trace_graphs(backend.unet, backend.decoder, backend.steps).items():
        for suffix, variant in (("", model), (".wasm", winograd_convs(model))):
            variant = to_half_weights(variant)
            weights.move_weights(variant)
            (folder / f"{name}{suffix}.onnx").write_bytes(variant.SerializeToString())
    weights.save(folder)


def check_graphs(backend: TorchBackend, states: StartStates, folder: Path) -> None:
    """Raises InputError unless the graphs in `folder` generate the frame of `backend` after a start state."""
    import onnxruntime

    noise = np.random.default_rng(0).standard_normal(backend.latent_shape, dtype=np.float32)
    latents, actions = states.latents[0], states.actions[0].copy()
    expected = backend.step(backend.init_state(latents, actions), int(actions[-1]), noise).rgb
    for suffix in ("", ".wasm"):
        decode, frame = (
            onnxruntime.InferenceSession(folder / f"{name}{suffix}.onnx", providers=["CPUExecutionProvider"])
            for name in ("decode", "frame")
        )
        (last,) = decode.run(None, {"latent": latents[None, -1]})
        feeds = {"context": latents[None], "actions": actions[None], "frame": last,
                 "noise": noise[None]}  # fmt: skip
        names = {each.name for each in frame.get_inputs()}
        (rgb,) = frame.run(["rgb"], {name: values for name, values in feeds.items() if name in names})
        difference = rgb[0].transpose(1, 2, 0).clip(0, 1) - expected / 255
        psnr_db = -10 * np.log10(np.mean(difference**2) + 1e-12)
        if not psnr_db >= MIN_PSNR_DB:
            raise InputError(
                f"the page would generate other frames than the model (PSNR {psnr_db:.0f} dB): not written"
            )


def write_frame_size(path: Path, height: int, width: int) -> None:
    """Writes the size of a frame into index.html, in place of that of the source."""
    page = path.read_text(encoding="utf-8")
    for old, new in FRAME_SIZES.items():
        assert old in page, f"{path} lacks {old}"
        page = page.replace(old, new.format(height=height, width=width))
    path.write_text(page, encoding="utf-8")


def write_starts(states: StartStates, path: Path) -> None:
    path.write_bytes(states.latents.astype("<f4").tobytes() + states.actions.astype("<i4").tobytes())


def write_site_json(
    backend: TorchBackend, num_starts: int, has_agent: bool, source: str, folder: Path
) -> None:
    """Writes site.json. `version` changes with every file; the service worker's cache has its name."""
    game = asdict(backend.game)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = hashlib.sha256()
    for path in files:
        content.update(path.read_bytes())
    site = {
        "kind": SITE,
        "source": source,
        "version": content.hexdigest()[:16],
        "game": {name: game[name] for name in ("action_names", "action_keys", "fps")},
        "context": backend.context_length,
        "latent_shape": backend.latent_shape,
        "frame_shape": backend.frame_shape,
        "num_starts": num_starts,
        "has_agent": has_agent,
        "runtime": runtime.PACKAGE,
        "files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
    }
    (folder / "site.json").write_text(json.dumps(site, indent=1) + "\n", encoding="utf-8")
