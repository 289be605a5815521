"""The denoiser's convolutions in 8 bits, for a CPU: half of their time, and their rounding is below the dream's error.

A weight is rounded to a step of its output channel's range, an activation to a step of the range that it takes in play
(post-training static quantization, Jacob et al. 2018, arXiv 1712.05877). What that range is, the dream shows itself:
under random keys from the places where it starts.
"""

import logging
from pathlib import Path

import numpy as np
import torch

from dream.diffusion import euler_step
from dream.engine import noise_levels
from dream.torch_engine import TorchEngine

FRAMES = 8  # dreamed from each place


@torch.no_grad()
def asked_in_play(engine: TorchEngine, starts: tuple[np.ndarray, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Inputs of the exported denoiser by name (export.py), in play from each of `starts`: latents (K, L, C, h, w) and
    actions (K, L)."""
    random = np.random.default_rng(0)
    asked = []
    for place in zip(*starts, strict=True):
        state = engine.begin(*place)
        for _ in range(FRAMES):
            action = int(random.integers(len(engine.game.action_names)))
            noise = random.standard_normal(engine.latent_shape, dtype=np.float32)
            actions = torch.cat([state.actions[:, :-1], torch.tensor([[action]])], dim=1)
            seen = {"context": state.context, "actions": actions}
            moved, z = engine.unet.foresee(**seen, last=state.frame), torch.from_numpy(noise)[None]
            for levels in noise_levels(engine.steps):
                t, t_next = (torch.tensor([level]) for level in levels)
                inputs = {**seen, "z": z, "t": t, "t_next": t_next, "moved": moved}
                asked.append({name: each.numpy() for name, each in inputs.items()})
                x = engine.unet(z, t, state.context, actions, torch.zeros_like(t), moved)
                z = euler_step(z, x, t, t_next)
            state = engine.step(state, action, noise)
    return asked


def quantize_convolutions(path: Path, asked: list[dict[str, np.ndarray]]) -> None:
    """Those of the ONNX graph at `path`, in place, by what it is `asked`; but the first and the last two, whose
    rounding nothing after them mends. ImportError without onnx, onnxruntime."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Asked(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(asked)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    convolutions = [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    logging.getLogger().addFilter(never := lambda record: False)  # it gives advice that does not apply
    try:
        # As pairs of a quantizing and a dequantizing node: the runtimes make of them what the CPU is best at.
        quantize_static(
            path, path, Asked(), quant_format=QuantFormat.QDQ, per_channel=True, op_types_to_quantize=["Conv"],
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            nodes_to_exclude=[convolutions[0], *convolutions[-2:]],
        )  # fmt: skip
    finally:
        logging.getLogger().removeFilter(never)
