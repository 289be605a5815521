"""The parts of an unfinished recording: one folder of plain .npy files per epoch.

    <run>/trajectories.partial/metadata.json            action names and metadata
    <run>/trajectories.partial/epoch_000012/            a finished epoch: frames.npy, actions.npy, truth/x.npy, ...
    <run>/trajectories.partial/epoch_000013.writing/    an epoch that is being written

An epoch is flushed to the disk before its folder is renamed. A kill, a crash or a full disk therefore loses at most the
epoch that is being written.
"""

import json
import math
import os
import shutil
import zlib
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from player.common.errors import InputError, refuse_damaged
from player.common.files import atomic_write
from player.recording.npz_io import read_npy_header, write_npy

Layout = Dict[str, Tuple[str, Tuple[int, ...]]]  # key of an array -> dtype, shape of one row

# Arrays that every epoch must have: key -> dtype, axes. Further arrays (K, T, ...) may be added.
REQUIRED_ARRAYS = {
    "frames": ("uint8", "K, T, 3, H, W"),
    "actions": ("int64", "K, T"),
    "episode_starts": ("bool", "K, T"),
    "rewards": ("float32", "K, T"),
}

PARTIAL_NAME = "trajectories.partial"
PACKED_NAME = "packed.trajectories.partial"  # the folder's name once all of its epochs are packed


def partial_folder(run_dir: Path) -> Path:
    """The folder of the parts."""
    return run_dir / PARTIAL_NAME


def finished_parts(run_dir: Path) -> Dict[int, Path]:
    """The folders of the finished epochs, by epoch, in ascending order. Removes what a killed run left unfinished."""
    partial = partial_folder(run_dir)
    shutil.rmtree(str(run_dir / PACKED_NAME), ignore_errors=True)
    for unfinished in partial.glob("epoch_*.writing"):
        shutil.rmtree(str(unfinished))
    names = ((path, path.name[len("epoch_") :]) for path in sorted(partial.glob("epoch_*")) if path.is_dir())
    return {int(number): path for path, number in names if number.isdecimal() and number.isascii()}


def write_part(run_dir: Path, epoch: int, rows: Dict[str, np.ndarray]) -> None:
    """Writes the arrays of an epoch, by key. They are on the disk when the function returns.

    Raises OSError if they cannot be written; then nothing of the epoch is left.
    """
    finished = partial_folder(run_dir) / f"epoch_{epoch:06d}"
    writing = finished.with_name(finished.name + ".writing")
    try:
        for key, array in rows.items():
            path = writing / (key + ".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_npy(array, path)
        for folder in [writing, *(path for path in writing.rglob("*") if path.is_dir())]:
            flush_folder(folder)
        os.rename(str(writing), str(finished))
    finally:  # also after Ctrl-C
        shutil.rmtree(str(writing), ignore_errors=True)
    flush_folder(partial_folder(run_dir))


def remove_parts(run_dir: Path) -> None:
    """Removes the parts after they have been packed.

    The folder is renamed first: if the process is killed during the removal, no part of the rest counts as finished.
    """
    packed = run_dir / PACKED_NAME
    os.rename(str(partial_folder(run_dir)), str(packed))
    shutil.rmtree(str(packed), ignore_errors=True)


def write_metadata(run_dir: Path, action_names: List[str], meta: dict) -> None:
    """Writes metadata.json."""
    with atomic_write(partial_folder(run_dir) / "metadata.json") as file:
        metadata = {"action_names": action_names, "meta": meta}
        file.write(json.dumps({**metadata, "crc32": _checksum(metadata)}, indent=1).encode())


def _checksum(metadata: dict) -> int:
    return zlib.crc32(json.dumps(metadata, sort_keys=True).encode())


def has_metadata(run_dir: Path) -> bool:
    """Whether there is a metadata.json; packing removes it with the parts."""
    return (partial_folder(run_dir) / "metadata.json").exists()


def read_metadata(run_dir: Path) -> dict:
    """The keys "action_names" and "meta" of `write_metadata`. Raises InputError if the file is missing or damaged."""
    path = partial_folder(run_dir) / "metadata.json"
    if not path.is_file():
        raise InputError(f"no {path}: the epochs recorded in that folder need it")
    with refuse_damaged(path, "the epochs recorded in that folder need it"):
        metadata = json.loads(path.read_text(encoding="utf-8"))
        checked = {key: metadata[key] for key in ("action_names", "meta")}
        if metadata.get("crc32", _checksum(checked)) != _checksum(checked):  # older versions wrote none
            raise ValueError("wrong checksum")
        if type(checked["meta"]["record_envs"]) is not int or not all(
            isinstance(name, str) for name in checked["action_names"]
        ):
            raise TypeError("an entry of the wrong type")
    return checked


def part_layout(part: Path) -> Layout:
    """The layout of an epoch's folder, "frames" first.

    Raises InputError if a file is damaged, has another size than its header says, or is no plain array in C order.
    """
    layout = {}
    for path in sorted(part.rglob("*.npy"), key=lambda path: path.name != "frames.npy"):
        with refuse_damaged(path, f"remove {part} to keep the other epochs"), open(str(path), "rb") as file:
            dtype, shape = read_npy_header(file)
            num_bytes = os.fstat(file.fileno()).st_size - file.tell()
            wanted = dtype.itemsize * math.prod(shape)
            if len(shape) < 2 or num_bytes != wanted:
                raise ValueError(f"{num_bytes} bytes of data, wanted {wanted} for the shape {shape}")
        layout[path.relative_to(part).with_suffix("").as_posix()] = (str(dtype), shape)
    if "frames" not in layout:
        raise InputError(f"{part} has no frames.npy: remove it to keep the other epochs")
    if len({shape[:2] for _, shape in layout.values()}) > 1:
        raise InputError(f"the arrays in {part} differ in length: remove it to keep the other epochs")
    return {key: (dtype, shape[1:]) for key, (dtype, shape) in layout.items()}


def step_layout(layout: Layout) -> Layout:
    """The layout without the number of steps: dtype and shape of one step."""
    return {key: (dtype, tuple(shape[1:])) for key, (dtype, shape) in layout.items()}


def check_part(part: Path, metadata: dict) -> Layout:
    """The layout of an epoch. Raises InputError unless the arrays that every recording has fit the `metadata`."""
    layout = part_layout(part)
    with refuse_damaged(part, "remove it to keep the other epochs"):
        for key, (dtype, _) in REQUIRED_ARRAYS.items():
            if layout[key][0] != dtype:
                raise ValueError(f"{key} are {layout[key][0]}, wanted {dtype}")
        actions = np.load(str(part / "actions.npy"), allow_pickle=False)
        K, num_names = metadata["meta"]["record_envs"], len(metadata["action_names"])
        if len(actions) != K or actions.min() < 0 or actions.max() >= num_names:
            raise ValueError(f"actions {actions.shape} of {K} environments, wanted 0 to {num_names - 1}")
    return layout


def check_equal(recorded: dict, found: dict, source: str) -> None:
    """Raises InputError if an epoch or a run does not fit the recording so far.

    `recorded`, `found`: layouts, or settings by name. `source`: where `found` is from, for the message.
    """
    for key in sorted(set(recorded) | set(found)):
        if recorded.get(key) != found.get(key):
            raise InputError(
                f"{key}: {recorded.get(key)} in the recording so far, {found.get(key)} in {source}. All epochs must be "
                "alike: go on with the settings it began with, or in another folder"
            )


def flush_folder(folder: Path) -> None:
    """Flushes the entries of a folder to the disk, so that a rename survives a power cut. Windows has no such call."""
    if os.name != "nt":
        handle = os.open(str(folder), os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
