"""Helpers of the tests of the backends."""

import json
from pathlib import Path

import numpy as np
from dream.inference.backend import State
from dream.inference.export_folder import METADATA, source_hash, write_metadata

RUNTIMES = ["openvino", "onnxruntime"]


def psnr_db(one: State, other: State) -> float:
    """PSNR in dB between the 8-bit frames of two states."""
    difference = (one.rgb.astype(float) - other.rgb.astype(float)) / 255
    return -10 * np.log10(np.mean(difference**2) + 1e-12)


def fake_export(decoder: Path, model: Path, starts: Path, folder: Path) -> None:
    """Replaces `export_model`, which takes seconds: writes only the hash of the source files."""
    saved = json.loads((folder / METADATA).read_text())
    write_metadata(folder, {**saved, "source_hash": source_hash(decoder, model)})
