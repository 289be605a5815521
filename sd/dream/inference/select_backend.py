"""Which backend dreams: the fastest that this machine has, or the one that is asked for."""

import importlib.util
import os
import shutil
from pathlib import Path

from dream.common.errors import InputError
from dream.inference.backend import Backend
from dream.inference.onnx_backend import (
    RUNTIMES,
    OnnxBackend,
    default_start_states,
    export_dir,
    matches_source,
)

BACKENDS = ("auto", "torch", "cuda", *RUNTIMES)
EXPORT_NEEDS = ("torch", "onnx", "onnxscript", "onnxruntime")


def load_backend(
    decoder_path: Path,
    model_path: Path,
    steps: int | None = None,
    backend: str = "auto",
    device: str = "auto",
) -> Backend:
    """`backend`: of BACKENDS; device: for "torch". An exported dream that is not there or not of these files is made,
    once. Raises BadInput where something is missing."""
    hint = {model_path: "sd/train_sd.py", decoder_path: "sd/train_autoencoder.py"}
    missing = [path for path in hint if not Path(path).is_file()]
    if len(missing) == 1 or (
        missing and not matches_source(export_dir(model_path), decoder_path, model_path)
    ):
        # said before anything is exported, or missed elsewhere
        raise InputError(f"no checkpoint at {missing[0]}: {hint[missing[0]]} makes one")
    asked = f"--backend {backend}"
    if backend == "auto":
        backend = choose(decoder_path, model_path, device)
        asked = "--device cuda" if backend == "cuda" else f"--backend {backend}"
    if not available(backend):
        needs = {
            "torch": "PyTorch (pip install torch; or is .venv/bin/python the one that you mean?)",
            "cuda": "PyTorch and an NVIDIA GPU",
        }
        raise InputError(f"{asked} needs {needs.get(backend, f'it installed: pip install {backend}')}")
    if backend in RUNTIMES:
        if device == "cuda":
            raise InputError(
                f"--backend {backend} runs on the CPU: --device cuda wants --backend cuda or torch"
            )
        folder = export_dir(model_path)
        if not matches_source(folder, decoder_path, model_path):
            export(decoder_path, model_path, folder)
        return OnnxBackend(folder, backend, steps)
    from dream.common.runs import pick_device
    from dream.inference.cuda_backend import CudaBackend
    from dream.inference.torch_backend import TorchBackend

    if backend == "cuda":
        return CudaBackend(decoder_path, model_path, steps, pick_device("cuda"))
    return TorchBackend(decoder_path, model_path, steps, pick_device(device))


def choose(decoder_path: Path, model_path: Path, device: str = "auto") -> str:
    """CUDA on a GPU; else OpenVINO, where it and an exported dream are there or can be had; else PyTorch."""
    # nvidia-smi comes with the driver; torch, which would know, takes seconds to import
    if device == "cuda" or (device == "auto" and shutil.which("nvidia-smi") and available("cuda")):
        return "cuda"
    if not available("openvino"):
        return "torch"
    if matches_source(export_dir(model_path), decoder_path, model_path):
        return "openvino"
    if installed(*EXPORT_NEEDS) and os.access(Path(model_path).parent, os.W_OK):
        return "openvino"
    return "torch" if available("torch") else "openvino"  # which says what it lacks


def available(backend: str) -> bool:
    if backend == "cuda":
        return installed("torch") and has_cuda()
    return installed(backend)


def installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def export(decoder_path: Path, model_path: Path, folder: Path) -> None:
    if not installed(*EXPORT_NEEDS):
        raise InputError(
            f"no exported dream of this model at {folder}; to make it: pip install {' '.join(EXPORT_NEEDS)}"
        )
    from dream.inference.export import export_dream

    print(f"exporting the dream to {folder}, once: some 20 seconds", flush=True)
    starts = default_start_states(model_path)
    export_dream(decoder_path, model_path, starts if starts.is_file() else None, folder)
