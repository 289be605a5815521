"""An exported dream, run by OpenVINO or ONNX Runtime: without torch, and faster than it.

What is exported stands beside its model (`export_sd.py`): three ONNX graphs, for the three parts of a frame
(engine.py), and dream.json, which says what they were made of.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.common.game_info import GameInfo
from dream.inference.backend import State, sampling_timesteps

FORMAT = 3
PARTS = ("foresee", "denoise", "finish")
ABOUT = "dream.json"

Part = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


class OnnxBackend:
    def __init__(self, folder: Path, runtime: str, steps: int | None) -> None:
        """Raises BadInput where the folder does not hold an exported dream, ImportError without the runtime."""
        about = read_about(folder)
        try:
            self.game = GameInfo.from_dict(about["game"])
            self.autoencoder, self.steps = str(about["autoencoder"]), steps or int(about["steps"])
            self.context_level = 0.0
            self.latent_shape, self.frame_shape = tuple(about["latent_shape"]), tuple(about["frame_shape"])
            self.context_length = int(about["context"])
            self.name, parts = RUNTIMES[runtime]([folder / f"{part}.onnx" for part in PARTS])
            self.name += " and int8" if about["int8"] else ""
        except ImportError:
            raise
        except Exception as problem:  # the runtimes raise many types here: all mean the same to the user
            raise damaged(folder, problem) from None
        self.warp_last_latent, self.denoise, self.finish = parts

    def begin(self, latents: np.ndarray, actions: np.ndarray) -> State:
        context = latents.astype(np.float32)[None]
        _, frame, rgb = self.finish({"latent": context[:, -1], "last": context[:, -1]})
        return State(context, actions.astype(np.int64)[None], frame, rgb[0])

    def step(self, state: State, action: int, noise: np.ndarray) -> State:
        actions = state.actions.copy()
        actions[:, -1] = action
        seen = {"context": state.context, "actions": actions}
        told = np.full(1, self.context_level, np.float32)
        (moved,) = self.warp_last_latent({**seen, "frame": state.frame})
        z = noise[None]
        for t, t_next in sampling_timesteps(self.steps):
            (z,) = self.denoise({**seen, "z": z, "t": t[None], "t_next": t_next[None], "context_level": told,
                                  "moved": moved})  # fmt: skip
        latent, frame, rgb = self.finish({"latent": z, "last": state.context[:, -1]})
        context = np.concatenate([state.context[:, 1:], latent[:, None]], axis=1)
        return State(context, np.concatenate([actions[:, 1:], actions[:, -1:]], axis=1), frame, rgb[0])

    def place(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        return state.context[0], state.actions[0]


def default_start_states(model_path: Path) -> Path:
    """Where the places to start from of a model stand."""
    return Path(model_path).with_name("initial_sequence.npz")


def export_dir(model_path: Path) -> Path:
    """Where the exported dream of a model stands."""
    return Path(model_path).with_suffix(".exported")


def read_about(folder: Path) -> dict:
    """dream.json. Raises BadInput where there is none of this format."""
    path = folder / ABOUT
    if not path.is_file():
        raise InputError(f"no exported dream at {folder}: sd/export_sd.py makes one of a model")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}, wanted {FORMAT}")
    except (ValueError, KeyError, TypeError) as problem:
        raise damaged(folder, problem) from None
    return about


def damaged(folder: Path, problem: Exception) -> InputError:
    first_line = (str(problem) or type(problem).__name__).splitlines()[0]
    return InputError(
        f"{folder} cannot be read as an exported dream ({first_line}): sd/export_sd.py makes it anew"
    )


def source_hash(decoder_path: Path, model_path: Path) -> str:
    """Tells an exported dream of these very files from others."""
    digest = hashlib.sha1()
    for path in (decoder_path, model_path):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def matches_source(folder: Path, decoder_path: Path, model_path: Path) -> bool:
    """Is there an exported dream of these files? Where they are gone, of any: whoever only plays needs no others."""
    if not (folder / ABOUT).is_file():
        return False
    if not (Path(decoder_path).is_file() and Path(model_path).is_file()):
        return True
    try:
        return read_about(folder)["made_of"] == source_hash(decoder_path, model_path)
    except (InputError, KeyError):
        return False


# ------------------------------------------------------------------------------------------------- runtimes


def with_openvino(paths: list[Path]) -> tuple[str, list[Part]]:
    """In bfloat16 where the CPU has instructions for it, else in float32; so too where oneDNN, whose kernels these are,
    is held back to older instructions (ONEDNN_MAX_CPU_ISA=AVX2 python sd/benchmark_sd.py: a plain laptop)."""
    import openvino

    core = openvino.Core()
    bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    bfloat16 &= "ONEDNN_MAX_CPU_ISA" not in os.environ
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32"}

    def part(path: Path) -> Part:
        compiled = core.compile_model(core.read_model(path), "CPU", config)
        wanted = [port.any_name for port in compiled.inputs]
        request = compiled.create_infer_request()

        def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            found = request.infer({name: inputs[name] for name in wanted}, share_inputs=True)
            return [found[port] for port in compiled.outputs]

        return run

    return f"OpenVINO {'bfloat16' if bfloat16 else 'float32'}", [part(path) for path in paths]


def with_onnxruntime(paths: list[Path]) -> tuple[str, list[Part]]:
    import onnxruntime

    def part(path: Path) -> Part:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        wanted = [each.name for each in session.get_inputs()]
        return lambda inputs: session.run(None, {name: inputs[name] for name in wanted})

    return "ONNX Runtime float32", [part(path) for path in paths]


RUNTIMES = {"openvino": with_openvino, "onnxruntime": with_onnxruntime}
