"""Exports a small network of the agent's observations as an ONNX graph in one file (network_file.py)."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dream.common.errors import InputError
from dream.inference.export import to_half_weights, without_metadata
from dream.inference.network_file import VIEWS_SHAPE, write_network

MAX_DIFFERENCE = 0.02  # between outputs of the graph and of the network, relative to the largest output


def export_network(network: nn.Module, kind: str, path: Path, action_names: Sequence[str] = ()) -> None:
    """Writes `network`, which maps views uint8 (B, STACK, OBS_SIZE, OBS_SIZE) to outputs float32 (B, n), with weights
    in float16.

    Raises InputError, and writes nothing, if the graph gives other outputs than the network, ImportError if one of
    EXPORT_NEEDS (select_backend.py) is not installed."""
    import onnxruntime

    views = torch.randint(256, VIEWS_SHAPE, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    half = copy.deepcopy(network).half().float().eval().requires_grad_(False)
    program = torch.onnx.export(half, (views,), dynamo=True, verbose=False,
                                input_names=["views"], output_names=["outputs"])  # fmt: skip
    graph = without_metadata(to_half_weights(program.model_proto)).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, {"views": views.numpy()})
    with torch.no_grad():
        expected = network(views).numpy()
    if (
        not np.abs(exported - expected).max() <= MAX_DIFFERENCE * np.abs(expected).max()
    ):  # also where one is NaN
        raise InputError(f"the exported graph gives other outputs than the network: {path} is not written")
    write_network(path, kind, graph, action_names)
