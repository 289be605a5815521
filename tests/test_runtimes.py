"""Runtimes that do not work on a machine: an import error, an exception, a crash. Playing goes on with another one."""

import os
import shutil
import subprocess
import sys
from types import ModuleType

import export_sd
import pytest
from dream.common.errors import InputError
from dream.inference import probe, runtimes, select_backend
from dream.inference.export_folder import export_dir
from dream.inference.onnx_backend import OnnxBackend
from dream.inference.runtimes import RuntimeUnavailable, last_line
from dream.inference.select_backend import load_backend

# Modules that fail in the way that was reported: the code of `openvino`, and what the message must say.
BROKEN = {
    "a crash on import": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "a library is missing": ("raise ImportError('libGL.so.1: cannot open shared object file')", "libGL.so.1: cannot"),
    "libc is too old": ("raise OSError('libc.so.6: version `GLIBC_2.34 not found')", "GLIBC_2.34 not found"),
    "the list of CPUs": ("def Core():\n    raise RuntimeError('core.cpp:126:\\n\\nstoi\\n')", "(stoi)"),
    "an old CPU": (
        "class Core:\n    def get_property(self, *_): return []\n    def read_model(self, path): return path\n"
        "    def compile_model(self, *_):\n        import os, signal, sys\n"
        "        print('needs AVX', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGILL)",
        "SIGILL, needs AVX",
    ),
}  # fmt: skip


@pytest.fixture(params=BROKEN)
def broken_openvino(request, tmp_path, monkeypatch):
    """A module `openvino` that does not work, found by child processes and by this one; returns its last words."""
    code, words = BROKEN[request.param]
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "openvino.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    for name in [name for name in sys.modules if name.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    return words


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals on Windows")
def test_auto_takes_the_next_backend_and_says_why(exported, broken_openvino, capsys):
    """OpenVINO once ended `make play` without a word in a container with gaps in its list of CPUs."""
    pytest.importorskip("onnxruntime")
    backend = load_backend(*exported[:2])
    printed = capsys.readouterr().out
    assert backend.name.startswith("ONNX Runtime") and printed.count("\n") == 1, printed
    assert "OpenVINO does not work here" in printed and broken_openvino in printed
    assert select_backend.select_backend(*exported[:2]) == "onnxruntime"
    with pytest.raises(InputError, match="--backend openvino: OpenVINO does not work here") as refused:
        load_backend(*exported[:2], backend="openvino")
    assert broken_openvino in str(refused.value) and len(str(refused.value)) <= 300


def test_the_last_backend_of_all_is_torch(exported, monkeypatch, capsys):
    def fail(name, folder):
        raise RuntimeUnavailable(name, "no")

    monkeypatch.setattr(probe, "try_runtime", fail)
    assert load_backend(*exported[:2], device="cpu").name == "torch cpu"
    assert capsys.readouterr().out.count("does not work here (no): trying the next backend") == 2
    monkeypatch.setattr(select_backend, "has_modules", lambda *names: names == ("openvino",))
    with pytest.raises(
        InputError, match=r"no backend works here \(OpenVINO: no\): pip install onnxruntime or torch"
    ):
        load_backend(*exported[:2])


def test_the_last_error_names_every_backend_that_failed(exported, monkeypatch, capsys):
    """It said "no other backend is installed" where all were installed and had failed."""

    def fail(name, *_, **__):
        raise RuntimeUnavailable(name, f"{name} lacks a library " + "x" * 200)

    monkeypatch.setattr(select_backend, "open_backend", fail)
    monkeypatch.setattr(probe, "try_torch", lambda: None)
    monkeypatch.setattr(select_backend, "has_modules", lambda *names: True)
    monkeypatch.setattr(select_backend, "has_cuda", lambda: False)
    with pytest.raises(InputError) as refused:
        load_backend(*exported[:2])
    said = str(refused.value)
    assert said.startswith("no backend works here (OpenVINO: openvino lacks") and len(said) <= 300, said
    assert "ONNX Runtime: onnxruntime lacks" in said and "PyTorch: torch lacks" in said, said
    assert "try another Python" in said and " ... " in said and "installed" not in said
    assert capsys.readouterr().out.count("trying the next backend") == 2
    with pytest.raises(InputError, match=r"PyTorch on the GPU: cuda lacks .*: leave out --device cuda"):
        load_backend(*exported[:2], device="cuda")


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_the_runtime_s_fault_is_not_the_file_s(exported, runtime, monkeypatch):
    """ "cannot be read as an exported model" sent people to export again, where a library was missing."""
    # Another test may have made the Core already.
    monkeypatch.setattr(runtimes, "openvino_core", runtimes.openvino_core.__wrapped__)
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(RuntimeUnavailable, match="does not work here") as refused:
        OnnxBackend(export_dir(exported[1]), runtime, None)
    assert "export_sd" not in str(refused.value)
    broken = ModuleType(runtime)
    monkeypatch.setitem(sys.modules, runtime, broken)
    with pytest.raises(RuntimeUnavailable, match="has no attribute"):
        OnnxBackend(export_dir(exported[1]), runtime, None)


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_a_runtime_that_works_passes(exported, runtime):
    pytest.importorskip(runtime)
    probe.try_runtime(runtime, export_dir(exported[1]))


@pytest.fixture
def broken_onnxruntime(tmp_path, monkeypatch):
    """A module `onnxruntime` that ends the process on import."""
    pytest.importorskip("onnx")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "onnxruntime.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    probe.try_export_packages.cache_clear()
    yield
    probe.try_export_packages.cache_clear()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal on Windows")
def test_a_first_export_where_onnx_runtime_crashes(copied, broken_onnxruntime, capsys):
    """The export imports it into this process, which ended without a word."""
    decoder, model, _ = copied
    shutil.rmtree(export_dir(model))
    assert load_backend(decoder, model, device="cpu").name == "torch cpu"
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "ONNX Runtime does not work here (it crashes: SIGILL)" in printed, (
        printed
    )
    with pytest.raises(InputError, match=r"ONNX Runtime does not work here \(it crashes: SIGILL\)"):
        export_sd.main(export_sd.parse_args(["--model-path", str(model)]))
    assert not export_dir(model).exists()


def test_packages_that_export_pass():
    pytest.importorskip("onnxruntime")
    probe.try_export_packages.cache_clear()
    probe.try_export_packages()


def test_torch_that_cannot_be_imported_is_said_in_one_line(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "dream.inference.torch_backend", None)
    with pytest.raises(InputError, match="--backend torch: PyTorch does not work here") as refused:
        load_backend(*exported[:2], backend="torch")
    assert "\n" not in str(refused.value)


def test_a_gpu_that_pytorch_cannot_use_is_left_alone(exported, monkeypatch, capsys):
    from dream.inference import torch_backend

    class OldGpu(torch_backend.TorchBackend):
        def step(self, *_):
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr(torch_backend, "CudaBackend", OldGpu)
    monkeypatch.setattr("dream.common.runs.pick_device", lambda name: torch_backend.torch.device("cpu"))
    monkeypatch.setattr(select_backend, "has_cuda", lambda: True)
    monkeypatch.setattr(select_backend.shutil, "which", lambda name: name)
    assert "OpenVINO" in load_backend(*exported[:2]).name or "ONNX" in load_backend(*exported[:2]).name
    assert "PyTorch on the GPU does not work here (CUDA error: no kernel image" in capsys.readouterr().out


def test_last_line():
    assert last_line(RuntimeError("Exception from core.cpp:126:\nstoi\n\n")) == "stoi"
    assert last_line("") == "no reason given"
    assert last_line(KeyError()) == "KeyError" and len(last_line("x" * 500)) == 120
    assert last_line("\x1b[31mred") == "?[31mred"


RELEASED_MODELS = """
import gc, os, signal, sys
from pathlib import Path
from dream.inference.onnx_backend import OnnxBackend
from dream.inference.export_folder import export_dir

signal.signal(signal.SIGINT, lambda *_: print("handled", flush=True))
models = [OnnxBackend(export_dir(Path(sys.argv[1])), "openvino", 1) for _ in range(2)]
while models:
    models.pop(0)
    gc.collect()
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals on Windows")
def test_signals_are_handled_after_models_were_released(exported):
    """OpenVINO's CPU plugin once freed the stack for signals with the model: Ctrl-C was then a segmentation fault."""
    pytest.importorskip("openvino")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", RELEASED_MODELS, str(exported[1])]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (ended.returncode, ended.stdout) == (0, "handled\n"), ended
