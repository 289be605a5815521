"""Small networks that play uses beside the world model: an agent (agent.npz) and a lap probe (laps.npz). No PyTorch.

File format, an .npz: `graph`, uint8, the bytes of an ONNX graph that maps `views`, the agent's observation, uint8 (1,
STACK, OBS_SIZE, OBS_SIZE), to `outputs`, float32 (1, n); `meta`, JSON text with format, kind, action_names (of an
agent) and the SHA-256 of the graph."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dream.common.agent_view import OBS_SIZE
from dream.common.errors import InputError, refuse_damaged, shorten
from dream.common.files import atomic_write, check_zip
from dream.common.limits import STACK
from dream.inference.runtimes import ArrayType, RuntimeUnavailable, load_graphs

FORMAT = 1
VIEWS_SHAPE = (1, STACK, OBS_SIZE, OBS_SIZE)
# By kind: the command that makes such a file.
MADE_BY = {
    "agent": "sd/export_sd.py --agent-path best.pt",
    "laps": "sd/train_play_networks.py",
}

Network = Callable[
    [np.ndarray], np.ndarray
]  # views uint8 (STACK, OBS_SIZE, OBS_SIZE) -> outputs float32 (n,)


def write_network(path: Path, kind: str, graph: bytes, action_names: Sequence[str] = ()) -> None:
    """Writes a network file with an atomic replace. kind: a key of MADE_BY. graph: of an ONNX model."""
    meta = {"format": FORMAT, "kind": kind, "action_names": list(action_names), "sha256": sha256(graph)}
    with atomic_write(path) as file:
        np.savez_compressed(file, graph=np.frombuffer(graph, np.uint8), meta=json.dumps(meta))


def read_network(path: Path, kind: str) -> tuple[bytes, tuple[str, ...]]:
    """Reads the graph of a network file and its action names.

    Raises InputError if the file is missing, damaged, of another kind or of another format version."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file at {path}: {MADE_BY[kind]} makes one")
    with refuse_damaged(path, f"make it again with {MADE_BY[kind]}"):
        check_zip(path)
        with np.load(path, allow_pickle=False) as arrays:
            meta, graph = json.loads(arrays["meta"].item()), arrays["graph"].tobytes()
        if (meta["format"], meta["kind"]) != (FORMAT, kind):
            found = shorten(f"{meta['kind']!r} of format {meta['format']!r}", 60)
            raise ValueError(f"it holds {found}, wanted {kind!r} of format {FORMAT}")
        if meta["sha256"] != sha256(graph):
            raise ValueError("the graph has changed since the export")
        names = meta["action_names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("no valid action names")
    return graph, tuple(names)


def read_graph(path: Path) -> bytes:
    """The graph of a network file of any kind, unchecked."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["graph"].tobytes()


def load_network(path: Path, kind: str, runtime: str, num_outputs: int | None = None) -> Network:
    """Loads a network file in `runtime`, a key of RUNTIMES. num_outputs: n (None: one for each action).

    Raises InputError as `read_network`, RuntimeUnavailable if the runtime is not installed or cannot run it."""
    graph, names = read_network(path, kind)
    _, (loaded,) = load_graphs(runtime, [graph], num_threads=1)  # more would wait longer than they compute
    outputs = ArrayType("float32", (1, len(names) if num_outputs is None else num_outputs))
    if loaded.inputs != {"views": ArrayType("uint8", VIEWS_SHAPE)} or [*loaded.outputs.values()] != [outputs]:
        raise InputError(f"{path} holds a graph of other shapes: make it again with {MADE_BY[kind]}")

    def run(views: np.ndarray) -> np.ndarray:
        return loaded({"views": views[None]})[0][0].copy()

    try:
        is_finite = np.isfinite(run(np.zeros(VIEWS_SHAPE[1:], np.uint8))).all()
    except Exception as problem:  # the runtimes raise many types
        raise RuntimeUnavailable(runtime, problem) from None
    if not is_finite:
        raise InputError(f"{path} gives no finite numbers: make it again with {MADE_BY[kind]}")
    return run


def sha256(data: bytes) -> str:
    """SHA-256 in hex digits."""
    return hashlib.sha256(data).hexdigest()
