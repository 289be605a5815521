"""Exports a world model as ONNX graphs, traced from the PyTorch code.

Weights are stored in float16; the denoiser's convolutions are quantized to 8 bits (quantize.py).
"""

import copy
import glob
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dream.common.errors import InputError
from dream.common.files import make_folder
from dream.common.progress import waiting
from dream.inference.backend import first_frame
from dream.inference.export_folder import OUTCOME, is_export, source_hash, write_metadata
from dream.inference.onnx_backend import OnnxBackend
from dream.inference.quantize import collect_calibration_inputs, quantize_convs
from dream.inference.torch_backend import TorchBackend
from dream.models.autoencoder import Decoder
from dream.models.diffusion import euler_step
from dream.models.outcome import OutcomeModel
from dream.models.rollout import suppress_small_changes, suppression_threshold
from dream.models.unet import AdaGNResBlock, UNet

MIN_HALF_SIZE = 256  # tensors with fewer elements stay in float32
MAX_REWARD_ERROR = 0.1  # standard deviations of the recorded rewards, between the export and the model
MIN_PSNR_DB = 25.0  # between a frame of the export and of the model; with 8-bit convolutions it is above 40


class TracedFunction(nn.Module):
    """A function of tensors as a module with the networks that the function uses as submodules."""

    def __init__(self, function: Callable, *networks: nn.Module) -> None:
        super().__init__()
        self.function, self.networks = function, nn.ModuleList(networks)

    def forward(self, *inputs: Tensor):
        return self.function(*inputs)


def traced_functions(
    unet: UNet, decoder: Decoder, outcome: OutcomeModel | None = None
) -> dict[str, tuple[TracedFunction, dict[str, Tensor], tuple[str, ...]]]:
    """For each graph by name: the function, example inputs by name (batch size 1), and the names of its outputs."""
    C, h, w = decoder.config.latent_shape
    L = unet.config.context
    latent, t = torch.zeros(1, C, h, w), torch.ones(1)
    context, actions = torch.zeros(1, L, C, h, w), torch.zeros(1, L, dtype=torch.int64)
    frame = torch.zeros(1, 3, decoder.config.height, decoder.config.width)

    def warp(context: Tensor, actions: Tensor, frame: Tensor) -> Tensor:
        return unet.warp_last_latent(context, actions, last_frame=frame)

    def denoise(
        z: Tensor, t: Tensor, t_next: Tensor, context: Tensor, actions: Tensor, warped: Tensor
    ) -> Tensor:
        return euler_step(z, unet(z, t, context, actions, warped=warped), t, t_next)

    def decode(latent: Tensor, last: Tensor, warped: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latent = suppress_small_changes(latent, last, suppression_threshold(unet.config, warped, last))
        frame = decoder(latent)
        rgb = (frame.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1)
        return latent, frame, rgb

    def predict_outcome(context: Tensor, actions: Tensor) -> Tensor:
        reward, end_logit = outcome(context, actions)
        return torch.stack([reward, end_logit.sigmoid()], dim=1)

    functions = {
        "warp": (TracedFunction(warp, unet, *(unet.autoencoder or ())),
                 {"context": context, "actions": actions, "frame": frame}, ("warped",)),
        "denoise": (TracedFunction(denoise, unet),
                    {"z": latent, "t": t, "t_next": 0 * t, "context": context, "actions": actions, "warped": latent},
                    ("z_next",)),
        "decode": (TracedFunction(decode, decoder), {"latent": latent, "last": latent, "warped": latent},
                   ("new_latent", "frame", "rgb")),
    }  # fmt: skip
    if outcome:
        history = {"context": context, "actions": actions}
        functions[OUTCOME] = (TracedFunction(predict_outcome, outcome), history, ("reward_end",))
    return functions


def fuse_modulation(unet: UNet) -> UNet:
    """A copy of the network with the modulation layers of all blocks fused into one linear layer.

    One matrix product instead of many small ones saves 2 % of the time per frame."""
    unet = copy.deepcopy(unet)
    blocks = [module for module in unet.modules() if isinstance(module, AdaGNResBlock)]
    sizes = [block.modulation.out_features for block in blocks]
    fused = nn.Linear(unet.config.embedding, sum(sizes))
    fused.weight.data = torch.cat([block.modulation.weight for block in blocks])
    fused.bias.data = torch.cat([block.modulation.bias for block in blocks])
    unet.embed = nn.Sequential(*unet.embed, fused)
    for i, block in enumerate(blocks):
        end = sum(sizes[: i + 1])
        block.modulation = TracedFunction(lambda x, own=slice(end - sizes[i], end): x[:, own])
    return unet.requires_grad_(False)


def export_model(decoder_path: Path, model_path: Path, starts_path: Path | None, folder: Path) -> None:
    """Writes the graphs and dream.json into `folder`; an export that it holds is replaced by one that works.

    starts_path: an initial_sequence.npz, whose start states calibrate the 8-bit ranges (None: no quantization).
    Raises InputError if a file is missing or damaged, the folder holds other files, or the export does not generate the
    frames of the model, ImportError if one of EXPORT_NEEDS (select_backend.py) is not installed.
    """
    import onnx
    import onnxruntime  # noqa: F401  for its quantization
    import onnxscript  # noqa: F401  torch.onnx needs it

    folder = Path(os.path.realpath(folder))
    check_is_replaceable(folder)
    backend = TorchBackend(decoder_path, model_path, None, torch.device("cpu"))
    if not first_frame(backend).frame.isfinite().all():
        raise InputError(
            f"{model_path} generates no finite numbers (damaged, or training diverged): not exported"
        )
    unet, decoder = backend.unet, backend.decoder
    with waiting("measuring the 8-bit ranges"):
        calibration = collect_calibration_inputs(backend, starts_path) if starts_path else None
    metadata = {
        "source_hash": source_hash(decoder_path, model_path),
        "int8": bool(calibration),
        "game": asdict(backend.game),
        "autoencoder": backend.autoencoder,
        "steps": backend.steps,
        "context": backend.context_length,
        "latent_shape": backend.latent_shape,
        "frame_shape": backend.frame_shape,
    }
    tmp_path = make_tmp_folder(folder)
    try:
        functions = traced_functions(fuse_modulation(unet), decoder, backend.outcome)
        for name, (function, inputs, outputs) in functions.items():
            # Clones, because two inputs that share a tensor would become one input of the graph.
            examples = tuple(example.clone() for example in inputs.values())
            with waiting(f"exporting {name}"):
                program = torch.onnx.export(function.eval(), examples, dynamo=True, verbose=False,
                                            input_names=list(inputs), output_names=list(outputs))  # fmt: skip
                model = program.model_proto
            if name == "denoise" and calibration:
                with waiting(f"quantizing {name}"):
                    model = quantize_convs(model, calibration)
            onnx.save(without_metadata(to_half_weights(model)), tmp_path / f"{name}.onnx")
        write_metadata(tmp_path, metadata)
        with waiting("comparing the export with the model"):
            check_export(tmp_path, backend, model_path)
        replace_folder(tmp_path, folder)
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)


def check_export(folder: Path, backend: TorchBackend, model_path: Path) -> None:
    """Raises InputError unless the export in `folder` generates the first frame of `backend`."""
    exported = OnnxBackend(folder, "onnxruntime", None)
    difference = (first_frame(exported).rgb.astype(float) - first_frame(backend).rgb) / 255
    psnr_db = -10 * np.log10(np.mean(difference**2) + 1e-12)
    if backend.has_outcome:
        state = exported.init_state(*backend.export_state(first_frame(backend)))
        rewards = exported.predict_outcome(state, 0)[0], backend.predict_outcome(first_frame(backend), 0)[0]
        if not abs(rewards[0] - rewards[1]) <= MAX_REWARD_ERROR * backend.outcome.reward_std.item():
            raise InputError(f"the export of {model_path} predicts other rewards than the model: not written")
    if psnr_db < MIN_PSNR_DB:
        raise InputError(
            f"the export of {model_path} generates other frames than the model (PSNR {psnr_db:.0f} dB): not written"
        )


def check_is_replaceable(folder: Path) -> None:
    """Raises InputError if `folder` exists and is not an export, so that no other files are lost."""
    if folder.exists() and not is_export(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an export: name another folder with --output-dir")


def make_tmp_folder(folder: Path) -> Path:
    """Makes an empty folder of this process next to `folder`; removes those of processes that were killed."""
    for leftover in folder.parent.glob(f"{glob.escape(folder.name)}.*.writing"):
        if time.time() - leftover.lstat().st_mtime > 3600:  # an export takes a minute at most
            shutil.rmtree(leftover, ignore_errors=True)
    tmp_path = folder.with_name(f"{folder.name}.{os.getpid()}.writing")
    shutil.rmtree(tmp_path, ignore_errors=True)
    make_folder(tmp_path)
    return tmp_path


def replace_folder(new: Path, folder: Path) -> None:
    """Renames the folder `new` to `folder`. An old one is removed only after that."""
    old = folder.with_name(f"{folder.name}.{os.getpid()}.old.writing")
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def to_half_weights(model):
    """Converts the large weights of `model`, an onnx.ModelProto, to float16 if that is exact; returns `model`.

    It is exact for the weights of a checkpoint. A Cast node converts each back to float32 when the graph is loaded."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < MIN_HALF_SIZE:
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


def without_metadata(model):
    """The onnx.ModelProto without the exporter's notes: stack traces with the paths of this machine, a megabyte."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
    return model
