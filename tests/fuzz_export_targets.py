"""The files of an exported model, for tests/fuzz.py: dream.json and the three graphs."""

import functools
import shutil
import tempfile
from pathlib import Path

import export_sd
from dream.inference.backend import first_frame
from dream.inference.export_folder import GRAPHS, METADATA, export_dir
from dream.inference.network_file import read_network, write_network
from dream.inference.onnx_backend import OnnxBackend
from fuzz import Target
from small import save_small_world_model


@functools.cache
def small_export() -> tempfile.TemporaryDirectory:
    """A folder with a small model and its export, made once because it takes seconds; it lives as long as this."""
    temporary = tempfile.TemporaryDirectory()
    model = save_small_world_model(Path(temporary.name))["model_path"]
    export_sd.main(export_sd.parse_args(["--model-path", str(model), "--float"]))
    return temporary


def make_export(name: str, folder: Path) -> Path:
    shutil.copytree(export_dir(Path(small_export().name) / "model.pt"), folder / "model.exported")
    return folder / "model.exported" / name


def load_export(path: Path) -> tuple:
    backend = OnnxBackend(path.parent, "onnxruntime", None)
    return backend.game, backend.steps, backend.name, first_frame(backend).rgb.tobytes()


def make_network(folder: Path) -> Path:
    write_network(folder / "agent.npz", "agent", bytes(range(256)) * 8, ("nothing", "left"))
    return folder / "agent.npz"


def load_network_file(path: Path) -> tuple:
    return read_network(path, "agent")


EXPORT_TARGETS = {
    f"export_{name.replace('.', '_')}": Target(functools.partial(make_export, name), load_export)
    for name in (METADATA, *(f"{graph}.onnx" for graph in GRAPHS))
}
EXPORT_TARGETS["network_file"] = Target(make_network, load_network_file)
