"""The dream on an NVIDIA GPU: half precision, and the whole frame as one captured graph.

A frame is some two hundred small kernels; launched one by one from Python they take longer than they run.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dream.engine import State
from dream.rollout import next_latent
from dream.runs import mixed_precision
from dream.torch_engine import TorchEngine

WARM_UP = 3  # frames before the capture: libraries choose their kernels in the first ones


class CudaEngine(TorchEngine):
    """As TorchEngine; tensors of a state are copies, what the graph reads and writes is its own."""

    def __init__(self, decoder_path: Path, model_path: Path, steps: int | None, device: torch.device) -> None:
        super().__init__(decoder_path, model_path, steps, device)
        self.name = f"{device.type} graph, mixed precision"
        C, h, w = self.latent_shape
        self.inputs = (
            torch.zeros(1, self.context_length, C, h, w, device=device),
            torch.zeros(1, self.context_length, dtype=torch.int64, device=device),
            torch.zeros(1, C, h, w, device=device),
            torch.zeros(1, 3, *self.frame_shape, device=device),
        )
        self.replay: Callable[[], tuple[Tensor, ...]] | None = None
        self.replay_steps = 0

    @torch.inference_mode()
    def step(self, state: State, action: int, noise: np.ndarray) -> State:
        if self.replay_steps != self.steps:  # the first frame, or the player has chosen another number
            self.replay, self.replay_steps = capture(self.frame, self.inputs), self.steps
        actions = state.actions.clone()
        actions[:, -1] = action
        given = (state.context, actions, torch.from_numpy(noise)[None], state.frame)
        for into, one in zip(self.inputs, given, strict=True):
            into.copy_(one)
        latent, frame, rgb = (each.clone() for each in self.replay())
        context = torch.cat([state.context[:, 1:], latent[:, None]], dim=1)
        actions = torch.cat([actions[:, 1:], actions[:, -1:]], dim=1)
        return State(context, actions, frame, rgb[0].cpu().numpy())

    def frame(self, context: Tensor, actions: Tensor, noise: Tensor, last: Tensor) -> tuple[Tensor, ...]:
        """The new latent (1, C, h, w), its frame (1, 3, H, W), and that as bytes (1, H, W, 3), all on the device."""
        with mixed_precision(context.device):
            latent = next_latent(self.unet, context, actions, noise, self.steps, last=last).float()
            frame = self.decoder(latent).float()
        rgb = (frame.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).contiguous()
        return latent, frame, rgb


Tensors = tuple[Tensor, ...]


def capture(function: Callable[..., Tensors], inputs: Tensors) -> Callable[[], Tensors]:
    """`function` of those very tensors, to be called again after others were copied into them.

    On a GPU it is one graph, whose results stay where they are until the next call.
    """
    if inputs[0].device.type != "cuda":
        return lambda: function(*inputs)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function(*inputs)

    def replay() -> Tensors:
        graph.replay()
        return results

    return replay
