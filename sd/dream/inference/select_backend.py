"""Selects the backend that runs a world model: the requested one, or the fastest one that works on this machine."""

import importlib.util
import os
import shutil
from pathlib import Path

from dream.common.errors import InputError, refuse_damaged, shorten
from dream.common.files import check_zip
from dream.inference import probe
from dream.inference.backend import Backend, first_frame
from dream.inference.export_folder import (
    check_files,
    default_start_states,
    export_dir,
    is_export,
    matches_source,
    read_metadata,
)
from dream.inference.input_files import check_kind
from dream.inference.onnx_backend import OnnxBackend
from dream.inference.runtimes import RUNTIMES, TITLES, RuntimeUnavailable

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

    steps: sampling steps per frame (None: the model's own). device: of the backend "torch": auto, cpu or cuda. "auto"
    takes the fastest backend that works, and prints why faster ones do not. Raises InputError if a file, a package or
    the device is missing, a file is damaged, or the backend does not work here."""
    check_checkpoints(decoder_path, model_path)
    if backend != "auto":
        try:
            return open_backend(backend, decoder_path, model_path, steps, device)
        except RuntimeUnavailable as problem:
            raise InputError(f"--backend {backend}: {problem}: choose another --backend, or auto") from None
    names = candidates(decoder_path, model_path, device)
    failures = []
    for name in names:
        try:
            if name == "torch" and failures:  # a machine where one library crashes may make another one crash
                probe.try_torch()
            return open_backend(name, decoder_path, model_path, steps, device, option="--device cuda")
        except RuntimeUnavailable as problem:
            if str(problem) not in map(str, failures):  # the export of two backends fails for one reason
                failures.append(problem)
                if name != names[-1]:
                    print(f"note: {problem}: trying the next backend", flush=True)
    raise no_backend_works(failures, device)


def check_checkpoints(decoder_path: Path, model_path: Path) -> None:
    """Raises InputError if a checkpoint is missing or is another kind of file. Both may be missing, beside an
    export."""
    check_kind("--model-path", model_path, "dream")
    check_kind("--decoder-path", decoder_path, "decoder")
    scripts = {model_path: "sd/train_sd.py", decoder_path: "sd/train_autoencoder.py"}
    missing = [path for path in scripts if not Path(path).is_file()]
    if len(missing) == 1 or (
        missing and not matches_source(export_dir(model_path), decoder_path, model_path)
    ):
        raise InputError(f"no checkpoint at {missing[0]}: {scripts[missing[0]]} makes one")


def open_backend(
    name: str, decoder_path: Path, model_path: Path, steps: int | None, device: str, option: str = ""
) -> Backend:
    """Loads a world model in a backend, one of BACKENDS except "auto". option: what the user has asked for with, if it
    was not --backend. Raises as `load_backend`, and RuntimeUnavailable if the backend does not work here."""
    if not is_available(name):
        needs = {
            "torch": "PyTorch (make setup), or OpenVINO (make play): use .venv/bin/python",
            "cuda": "PyTorch and an NVIDIA GPU; without them leave it out",
        }
        option = option if option and name == "cuda" else f"--backend {name}"
        raise InputError(f"{option} needs {needs.get(name, f'it installed: pip install {name}')}")
    if name in RUNTIMES:
        if device == "cuda":
            raise InputError(
                f"--backend {name} runs on the CPU: for --device cuda use --backend cuda or torch"
            )
        folder = export_dir(model_path)
        if not matches_source(folder, decoder_path, model_path):
            export(decoder_path, model_path, folder)
        return OnnxBackend(folder, name, steps)
    try:
        from dream.common.runs import pick_device
        from dream.inference.torch_backend import CudaBackend, TorchBackend
    except (ImportError, OSError) as problem:  # a library that PyTorch needs is missing or too old
        raise RuntimeUnavailable("torch", problem) from None
    if name == "cuda":
        backend = CudaBackend(decoder_path, model_path, steps, pick_device("cuda"))
        try:
            first_frame(backend)  # the driver or the GPU may be too old for this PyTorch
        except RuntimeError as problem:
            raise RuntimeUnavailable("cuda", problem) from None
        return backend
    return TorchBackend(decoder_path, model_path, steps, pick_device(device))


def select_backend(decoder_path: Path, model_path: Path, device: str = "auto") -> str:
    """Name of the fastest backend that works, as `load_backend` chooses it; prints why faster ones do not.

    device: auto, cpu or cuda, as requested by the user."""
    names = candidates(decoder_path, model_path, device)
    folder = export_dir(model_path)
    for name in names[:-1]:
        try:
            if name in RUNTIMES and matches_source(folder, decoder_path, model_path):
                check_files(folder, read_metadata(folder))
                probe.try_runtime(name, folder)
            return name
        except RuntimeUnavailable as problem:
            print(f"note: {problem}: trying the next backend", flush=True)
    return names[-1]


def candidates(decoder_path: Path, model_path: Path, device: str = "auto") -> list[str]:
    """Names of the backends to try, the fastest first, at least one: cuda with a GPU; openvino and onnxruntime where
    they are installed and an export exists or can be made; torch. device: auto, cpu or cuda, as requested."""
    # nvidia-smi is part of the driver; importing torch to ask for a GPU takes seconds
    if device == "cuda":
        return ["cuda"]
    names = ["cuda"] if device == "auto" and shutil.which("nvidia-smi") and is_available("cuda") else []
    exported = matches_source(export_dir(model_path), decoder_path, model_path)
    can_export = has_modules(*EXPORT_NEEDS) and os.access(Path(model_path).parent, os.W_OK)
    if is_available("openvino") and (exported or can_export):
        names.append("openvino")
    if is_available("onnxruntime") and (exported or "openvino" in names):
        names.append("onnxruntime")
    if is_available("torch"):
        names.append("torch")
    # the error of the last resort says what is missing
    return names or ["openvino" if is_available("openvino") else "torch"]


def no_backend_works(failures: list[RuntimeUnavailable], device: str) -> InputError:
    """The error to raise where every backend that is installed fails: which ones, why, and what to do.

    device: auto, cpu or cuda, as requested by the user."""
    reasons = [f"{TITLES[each.runtime]}: {shorten(each.reason, 150 // len(failures))}" for each in failures]
    missing = [name for name in ("onnxruntime", "torch") if not is_available(name)]
    advice = f"pip install {' or '.join(missing)}" if missing else "try another Python, with other packages"
    if device == "cuda":
        advice = "leave out --device cuda"
    return InputError(f"no backend works here ({'; '.join(reasons)}): {advice}")


def is_available(backend: str) -> bool:
    """Whether the packages, and for cuda a GPU, of a backend exist here."""
    if backend == "cuda":
        return has_modules("torch") and has_cuda()
    return has_modules(backend)


def has_modules(*names: str) -> bool:
    """Whether all these modules are installed; imports none of them."""
    return all(importlib.util.find_spec(name) for name in names)


def has_cuda() -> bool:
    """Whether PyTorch can be imported and finds a CUDA device."""
    try:
        import torch
    except (ImportError, OSError):
        return False
    return torch.cuda.is_available()


def export(decoder_path: Path, model_path: Path, folder: Path) -> None:
    """Exports the model into `folder`. Raises InputError if a package for it is missing or a checkpoint is damaged,
    RuntimeUnavailable if a package or the disk fails."""
    if not has_modules(*EXPORT_NEEDS):
        if is_export(folder):
            read_metadata(folder)  # raises InputError if it is damaged
        raise InputError(
            f"no export of this model at {folder}; to make it: pip install {' '.join(EXPORT_NEEDS)}"
        )
    for path in (model_path, decoder_path):
        with refuse_damaged(path, "take it from its training run again"):
            check_zip(path)  # before a line announces an export
    probe.try_export_packages()
    try:
        from dream.inference.export import export_model
    except (ImportError, OSError) as problem:  # a library that PyTorch needs is missing or too old
        raise RuntimeUnavailable("export", problem) from None
    print(f"exporting the model to {folder} (only once, about 20 seconds)", flush=True)
    starts = default_start_states(model_path)
    try:
        export_model(decoder_path, model_path, starts if starts.is_file() else None, folder)
    except (ImportError, OSError) as problem:  # the same of another package, or a full disk
        raise RuntimeUnavailable("export", problem) from None
