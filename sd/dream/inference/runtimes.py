"""The runtimes of an exported model: OpenVINO and ONNX Runtime. Nothing else imports them to play.

They are native libraries, which fail in their own ways: an import error where a library or a symbol is missing, an
exception about the processor, a crash (probe.py). None of that is the fault of the exported files."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dream.common.errors import InputError, shorten

TITLES = {
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "torch": "PyTorch",
    "cuda": "PyTorch on the GPU",
    "export": "the export of the model",
}
# Names of the array types of the exports' inputs and outputs, in OpenVINO and in ONNX Runtime.
DTYPES = {
    "f32": "float32", "i64": "int64", "u8": "uint8",
    "tensor(float)": "float32", "tensor(int64)": "int64", "tensor(uint8)": "uint8",
}  # fmt: skip


class RuntimeUnavailable(InputError):
    """A runtime does not work on this machine, whatever the model.

    `runtime`: a key of TITLES. `reason`: the last line of the runtime's own message."""

    def __init__(self, runtime: str, reason: object) -> None:
        self.runtime, self.reason = runtime, last_line(reason)
        super().__init__(f"{TITLES[runtime]} does not work here ({self.reason})")


class ArrayType(NamedTuple):
    dtype: str  # as NumPy names it, or as the runtime does if the exports have no such type
    shape: tuple


@dataclass(frozen=True)
class Graph:
    """A graph that is ready to run: called with its inputs by name, it returns its outputs in their order."""

    inputs: dict[str, ArrayType]
    outputs: dict[str, ArrayType]
    run: Callable[[dict[str, np.ndarray]], list[np.ndarray]]

    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self.run(inputs)


def load_graphs(
    runtime: str, models: Sequence[Path | bytes], num_threads: int | None = None
) -> tuple[str, list[Graph]]:
    """Loads ONNX files, or their bytes, in `runtime`, a key of RUNTIMES; returns the runtime's name with its precision,
    and the graphs. num_threads: that run one graph (None: the runtime's own choice).

    Raises RuntimeUnavailable if the runtime is not installed or cannot run them."""
    try:
        return RUNTIMES[runtime](models, num_threads)
    except Exception as problem:  # the runtimes raise many types
        raise RuntimeUnavailable(runtime, problem) from None


def last_line(problem: object) -> str:
    """The last line of an exception's or a process's message, in 120 printable characters at most.

    The last one, because a runtime's message begins with where in its source the error was found. The name of its type
    if it has none, "no reason given" for a process."""
    lines = [line for line in str(problem).splitlines() if line.strip()]
    name = "no reason given" if isinstance(problem, str) else type(problem).__name__
    return shorten(lines[-1] if lines else name, 120)


@lru_cache(maxsize=1)
def openvino_core():
    """OpenVINO's entry point, one for the whole process.

    Its CPU plugin gives the thread a stack for signals and frees it with the Core: any later signal that Python
    handles, such as Ctrl-C, would then be a segmentation fault."""
    import openvino

    return openvino.Core()


def load_openvino(models: Sequence[Path | bytes], num_threads: int | None) -> tuple[str, list[Graph]]:
    """Compiles graphs for OpenVINO; returns as `load_graphs`.

    The precision is bfloat16 if the CPU has instructions for it, else float32. It is also float32 if oneDNN, whose
    kernels OpenVINO uses, is restricted to older instructions (ONEDNN_MAX_CPU_ISA=AVX2 python sd/benchmark_sd.py)."""
    core = openvino_core()
    bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    bfloat16 &= "ONEDNN_MAX_CPU_ISA" not in os.environ
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32"}
    if num_threads:
        config["INFERENCE_NUM_THREADS"] = num_threads

    def array_type(port) -> ArrayType:
        dtype, shape = port.element_type.get_type_name(), port.partial_shape
        return ArrayType(
            DTYPES.get(dtype, dtype), tuple(shape.to_shape()) if shape.is_static else (str(shape),)
        )

    def load(model: Path | bytes) -> Graph:
        compiled = core.compile_model(core.read_model(model), "CPU", config)
        inputs = {port.any_name: array_type(port) for port in compiled.inputs}
        outputs = {port.any_name: array_type(port) for port in compiled.outputs}
        request = compiled.create_infer_request()

        def run(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
            results = request.infer({name: arrays[name] for name in inputs}, share_inputs=True)
            return [results[port] for port in compiled.outputs]

        return Graph(inputs, outputs, run)

    return f"OpenVINO {'bfloat16' if bfloat16 else 'float32'}", [load(model) for model in models]


def load_onnxruntime(models: Sequence[Path | bytes], num_threads: int | None) -> tuple[str, list[Graph]]:
    """Loads graphs in ONNX Runtime, in float32; returns as `load_graphs`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or 0

    def array_type(value) -> ArrayType:
        return ArrayType(DTYPES.get(value.type, value.type), tuple(value.shape))

    def load(model: Path | bytes) -> Graph:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = {value.name: array_type(value) for value in session.get_inputs()}
        outputs = {value.name: array_type(value) for value in session.get_outputs()}
        return Graph(
            inputs, outputs, lambda arrays: session.run(None, {name: arrays[name] for name in inputs})
        )

    return "ONNX Runtime float32", [load(model) for model in models]


RUNTIMES = {"openvino": load_openvino, "onnxruntime": load_onnxruntime}
