"""Runs an exported world model in OpenVINO or ONNX Runtime: without PyTorch, and faster on a CPU.

`export_sd.py` writes the export next to the model: three ONNX graphs, one for each function of backend.py, and
dream.json with the game, the shapes and a hash of the files that were exported."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.common.game_info import GameInfo
from dream.inference.backend import State, sampling_timesteps

FORMAT = 4
GRAPHS = ("warp", "denoise", "decode")
METADATA = "dream.json"

# Inputs by name -> outputs in the order of the export.
Graph = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


class OnnxBackend:
    """A Backend (backend.py) that runs an exported model on the CPU."""

    def __init__(self, folder: Path, runtime: str, steps: int | None) -> None:
        """folder: of the export. runtime: a key of RUNTIMES. steps: sampling steps per frame (None: the model's own).

        Raises InputError if the folder is not a valid export, ImportError if the runtime is not installed."""
        metadata = read_metadata(folder)
        try:
            self.game = GameInfo.from_dict(metadata["game"])
            self.autoencoder, self.steps = str(metadata["autoencoder"]), steps or int(metadata["steps"])
            self.latent_shape = tuple(metadata["latent_shape"])
            self.frame_shape = tuple(metadata["frame_shape"])
            self.context_length = int(metadata["context"])
            self.name, graphs = RUNTIMES[runtime]([folder / f"{graph}.onnx" for graph in GRAPHS])
            self.name += " and int8" if metadata["int8"] else ""
        except ImportError:
            raise
        except Exception as problem:  # the runtimes raise many types here; all mean a damaged export
            raise damaged(folder, problem) from None
        self.warp, self.denoise, self.decode = graphs

    def init_state(self, latents: np.ndarray, actions: np.ndarray) -> State:
        context = latents.astype(np.float32)[None]
        _, frame, rgb = self.decode({"latent": context[:, -1], "last": context[:, -1]})
        return State(context, actions.astype(np.int64)[None], frame, rgb[0])

    def step(self, state: State, action: int, noise: np.ndarray) -> State:
        actions = state.actions.copy()
        actions[:, -1] = action
        inputs = {"context": state.context, "actions": actions}
        (warped,) = self.warp({**inputs, "frame": state.frame})
        z = noise[None]
        for t, t_next in sampling_timesteps(self.steps):
            (z,) = self.denoise({**inputs, "z": z, "t": t[None], "t_next": t_next[None], "warped": warped})
        latent, frame, rgb = self.decode({"latent": z, "last": state.context[:, -1]})
        context = np.concatenate([state.context[:, 1:], latent[:, None]], axis=1)
        return State(context, np.concatenate([actions[:, 1:], actions[:, -1:]], axis=1), frame, rgb[0])

    def export_state(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        return state.context[0], state.actions[0]


def default_start_states(model_path: Path) -> Path:
    """Default path of a model's start states: next to the model."""
    return Path(model_path).with_name("initial_sequence.npz")


def export_dir(model_path: Path) -> Path:
    """Default folder of a model's export: model.exported next to model.pt."""
    return Path(model_path).with_suffix(".exported")


def read_metadata(folder: Path) -> dict:
    """dream.json as a dict. Raises InputError if it is missing, damaged or of another format version."""
    path = folder / METADATA
    if not path.is_file():
        raise InputError(f"no exported model at {folder}: sd/export_sd.py makes one")
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        if metadata["format"] != FORMAT:
            raise ValueError(f"format {metadata['format']}, wanted {FORMAT}")
    except (ValueError, KeyError, TypeError) as problem:
        raise damaged(folder, problem) from None
    return metadata


def damaged(folder: Path, problem: Exception) -> InputError:
    """The error to raise for an export that cannot be read because of `problem`."""
    first_line = (str(problem) or type(problem).__name__).splitlines()[0]
    return InputError(
        f"{folder} cannot be read as an exported model ({first_line}): export it again with sd/export_sd.py"
    )


def source_hash(decoder_path: Path, model_path: Path) -> str:
    """SHA-1 of the two checkpoint files in hex digits; an export stores that of the files it was made from."""
    digest = hashlib.sha1()
    for path in (decoder_path, model_path):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def matches_source(folder: Path, decoder_path: Path, model_path: Path) -> bool:
    """Whether `folder` holds an export of these two files.

    If one of them does not exist, any export is accepted, because playing needs the export alone."""
    if not (folder / METADATA).is_file():
        return False
    if not (Path(decoder_path).is_file() and Path(model_path).is_file()):
        return True
    try:
        return read_metadata(folder)["source_hash"] == source_hash(decoder_path, model_path)
    except (InputError, KeyError):
        return False


# ------------------------------------------------------------------------------------------------- runtimes


def load_openvino(paths: list[Path]) -> tuple[str, list[Graph]]:
    """Compiles graphs for OpenVINO; returns the runtime's name with the precision, and the graphs.

    The precision is bfloat16 if the CPU has instructions for it, else float32. It is also float32 if oneDNN, whose
    kernels OpenVINO uses, is restricted to older instructions (ONEDNN_MAX_CPU_ISA=AVX2 python sd/benchmark_sd.py)."""
    import openvino

    core = openvino.Core()
    bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    bfloat16 &= "ONEDNN_MAX_CPU_ISA" not in os.environ
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32"}

    def load(path: Path) -> Graph:
        compiled = core.compile_model(core.read_model(path), "CPU", config)
        names = [port.any_name for port in compiled.inputs]
        request = compiled.create_infer_request()

        def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            outputs = request.infer({name: inputs[name] for name in names}, share_inputs=True)
            return [outputs[port] for port in compiled.outputs]

        return run

    return f"OpenVINO {'bfloat16' if bfloat16 else 'float32'}", [load(path) for path in paths]


def load_onnxruntime(paths: list[Path]) -> tuple[str, list[Graph]]:
    """Loads graphs in ONNX Runtime, in float32; returns as `load_openvino`."""
    import onnxruntime

    def load(path: Path) -> Graph:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        return lambda inputs: session.run(None, {name: inputs[name] for name in names})

    return "ONNX Runtime float32", [load(path) for path in paths]


RUNTIMES = {"openvino": load_openvino, "onnxruntime": load_onnxruntime}
