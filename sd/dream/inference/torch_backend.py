"""PyTorch backends: float32, the reference for all other backends, and a CUDA graph in mixed precision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dream.common.runs import autocast
from dream.data.latents import to_u8
from dream.inference.backend import State
from dream.models.autoencoder import decode
from dream.models.checkpoints import load_world_model
from dream.models.rollout import sample_next_latent

WARMUP_FRAMES = 3  # before a capture, because libraries choose their kernels in the first frames

Tensors = tuple[Tensor, ...]


class TorchBackend:
    """A Backend (backend.py) in PyTorch, float32; its state holds tensors on `device`."""

    def __init__(self, decoder_path: Path, model_path: Path, steps: int | None, device: torch.device) -> None:
        """steps: sampling steps per frame (None: the model's own). Raises InputError if a file is missing or
        damaged, or the two do not belong together."""
        decoder, unet, self.game, checkpoint = load_world_model(decoder_path, model_path)
        self.name = f"torch {device.type}"
        self.autoencoder, self.steps = checkpoint["autoencoder"], steps or checkpoint["steps"]
        self.latent_shape = decoder.config.latent_shape
        self.frame_shape = (decoder.config.height, decoder.config.width)
        self.context_length = unet.config.context
        self.device = device
        self.unet = unet.to(device, memory_format=torch.channels_last)
        for part in (decoder, *(unet.autoencoder or ())):
            part.to(device, memory_format=torch.channels_last)
        self.decoder = decoder

    @torch.inference_mode()
    def init_state(self, latents: np.ndarray, actions: np.ndarray) -> State:
        context = torch.from_numpy(latents.astype(np.float32))[None].to(self.device)
        actions = torch.from_numpy(actions.astype(np.int64))[None].to(self.device)
        frame = decode(self.decoder, context[:, -1])
        return State(context, actions, frame, to_u8(frame)[0])

    @torch.inference_mode()
    def step(self, state: State, action: int, noise: np.ndarray) -> State:
        actions = state.actions.clone()
        actions[:, -1] = action
        noise = torch.from_numpy(noise)[None].to(self.device)
        latent, frame = self.next_frame(state.context, actions, noise, state.frame)
        context = torch.cat([state.context[:, 1:], latent[:, None]], dim=1)
        return State(context, torch.cat([actions[:, 1:], actions[:, -1:]], dim=1), frame, to_u8(frame)[0])

    def export_state(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        return state.context[0].cpu().numpy(), state.actions[0].cpu().numpy()

    def next_frame(
        self, context: Tensor, actions: Tensor, noise: Tensor, last_frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The new latent (1, C, h, w) and its frame (1, 3, H, W), from a state's tensors and noise (1, C, h, w)."""
        latent = sample_next_latent(self.unet, context, actions, noise, self.steps, last_frame)
        return latent, decode(self.decoder, latent)


class CudaBackend(TorchBackend):
    """Generates a frame by one captured CUDA graph: launching its 200 small kernels from Python takes longer than they
    run. Mixed precision (bfloat16)."""

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
        self.captured_steps: int | None = None  # sampling steps of the captured graph

    def next_frame(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.captured_steps != self.steps:
            self.replay, self.captured_steps = capture(self.autocast_step, self.inputs), self.steps
        for buffer, tensor in zip(self.inputs, inputs, strict=True):
            buffer.copy_(tensor)
        latent, frame = (each.clone() for each in self.replay())  # the graph overwrites its outputs
        return latent, frame

    def autocast_step(self, *inputs: Tensor) -> Tensors:
        with autocast(self.device):
            return tuple(each.float() for each in TorchBackend.next_frame(self, *inputs))


def capture(function: Callable[..., Tensors], inputs: Tensors) -> Callable[[], Tensors]:
    """Captures `function(*inputs)` as a CUDA graph; returns a function that replays it and returns the outputs.

    Copy new values into the tensors of `inputs` before each replay; the next replay overwrites the outputs. On a CPU
    nothing is captured, and the returned function calls `function`.
    """
    if inputs[0].device.type != "cuda":
        return lambda: function(*inputs)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARMUP_FRAMES):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function(*inputs)

    def replay() -> Tensors:
        graph.replay()
        return outputs

    return replay
