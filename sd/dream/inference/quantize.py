"""The denoiser's convolutions in 8 bits: less time on a CPU, and the rounding is below the dream's own error.

A weight is rounded to a step of its output channel's range, an activation to a step of the range that it takes in play
(post-training static quantization, Jacob et al. 2018, arXiv 1712.05877). What that range is, the dream shows itself:
under random keys from the places where it starts.
"""

import logging
import tempfile
from pathlib import Path

import numpy as np

from dream.inference.torch_backend import TorchBackend
from dream.inference.world_model_env import WorldModelEnv

FRAMES = 8  # dreamed from each place


def collect_calibration_inputs(engine: TorchBackend, starts_path: Path) -> list[dict[str, np.ndarray]]:
    """Inputs of the exported denoiser by name (export.py), in play from each place of an initial_sequence.npz."""
    asked = []

    def remember(_, inputs: tuple) -> None:
        z, t, context, actions, level, moved = (each.numpy() for each in inputs)
        # t_next comes after the convolutions
        asked.append({"z": z, "t": t, "t_next": 0 * t, "context": context, "actions": actions,
                      "context_level": level, "moved": moved})  # fmt: skip

    dream, random = WorldModelEnv.load(engine, starts_path, 0), np.random.default_rng(0)
    hook = engine.unet.register_forward_pre_hook(remember)
    for start in range(dream.num_starts):
        dream.reset(start)
        for action in random.integers(len(dream.action_names), size=FRAMES):
            dream.step(int(action))
    hook.remove()
    return asked


def quantize_convs(model, asked: list[dict[str, np.ndarray]]):
    """An onnx.ModelProto with its convolutions in 8 bits, by what it is `asked`; but for the first and the last two,
    whose rounding nothing after them mends."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Asked(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(asked)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    logging.getLogger().addFilter(never := lambda record: False)  # it gives advice that does not apply
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "quantized.onnx"
            # As pairs of a quantizing and a dequantizing node: the runtimes make of them what the CPU is best at.
            quantize_static(
                model, path, Asked(), quant_format=QuantFormat.QDQ, per_channel=True, op_types_to_quantize=["Conv"],
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                nodes_to_exclude=[convolutions[0], *convolutions[-2:]],
            )  # fmt: skip
            return onnx.load(path)
    finally:
        logging.getLogger().removeFilter(never)
