"""Tries a runtime in a child process, where a crash costs nothing.

A native library can end the process without a word: by an instruction that an old CPU does not have, or because it
misreads the list of CPUs in a container. The child loads the smallest graph of the export with the settings of play and
runs it once; that takes 0.4 s. Before an export, the child tries the packages that make it."""

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from dream.inference.export_folder import GRAPHS
from dream.inference.network_file import read_graph
from dream.inference.runtimes import RuntimeUnavailable, last_line, load_graphs

TIMEOUT_S = 120.0
SHAPES = {"x": (1, 4, 8, 8), "weight": (8, 4, 3, 3), "y": (1, 8, 6, 6)}  # of a convolution and its output
SET_PATH = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
RUN_GRAPH = SET_PATH + "from dream.inference import probe; probe.run_graph()"
RUN_TORCH = (
    SET_PATH + "import torch; torch.nn.functional.conv2d(torch.ones(1, 4, 8, 8), torch.ones(8, 4, 3, 3))"
)
# dream comes first: it disables the telemetry of ONNX Runtime
RUN_CONVOLUTION = SET_PATH + "from dream.inference import probe; probe.run_convolution()"


def try_runtime(runtime: str, path: Path) -> None:
    """Loads and runs a graph in a child process. runtime: a key of RUNTIMES. path: the folder of an export, or a
    network file (network_file.py).

    Raises RuntimeUnavailable if that fails."""
    try_in_child(RUN_GRAPH, runtime, runtime, str(path))


@functools.cache  # of success only
def try_torch() -> None:
    """Runs a convolution of PyTorch in a child process. Raises RuntimeUnavailable if that fails."""
    try_in_child(RUN_TORCH, "torch")


@functools.cache  # of success only
def try_export_packages() -> None:
    """Tries in child processes what an export imports into this one: PyTorch, and onnx with ONNX Runtime.

    A package that is not installed passes. Raises RuntimeUnavailable if one cannot be loaded here or crashes."""
    try_torch()
    try_in_child(RUN_CONVOLUTION, "onnxruntime")


def try_in_child(code: str, runtime: str, *arguments: str) -> None:
    """Runs Python code. Raises RuntimeUnavailable with the last line of its output unless it ends with exit code 0."""
    command = [sys.executable, "-c", code, json.dumps(sys.path), *arguments]
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise RuntimeUnavailable(runtime, f"no answer in {TIMEOUT_S:.0f} s") from None
    except OSError:  # no child can be started here, which says nothing about the runtime
        return
    words = child.stderr.decode(errors="replace").strip()
    if child.returncode == 1:  # a Python exception, or the child's own message
        raise RuntimeUnavailable(runtime, words)
    if child.returncode:
        crash = f"it crashes: {exit_name(child.returncode)}"
        raise RuntimeUnavailable(runtime, f"{crash}, {last_line(words)}" if words else crash)


def exit_name(returncode: int) -> str:
    """Name of the signal that ended a process, or its exit code."""
    try:
        return signal.Signals(-returncode).name
    except ValueError:  # on Windows, for example 0xC0000005
        return f"exit code {returncode & 0xFFFFFFFF:#x}"


def run_graph() -> None:
    """What the child of `try_runtime` does. Arguments: module search path as JSON, runtime, path."""
    runtime, path = sys.argv[2], Path(sys.argv[3])
    try:
        model = path / f"{GRAPHS[-1]}.onnx" if path.is_dir() else read_graph(path)
        _, (graph,) = load_graphs(runtime, [model])
        graph({name: np.zeros(shape, dtype) for name, (dtype, shape) in graph.inputs.items()})
    except RuntimeUnavailable as problem:
        sys.exit(problem.reason)
    except Exception as problem:  # the runtimes raise many types
        sys.exit(last_line(problem))


def run_convolution() -> None:
    """What the child of `try_export_packages` does: makes and runs a graph of one convolution in ONNX Runtime."""
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError:  # the export itself says what is missing
        return
    except (ImportError, OSError) as problem:
        sys.exit(last_line(problem))
    value = onnx.helper.make_tensor_value_info
    types = {name: value(name, onnx.TensorProto.FLOAT, shape) for name, shape in SHAPES.items()}
    node = onnx.helper.make_node("Conv", ["x", "weight"], ["y"])
    graph = onnx.helper.make_graph([node], "convolution", [types["x"], types["weight"]], [types["y"]])
    # the oldest versions that an export could have: this asks about the machine, not about these packages' versions
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    session.run(None, {name: np.ones(SHAPES[name], np.float32) for name in ("x", "weight")})
