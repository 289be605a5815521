"""Quantizes the denoiser's convolutions to 8 bits: faster on a CPU, with a rounding error below the model's own error.

Post-training static quantization (Jacob et al. 2018, arXiv 1712.05877): weights are rounded with a scale per output
channel, activations with a scale per tensor. The range of the activations is measured on rollouts from the start states
under random actions."""

import logging
import tempfile
from pathlib import Path

import numpy as np

from dream.inference.torch_backend import TorchBackend
from dream.inference.world_model_env import WorldModelEnv

NUM_FRAMES = 8  # generated from each start state


def collect_calibration_inputs(backend: TorchBackend, starts_path: Path) -> list[dict[str, np.ndarray]]:
    """Inputs of the exported denoiser by name (export.py), one dict for each sampling step of rollouts of NUM_FRAMES
    frames from every start state of an initial_sequence.npz."""
    collected = []

    def collect(_, args: tuple, kwargs: dict) -> None:
        z, t, context, actions = (each.numpy() for each in args)
        warped = kwargs["warped"].numpy()
        # the convolutions do not depend on t_next, so that its value is arbitrary
        collected.append(
            {"z": z, "t": t, "t_next": 0 * t, "context": context, "actions": actions, "warped": warped}
        )

    env, rng = WorldModelEnv.load(backend, starts_path, 0), np.random.default_rng(0)
    hook = backend.unet.register_forward_pre_hook(collect, with_kwargs=True)
    for start in range(env.num_starts):
        env.reset(start)
        for action in rng.integers(len(env.action_names), size=NUM_FRAMES):
            env.step(int(action))
    hook.remove()
    return collected


def quantize_convs(model, calibration: list[dict[str, np.ndarray]]):
    """Returns the onnx.ModelProto `model` with 8-bit convolutions, except the first and the last two, whose rounding
    errors later layers cannot correct. calibration: from `collect_calibration_inputs`."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class CalibrationReader(CalibrationDataReader):
        def __init__(self) -> None:
            self.remaining = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.remaining, None)

    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    logging.getLogger().addFilter(drop := lambda record: False)  # it logs advice that does not apply here
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "quantized.onnx"
            # Pairs of QuantizeLinear and DequantizeLinear: each runtime turns them into its fastest kernels.
            quantize_static(
                model, path, CalibrationReader(), quant_format=QuantFormat.QDQ, per_channel=True,
                op_types_to_quantize=["Conv"], activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                nodes_to_exclude=[convolutions[0], *convolutions[-2:]],
            )  # fmt: skip
            return onnx.load(path)
    finally:
        logging.getLogger().removeFilter(drop)
