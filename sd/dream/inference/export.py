"""A dream as ONNX graphs: the very code that trains and plays in torch, traced. Weights stay in half precision, those
of the denoiser's convolutions in 8 bits."""

import copy
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dream.inference.onnx_backend import ABOUT, FORMAT, source_hash
from dream.inference.quantize import collect_calibration_inputs, quantize_convs
from dream.inference.torch_backend import TorchBackend
from dream.models.autoencoder import Decoder
from dream.models.diffusion import euler_step
from dream.models.rollout import suppress_small_changes
from dream.models.unet import AdaGNResBlock, UNet

SMALL = 256  # weights fewer than this stay as they are


class Part(nn.Module):
    """A function of tensors as a module, with the networks in it."""

    def __init__(self, function: Callable, *networks: nn.Module) -> None:
        super().__init__()
        self.function, self.networks = function, nn.ModuleList(networks)

    def forward(self, *inputs: Tensor):
        return self.function(*inputs)


def parts_of(unet: UNet, decoder: Decoder) -> dict[str, tuple[Part, dict[str, Tensor], tuple[str, ...]]]:
    """By name: what is traced, examples of its inputs by name, and the names of its outputs."""
    C, h, w = decoder.config.latent_shape
    L = unet.config.context
    latent, level = torch.zeros(1, C, h, w), torch.ones(1)
    context, actions = torch.zeros(1, L, C, h, w), torch.zeros(1, L, dtype=torch.int64)
    frame = torch.zeros(1, 3, decoder.config.height, decoder.config.width)

    def warp_last_latent(context: Tensor, actions: Tensor, frame: Tensor) -> Tensor:
        return unet.warp_last_latent(context, actions, last=frame)

    def denoise(
        z: Tensor,
        t: Tensor,
        t_next: Tensor,
        context: Tensor,
        actions: Tensor,
        context_level: Tensor,
        moved: Tensor,
    ) -> Tensor:
        x = unet(z, t, context, actions, context_level, moved)
        return euler_step(z, x, t, t_next)

    def finish(latent: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latent = suppress_small_changes(latent, last, unet.config.change_threshold)
        frame = decoder(latent)
        rgb = (frame.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1)
        return latent, frame, rgb

    return {
        "foresee": (Part(warp_last_latent, unet, *(unet.autoencoder or ())),
                    {"context": context, "actions": actions, "frame": frame}, ("moved",)),
        "denoise": (Part(denoise, unet), {"z": latent, "t": level, "t_next": 0 * level, "context": context,
                                          "actions": actions, "context_level": 0 * level,
                                          "moved": latent}, ("z_next",)),
        "finish": (Part(finish, decoder), {"latent": latent, "last": latent}, ("settled", "frame", "rgb")),
    }  # fmt: skip


def with_one_modulation(unet: UNet) -> UNet:
    """The same network with one matrix in place of those by which each block makes its scales and shifts of the
    embedding: one pass in place of many small ones, a fiftieth of a frame's time."""
    unet = copy.deepcopy(unet)
    blocks = [module for module in unet.modules() if isinstance(module, AdaGNResBlock)]
    sizes = [block.modulate.out_features for block in blocks]
    every = nn.Linear(unet.config.embedding, sum(sizes))
    every.weight.data = torch.cat([block.modulate.weight for block in blocks])
    every.bias.data = torch.cat([block.modulate.bias for block in blocks])
    unet.embed = nn.Sequential(*unet.embed, every)
    for i, block in enumerate(blocks):
        end = sum(sizes[: i + 1])
        block.modulate = Part(lambda x, own=slice(end - sizes[i], end): x[:, own])
    return unet.requires_grad_(False)


def export_dream(decoder_path: Path, model_path: Path, starts_path: Path | None, folder: Path) -> None:
    """Writes the three graphs and dream.json into `folder`. starts_path: an initial_sequence.npz, whose places tell
    what 8 bits of the denoiser's convolutions must hold; with None they stay as they are. Raises BadInput; ImportError
    where one of EXPORT_NEEDS (backends.py) is missing."""
    import onnx
    import onnxruntime  # noqa: F401  its quantization
    import onnxscript  # noqa: F401  torch.onnx wants it

    engine = TorchBackend(decoder_path, model_path, None, torch.device("cpu"))
    unet, decoder = engine.unet, engine.decoder
    asked = collect_calibration_inputs(engine, starts_path) if starts_path else None
    about = {
        "format": FORMAT,
        "made_of": source_hash(decoder_path, model_path),
        "int8": bool(asked),
        "game": asdict(engine.game),
        "autoencoder": engine.autoencoder,
        "steps": engine.steps,
        "context": engine.context_length,
        "latent_shape": engine.latent_shape,
        "frame_shape": engine.frame_shape,
    }
    aside = folder.with_name(folder.name + ".writing")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        for name, (part, inputs, outputs) in parts_of(with_one_modulation(unet), decoder).items():
            # Clones: two inputs that are one tensor would become one input of the graph.
            examples = tuple(example.clone() for example in inputs.values())
            program = torch.onnx.export(part.eval(), examples, dynamo=True, verbose=False,
                                        input_names=list(inputs), output_names=list(outputs))  # fmt: skip
            model = program.model_proto
            if name == "denoise" and asked:
                model = quantize_convs(model, asked)
            onnx.save(to_half_weights(model), aside / f"{name}.onnx")
        (aside / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def to_half_weights(model):
    """An onnx.ModelProto whose large weights are kept in half precision, wherever that holds them exactly, as it does
    those of a checkpoint; a node turns each back to float32 where the graph is loaded."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < SMALL:
            continue
        full = numpy_helper.to_array(weight)
        half = full.astype(np.float16)
        if np.array_equal(half.astype(np.float32), full):
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
