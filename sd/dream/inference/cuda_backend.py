"""The dream on an NVIDIA GPU: mixed precision, and the whole frame as one captured graph.

A frame is some two hundred small kernels; launched one by one from Python they take longer than they run.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dream.common.runs import autocast
from dream.inference.torch_backend import TorchBackend

WARM_UP = 3  # frames before the capture: libraries choose their kernels in the first ones

Tensors = tuple[Tensor, ...]


class CudaBackend(TorchBackend):
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
        self.replay: Callable[[], Tensors] | None = None
        self.captured: tuple[int, float] | None = None  # the knobs that are part of the graph

    def next(self, *given: Tensor) -> tuple[Tensor, Tensor]:
        knobs = (self.steps, self.context_level)
        if self.captured != knobs:  # the first frame, or the player has turned one
            self.replay, self.captured = capture(self.mixed, self.inputs), knobs
        for into, one in zip(self.inputs, given, strict=True):
            into.copy_(one)
        latent, frame = (each.clone() for each in self.replay())  # the graph writes into its own again
        return latent, frame

    def mixed(self, *inputs: Tensor) -> Tensors:
        with autocast(self.device):
            return tuple(each.float() for each in TorchBackend.next(self, *inputs))


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
