"""What a file is, told by its first bytes and its table of contents, before anything is loaded or exported.

Needs neither PyTorch nor the whole file, so that a wrong path on the command line is reported at once."""

import argparse
import json
import pickletools
import zipfile
from pathlib import Path

import numpy as np

from dream.common.errors import InputError

# Kinds of files: what one is called in messages. The first eight are values of "kind" in a checkpoint.
WORDS = {
    "dream": "a diffusion model",
    "encoder": "an encoder",
    "decoder": "a decoder",
    "agent": "an agent",  # also as a network file
    "laps": "a lap probe",
    "ppo_run": "the state of a training run",
    "model_run": "the state of a training run",
    "autoencoder_run": "the state of a training run",
    "recording": "a recording",
    "start states": "a file of start states",
    "folder": "a folder",
    "empty": "an empty file",
    "text": "a text file",
    "npz": "an .npz of another kind",
    "checkpoint": "a checkpoint of another program",
    "other": "a file of another kind",
}
# What each option takes, for messages.
WANTED = {
    "dream": "best.pt or final.pt of sd/train_sd.py",
    "decoder": "decoder.pt of sd/train_autoencoder.py",
    "agent": "best.pt of ppo/train_ppo.py, or the .npz that sd/export_sd.py makes of it",
    "start states": "initial_sequence.npz, which sd/train_sd.py writes next to its model",
    "encoder": "encoder.pt of sd/train_autoencoder.py",
    "recording": "an .npz of ppo/record_trajectories.py, ppo/import_video.py or play_sd.py",
}


def check_files_given(args: argparse.Namespace, kinds: dict[str, str]) -> None:
    """`check_kind` of several options that are given, by option."""
    for option, kind in kinds.items():
        path = getattr(args, option[2:].replace("-", "_"))
        if path is not None:
            check_kind(option, path, kind)


def check_kind(option: str, path: Path, wanted: str) -> None:
    """Raises InputError if the file at `path` is clearly of another kind than `wanted`, a key of WANTED.

    A missing or a damaged file passes: the loader says more about it. option: of the command line, for the message."""
    kind = file_kind(path)
    if kind in (None, wanted):
        return
    hint = f"it takes {WANTED[wanted]}"
    if kind == "folder":
        names = {
            "dream": ("final.pt", "best.pt", "model.pt"),
            "decoder": ("decoder.pt",),
            "agent": ("best.pt",),
        }
        inside = [name for name in names.get(wanted, ()) if (path / name).is_file()]
        hint = f"try {path / inside[0]}" if inside else f"name the file in it, {WANTED[wanted]}"
    raise InputError(f"{option} {path} is {WORDS[kind]}: {hint}")


def file_kind(path: Path) -> str | None:
    """A key of WORDS; None if the file is missing, damaged or cannot be opened."""
    path = Path(path)
    if path.is_dir():
        return "folder"
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
        if not head:
            return "empty"
        if not head.startswith(b"PK"):
            return "text" if is_text(head) else "other"
        with zipfile.ZipFile(path) as archive:
            return zip_kind(archive)
    except Exception:  # zipfile raises many types for a damaged file
        return None


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text in UTF-8, whose last character may be cut off."""
    text = head.decode(errors="ignore")
    return len(text.encode()) >= len(head) - 3 and all(c.isprintable() or c in "\t\n\r\f\ufeff" for c in text)


def zip_kind(archive: zipfile.ZipFile) -> str | None:
    """As `file_kind`, of a zip file: PyTorch's checkpoints and NumPy's .npz files are such."""
    names = archive.namelist()
    pickles = [name for name in names if name.endswith("data.pkl")]
    if pickles:
        with archive.open(pickles[0]) as file:
            kind = checkpoint_kind(file.read(2**16))
        return kind if kind in WORDS else "checkpoint"
    if {"graph.npy", "meta.npy"} <= set(names):
        with archive.open("meta.npy") as file:
            kind = json.loads(np.lib.format.read_array(file, allow_pickle=False).item())["kind"]
        return kind if kind in WORDS else "npz"
    if "frames.npy" not in names:
        return "npz" if any(name.endswith(".npy") for name in names) else "other"
    with archive.open("frames.npy") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    is_start_states = dtype.kind == "f" and len(shape) == 5 and shape[2] != 3
    return "start states" if is_start_states else "recording"


def checkpoint_kind(pickled: bytes) -> str | None:
    """The value of "kind" near the beginning of a pickled dict; nothing is unpickled."""
    strings = []
    for opcode, value, _ in pickletools.genops(pickled):
        if opcode.name in ("BINUNICODE", "SHORT_BINUNICODE", "UNICODE"):
            strings.append(value)
            if len(strings) > 1 and strings[-2] == "kind":
                return value
        elif len(strings) > 100:
            break
    return None
