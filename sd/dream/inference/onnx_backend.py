"""Runs an exported world model in OpenVINO or ONNX Runtime: without PyTorch, and faster on a CPU.

`export_sd.py` writes the export beside its model: three ONNX graphs, one for each function of backend.py, and
dream.json, which holds the game, the shapes and a hash of the files that were exported."""

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

Graph = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


class OnnxBackend:
    def __init__(self, folder: Path, runtime: str, steps: int | None) -> None:
        """runtime: a key of RUNTIMES. steps: sampling steps per frame (None: the model's own). Raises InputError
        where the folder does not hold an exported model, ImportError where the runtime is not installed."""
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
    """Where the start states of a model are, unless another file is named."""
    return Path(model_path).with_name("initial_sequence.npz")


def export_dir(model_path: Path) -> Path:
    """Where the export of a model is, unless another folder is named."""
    return Path(model_path).with_suffix(".exported")


def read_metadata(folder: Path) -> dict:
    """dream.json as a dict. Raises InputError where there is none of this format."""
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
    first_line = (str(problem) or type(problem).__name__).splitlines()[0]
    return InputError(
        f"{folder} cannot be read as an exported model ({first_line}): export it again with sd/export_sd.py"
    )


def source_hash(decoder_path: Path, model_path: Path) -> str:
    """Hash of the files that are exported, by which an export is known to be theirs."""
    digest = hashlib.sha1()
    for path in (decoder_path, model_path):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def matches_source(folder: Path, decoder_path: Path, model_path: Path) -> bool:
    """Whether `folder` holds an export of these files; where they do not exist, of any: playing needs only the
    export."""
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
    """In bfloat16 where the CPU has instructions for it, else in float32. Also in float32 where oneDNN, whose kernels
    OpenVINO uses, is restricted to older instructions (ONEDNN_MAX_CPU_ISA=AVX2 python sd/benchmark_sd.py)."""
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
    import onnxruntime

    def load(path: Path) -> Graph:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        return lambda inputs: session.run(None, {name: inputs[name] for name in names})

    return "ONNX Runtime float32", [load(path) for path in paths]


RUNTIMES = {"openvino": load_openvino, "onnxruntime": load_onnxruntime}
