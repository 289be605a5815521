"""Writes the folder of the web page: the page's source, the graphs, the start states and the runtime.

    index.html, *.js, style.css    copies of sd/web/
    site.json                      the game, the shapes, names and sizes of the other files
    model/                         the graphs (variants.py), weights.bin, starts.bin, check.bin, agent.onnx if there
                                   is an agent, list.bin if there is one of actions
    runtime/                       ONNX Runtime Web (runtime.py)

All numbers are little-endian:
    starts.bin      latents float32 (K, L, C, h, w), then actions int32 (K, L)
    check.bin       a frame of the model: check.py
    list.bin        runs of an action, int32 (R, 2): its number, and for how many frames
"""

import hashlib
import itertools
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
from dream.play.keys import read_keys_file
from dream.web import runtime
from dream.web.check import check_graphs, write_check
from dream.web.graphs import trace_graphs
from dream.web.site_folder import SITE, SOURCE, check_is_site_or_new, fingerprint
from dream.web.variants import VARIANTS, graph_file
from dream.web.weights import WeightFile

MAX_BYTES = 40_000_000  # of the folder
# Where index.html holds the size of a frame.
FRAME_SIZES = {
    "--frame-width: 256; --frame-height: 112": "--frame-width: {width}; --frame-height: {height}",
    'width="256" height="112"': 'width="{width}" height="{height}"',
}


def export_site(sources: dict[str, Path], agent: Path | None, tarball: Path, folder: Path) -> None:
    """Writes the page into `folder`, in place of one that it holds.

    sources: what it is made from: checkpoints "decoder" and "model"; "starts", an initial_sequence.npz; perhaps "keys",
    a key file (read_keys_file); others count for `is_up_to_date` alone. agent: an agent.npz, or None. tarball: the
    package of the runtime (runtime.find_tarball). Raises InputError if a file is missing or damaged, does not fit the
    model, or the page would be too large, ImportError if one of EXPORT_NEEDS (select_backend.py) is not installed."""
    check_no_file_above(folder)
    check_is_site_or_new(folder)
    backend = TorchBackend(sources["decoder"], sources["model"], None, torch.device("cpu"))
    states = load_start_states(sources["starts"], backend)
    graph = read_agent(agent, backend.game.action_names) if agent else None
    keys, game = sources.get("keys"), backend.game
    listed = read_keys_file(keys, game.action_names, game.action_keys) if keys else []
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
        write_check(backend, states, tmp_folder / "model" / "check.bin")
        if graph:
            (tmp_folder / "model" / "agent.onnx").write_bytes(graph)
        if listed:
            write_list(listed, tmp_folder / "model" / "list.bin")
        with waiting("writing the runtime"):
            runtime.write_runtime(tarball, tmp_folder / "runtime")
        write_site_json(backend, len(states), bool(graph), bool(listed), fingerprint(sources), tmp_folder)
        size = sum(path.stat().st_size for path in tmp_folder.rglob("*") if path.is_file())
        if size > MAX_BYTES:
            sizes = f"{size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}"
            raise InputError(
                f"the page would take {sizes}: {sources['model']} is too large for a web page, train a smaller one "
                "(--channels)"
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
    """Writes each graph in all variants, which share the weights."""
    weights = WeightFile("weights.bin")
    for name, model in trace_graphs(backend.unet, backend.decoder, backend.steps).items():
        for variant, rewrite in VARIANTS.items():
            rewritten = to_half_weights(rewrite(model))
            weights.move_weights(rewritten)
            (folder / graph_file(name, variant)).write_bytes(rewritten.SerializeToString())
    weights.save(folder)


def write_frame_size(path: Path, height: int, width: int) -> None:
    """Writes the size of a frame into index.html, in place of that of the source."""
    page = path.read_text(encoding="utf-8")
    for old, new in FRAME_SIZES.items():
        assert old in page, f"{path} lacks {old}"
        page = page.replace(old, new.format(height=height, width=width))
    path.write_text(page, encoding="utf-8")


def write_starts(states: StartStates, path: Path) -> None:
    path.write_bytes(states.latents.astype("<f4").tobytes() + states.actions.astype("<i4").tobytes())


def write_list(actions: list[int], path: Path) -> None:
    """Writes a list of actions, one per frame."""
    runs = [(action, len([*run])) for action, run in itertools.groupby(actions)]
    path.write_bytes(np.array(runs, "<i4").tobytes())


def write_site_json(
    backend: TorchBackend, num_starts: int, has_agent: bool, has_list: bool, source: str, folder: Path
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
        "has_list": has_list,
        "runtime": runtime.PACKAGE,
        "files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
    }
    (folder / "site.json").write_text(json.dumps(site, indent=1) + "\n", encoding="utf-8")
