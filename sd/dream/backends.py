"""Which backend dreams: the fastest that this machine has, or the one that is asked for."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

from dream.engine import Engine
from dream.errors import BadInput
from dream.onnx_engine import OnnxEngine, exported_folder, is_of

BACKENDS = ("auto", "torch", "cuda", "openvino", "onnxruntime")
EXPORT_NEEDS = ("torch", "onnx", "onnxscript")


def installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def load_engine(
    decoder_path: Path, model_path: Path, steps: int | None = None, backend: str = "auto", device: str = "auto",
    say: Callable[[str], None] = print,
) -> Engine:  # fmt: skip
    """`backend`: of BACKENDS. "auto" is cuda on a GPU, else OpenVINO where it and an exported dream are there or can
    be had, else torch. An exported dream that is not there or not of these files is made, once. Raises BadInput."""
    if backend == "auto":
        backend = choose(decoder_path, model_path, device, say)
    if backend == "torch":
        if not installed("torch"):
            raise BadInput(
                "PyTorch is not installed (pip install torch), nor OpenVINO with an exported dream"
            )
        from dream.runs import pick_device
        from dream.torch_engine import TorchEngine

        return TorchEngine(decoder_path, model_path, steps, pick_device(device))
    if device == "cuda":
        raise BadInput(f"--backend {backend} runs on the CPU: --device cuda wants --backend cuda or torch")
    if not installed(backend):
        raise BadInput(f"{backend} is not installed: pip install {backend}, or --backend torch")
    folder = exported_folder(model_path)
    if not is_of(folder, decoder_path, model_path):
        export(decoder_path, model_path, folder, say)
    return OnnxEngine(folder, backend, steps)


def choose(decoder_path: Path, model_path: Path, device: str, say: Callable[[str], None]) -> str:
    has_gpu = installed("torch") and device != "cpu" and has_cuda()
    if device == "cuda" or has_gpu:
        return "cuda"
    if not installed("openvino"):
        return "torch"
    if is_of(exported_folder(model_path), decoder_path, model_path) or can_export(model_path):
        return "openvino"
    if installed("torch"):
        say("no exported dream, and no onnx and onnxscript to make one: slower, in torch")
    return "torch"


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def can_export(model_path: Path) -> bool:
    return installed(*EXPORT_NEEDS) and os.access(Path(model_path).parent, os.W_OK)


def export(decoder_path: Path, model_path: Path, folder: Path, say: Callable[[str], None]) -> None:
    if not installed(*EXPORT_NEEDS):
        raise BadInput(
            f"no exported dream of this model at {folder}; to make it: pip install {' '.join(EXPORT_NEEDS)}"
        )
    from dream.export import export_dream

    say(f"exporting the dream to {folder}, once: some 15 seconds")
    export_dream(decoder_path, model_path, folder)
