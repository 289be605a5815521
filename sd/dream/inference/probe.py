"""Tries a runtime in a child process, where a crash costs nothing.

A native library can end the process without a word: by an instruction that an old CPU does not have, or because it
misreads the list of CPUs in a container. The child loads the smallest graph of the export with the settings of play and
runs it once; that takes 0.4 s."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from dream.inference.export_folder import GRAPHS
from dream.inference.runtimes import RuntimeUnavailable, last_line, load_graphs

TIMEOUT_S = 120.0
CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dream.inference import probe; probe.run_child()"


def try_runtime(runtime: str, folder: Path) -> None:
    """Loads and runs a graph of the export in `folder` in a child process. runtime: a key of RUNTIMES.

    Raises RuntimeUnavailable if that fails."""
    try_in_child([sys.executable, "-c", CODE, json.dumps(sys.path), runtime, str(folder)], runtime)


def try_torch() -> None:
    """Runs a convolution of PyTorch in a child process. Raises RuntimeUnavailable if that fails."""
    code = "import torch; torch.nn.functional.conv2d(torch.ones(1, 4, 8, 8), torch.ones(8, 4, 3, 3))"
    set_path = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    try_in_child([sys.executable, "-c", set_path + code, json.dumps(sys.path)], "torch")


def try_in_child(command: list[str], runtime: str) -> None:
    """Runs a command. Raises RuntimeUnavailable with the last line of its output unless it ends with exit code 0."""
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
        raise RuntimeUnavailable(runtime, words or "no reason given")
    if child.returncode:
        crash = f"it crashes: {exit_name(child.returncode)}"
        raise RuntimeUnavailable(runtime, f"{crash}, {last_line(words)}" if words else crash)


def exit_name(returncode: int) -> str:
    """Name of the signal that ended a process, or its exit code."""
    try:
        return signal.Signals(-returncode).name
    except ValueError:  # on Windows, for example 0xC0000005
        return f"exit code {returncode & 0xFFFFFFFF:#x}"


def run_child() -> None:
    """What the child does. Arguments: the module search path as JSON, the runtime, the folder of the export."""
    runtime, folder = sys.argv[2], Path(sys.argv[3])
    try:
        _, (graph,) = load_graphs(runtime, [folder / f"{GRAPHS[-1]}.onnx"])
        graph({name: np.zeros(shape, dtype) for name, (dtype, shape) in graph.inputs.items()})
    except RuntimeUnavailable as problem:
        sys.exit(problem.reason)
    except Exception as problem:  # the runtimes raise many types
        sys.exit(last_line(problem))
