"""Selects the backend that runs a world model: the requested one, or the fastest one on this machine."""

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
    """Loads a world model in a backend, one of BACKENDS; exports it first if the backend needs an export.

    steps: sampling steps per frame (None: the model's own). device: of the backend "torch": auto, cpu or cuda. Raises
    InputError if a file, a package or the device is missing, or a file is damaged."""
    scripts = {model_path: "sd/train_sd.py", decoder_path: "sd/train_autoencoder.py"}
    missing = [path for path in scripts if not Path(path).is_file()]
    if len(missing) == 1 or (
        missing and not matches_source(export_dir(model_path), decoder_path, model_path)
    ):
        raise InputError(f"no checkpoint at {missing[0]}: {scripts[missing[0]]} makes one")
    option = f"--backend {backend}"
    if backend == "auto":
        backend = select_backend(decoder_path, model_path, device)
        option = "--device cuda" if backend == "cuda" else f"--backend {backend}"
    if not is_available(backend):
        needs = {
            "torch": "PyTorch (pip install torch, or use .venv/bin/python)",
            "cuda": "PyTorch and an NVIDIA GPU",
        }
        raise InputError(f"{option} needs {needs.get(backend, f'it installed: pip install {backend}')}")
    if backend in RUNTIMES:
        if device == "cuda":
            raise InputError(
                f"--backend {backend} runs on the CPU: for --device cuda use --backend cuda or torch"
            )
        folder = export_dir(model_path)
        if not matches_source(folder, decoder_path, model_path):
            export(decoder_path, model_path, folder)
        return OnnxBackend(folder, backend, steps)
    from dream.common.runs import pick_device
    from dream.inference.torch_backend import CudaBackend, TorchBackend

    if backend == "cuda":
        return CudaBackend(decoder_path, model_path, steps, pick_device("cuda"))
    return TorchBackend(decoder_path, model_path, steps, pick_device(device))


def select_backend(decoder_path: Path, model_path: Path, device: str = "auto") -> str:
    """Name of the fastest backend: cuda with a GPU; openvino if it is installed and an export exists or can be made;
    else torch. device: auto, cpu or cuda, as requested by the user."""
    # nvidia-smi is part of the driver; importing torch to ask for a GPU takes seconds
    if device == "cuda" or (device == "auto" and shutil.which("nvidia-smi") and is_available("cuda")):
        return "cuda"
    if not is_available("openvino"):
        return "torch"
    if matches_source(export_dir(model_path), decoder_path, model_path):
        return "openvino"
    if has_modules(*EXPORT_NEEDS) and os.access(Path(model_path).parent, os.W_OK):
        return "openvino"
    return "torch" if is_available("torch") else "openvino"  # OpenVINO's error then says what is missing


def is_available(backend: str) -> bool:
    """Whether the packages, and for cuda a GPU, of a backend exist here."""
    if backend == "cuda":
        return has_modules("torch") and has_cuda()
    return has_modules(backend)


def has_modules(*names: str) -> bool:
    """Whether all these modules are installed; imports none of them."""
    return all(importlib.util.find_spec(name) for name in names)


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def export(decoder_path: Path, model_path: Path, folder: Path) -> None:
    """Exports the model into `folder`. Raises InputError if a package for it is missing."""
    if not has_modules(*EXPORT_NEEDS):
        raise InputError(
            f"no export of this model at {folder}; to make it: pip install {' '.join(EXPORT_NEEDS)}"
        )
    from dream.inference.export import export_model

    print(f"exporting the model to {folder} (only once, about 20 seconds)", flush=True)
    starts = default_start_states(model_path)
    export_model(decoder_path, model_path, starts if starts.is_file() else None, folder)
