"""PyTorch backends: float32, the reference for all other backends, and a CUDA graph in mixed precision."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dream.common.runs import autocast
from dream.data.latents import to_u8
from dream.inference.backend import State, Transition
from dream.models.autoencoder import decode
from dream.models.checkpoints import load_outcome, load_world_model
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
        self.decoder, self.outcome = decoder, load_outcome(model_path, checkpoint)
        self.has_outcome = self.outcome is not None
        if self.has_outcome:
            self.outcome.to(device)

    @torch.inference_mode()
    def init_state(self, latents: np.ndarray, actions: np.ndarray) -> State:
        context = torch.from_numpy(latents.astype(np.float32))[None].to(self.device)
        actions = torch.from_numpy(actions.astype(np.int64))[None].to(self.device)
        frame = decode(self.decoder, context[:, -1])
        return State(context, actions, frame, to_u8(frame)[0])

    @torch.inference_mode()
    def step(self, state: State, action: int, noise: np.ndarray) -> State:
        noise = torch.from_numpy(noise)[None].to(self.device)
        actions = self.with_action(state.actions, [action])
        return self.next_states(state.context, actions, noise, state.frame)[0]

    @torch.inference_mode()
    def step_batch(
        self, states: Sequence[State], actions: Sequence[int], noise: np.ndarray
    ) -> list[Transition]:
        context = torch.cat([state.context for state in states])
        frame = torch.cat([state.frame for state in states])
        histories = self.with_action(torch.cat([state.actions for state in states]), actions)
        following = self.next_states(context, histories, torch.from_numpy(noise).to(self.device), frame)
        if not self.has_outcome:
            return [Transition(state, 0.0, 0.0) for state in following]
        outcome = self.outcome(context, histories)
        pairs = zip(outcome.reward.tolist(), outcome.end_logit.sigmoid().tolist(), strict=True)
        return [Transition(state, *pair) for state, pair in zip(following, pairs, strict=True)]

    @torch.inference_mode()
    def predict_outcome(self, state: State, action: int) -> tuple[float, float]:
        outcome = self.outcome(state.context, self.with_action(state.actions, [action]))
        return outcome.reward.item(), outcome.end_logit.sigmoid().item()

    def with_action(self, histories: Tensor, actions: Sequence[int]) -> Tensor:
        """Histories int64 (B, L) whose placeholders are the B actions."""
        last = torch.as_tensor(actions, dtype=histories.dtype, device=self.device)
        return torch.cat([histories[:, :-1], last[:, None]], dim=1)

    def next_states(self, context: Tensor, actions: Tensor, noise: Tensor, last_frame: Tensor) -> list[State]:
        """The B states after B contexts (B, L, C, h, w). actions: int64 (B, L), with those to execute. noise: (B, C, h,
        w). last_frame: (B, 3, H, W)."""
        latent, frame = self.next_frame(context, actions, noise, last_frame)
        context = torch.cat([context[:, 1:], latent[:, None]], dim=1)
        actions = torch.cat([actions[:, 1:], actions[:, -1:]], dim=1)
        parts = zip(context.split(1), actions.split(1), frame.split(1), to_u8(frame), strict=True)
        return [State(*part) for part in parts]

    def export_state(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        return state.context[0].cpu().numpy(), state.actions[0].cpu().numpy()

    def next_frame(
        self, context: Tensor, actions: Tensor, noise: Tensor, last_frame: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The new latents (B, C, h, w) and their frames (B, 3, H, W), from the tensors of states and noise (B, C, h,
        w)."""
        latent = sample_next_latent(self.unet, context, actions, noise, self.steps, last_frame)
        return latent, decode(self.decoder, latent)


class CudaBackend(TorchBackend):
    """Generates a frame by one captured CUDA graph: launching its 200 small kernels from Python takes longer than they
    run. Mixed precision (bfloat16)."""

    def __init__(self, decoder_path: Path, model_path: Path, steps: int | None, device: torch.device) -> None:
        super().__init__(decoder_path, model_path, steps, device)
        self.name = f"{device.type} graph, mixed precision"
        # By sampling steps and batch size: the inputs of a captured graph, and the function that replays it.
        self.graphs: dict[tuple[int, int], tuple[Tensors, Callable[[], Tensors]]] = {}

    def next_frame(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        key = (self.steps, len(inputs[0]))
        if key not in self.graphs:
            buffers = tuple(torch.zeros_like(tensor) for tensor in inputs)
            self.graphs[key] = (buffers, capture(self.autocast_step, buffers))
        buffers, replay = self.graphs[key]
        for buffer, tensor in zip(buffers, inputs, strict=True):
            buffer.copy_(tensor)
        latent, frame = (each.clone() for each in replay())  # the graph overwrites its outputs
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
