"""Packs the finished epochs of a recording into trajectories.npz, the file that sd/ reads.

sd/dream/data/trajectories.py is the reading side of the format.
"""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple, Optional

import numpy as np

from player.common.errors import InputError, refuse_damaged
from player.common.files import atomic_write
from player.common.progress import progress_bar
from player.recording.npz_io import (
    aligned_member,
    copy_npy_data,
    read_npy_header,
    write_npy_header,
)
from player.recording.parts import (
    Layout,
    check_equal,
    check_part,
    finished_parts,
    flush_folder,
    partial_folder,
    read_metadata,
    remove_parts,
)

FILE_NAME = "trajectories.npz"
DAMAGED_ADVICE = "it cannot be added to, move it out of the way"


class PackedFile(NamedTuple):
    """The content of a trajectories.npz, without its arrays."""

    layout: Layout
    action_names: List[str]
    record_envs: int
    epochs: List[int]  # epochs[i // record_envs] is the epoch of row i


def pack_trajectories(run_dir: Path) -> Path:
    """Packs all finished epochs into `<run_dir>/trajectories.npz`, removes them, and returns the path of the file.

    Also packs the recording of a run that was stopped or killed; must not be called while another process records.
    Rows of an existing file come first, except those of epochs that have been recorded again. The file is replaced
    atomically: if the process is killed at any moment, packing again gives the complete file.

    Raises InputError if nothing is recorded, if the epochs do not have the same arrays, or if a file is damaged;
    OSError if the disk is full. The recorded epochs are kept then.
    """
    run_dir = Path(run_dir)
    target = run_dir / FILE_NAME
    parts = finished_parts(run_dir)
    packed = read_packed(target)
    if not parts:
        if packed is None:
            raise InputError(
                f"nothing is recorded in {run_dir} (no finished epoch): record with train_ppo.py"
            )
        shutil.rmtree(str(partial_folder(run_dir)), ignore_errors=True)
        return target
    metadata = read_metadata(run_dir)
    kept_epochs = [epoch for epoch in (packed.epochs if packed else []) if epoch < min(parts)]
    layouts = {path.name: check_part(path, metadata) for path in parts.values()}
    if kept_epochs:
        layouts[FILE_NAME] = packed.layout
    layout = layouts[parts[min(parts)].name]
    for name, other in layouts.items():
        check_equal(layout, other, name)
    with atomic_write(target) as file:
        _write_npz(file, target, layout, metadata, kept_epochs, parts)
    flush_folder(run_dir)
    remove_parts(run_dir)
    return target


def _write_npz(
    file: BinaryIO,
    old_path: Path,
    layout: Layout,
    metadata: dict,
    kept_epochs: List[int],
    parts: Dict[int, Path],
) -> None:
    """Writes the new .npz: the rows of `kept_epochs` from the file `old_path`, then those of `parts`."""
    K = metadata["meta"]["record_envs"]  # rows per epoch
    epochs = kept_epochs + sorted(parts)
    texts = {
        "action_names": metadata["action_names"],
        "meta": json.dumps({**metadata["meta"], "epochs": epochs}),
    }
    row_bytes = sum(
        np.dtype(dtype).itemsize * int(np.prod(row_shape, dtype=np.int64))
        for dtype, row_shape in layout.values()
    )
    bar = progress_bar(
        total=K * len(epochs) * row_bytes, desc="packing", unit="B", unit_scale=True, leave=False
    )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive, bar:
        for key, (dtype, row_shape) in layout.items():
            epoch_bytes = K * np.dtype(dtype).itemsize * int(np.prod(row_shape, dtype=np.int64))
            with archive.open(aligned_member(file, key), "w", force_zip64=True) as member:
                write_npy_header(member, np.dtype(dtype), (K * len(epochs), *row_shape))
                if kept_epochs:
                    _copy_packed_rows(old_path, key, member, len(kept_epochs) * epoch_bytes, bar.update)
                for epoch in sorted(parts):
                    with open(str(parts[epoch] / (key + ".npy")), "rb") as source:
                        copy_npy_data(source, member, epoch_bytes, bar.update)
        for key, value in texts.items():
            with archive.open(aligned_member(file, key), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.array(value), allow_pickle=False)


def _copy_packed_rows(
    path: Path, key: str, target: BinaryIO, num_bytes: int, on_bytes: Callable[[int], Any]
) -> None:
    """Copies the first `num_bytes` of the array `key` of a .npz file. Raises InputError if the file is damaged."""
    archive = zipfile.ZipFile(str(path))
    with refuse_damaged(path, DAMAGED_ADVICE), archive, archive.open(key + ".npy") as source:
        copy_npy_data(source, target, num_bytes, on_bytes)


def read_packed(path: Path) -> Optional[PackedFile]:
    """Reads a trajectories.npz without its arrays; None if there is no file.

    Raises InputError if it is damaged or was not written by TrajectoryWriter.
    """
    if not path.exists():
        return None
    with refuse_damaged(path, DAMAGED_ADVICE):
        layout, shape = {}, None
        with zipfile.ZipFile(str(path)) as archive:
            for key in (name[: -len(".npy")] for name in archive.namelist()):
                if key not in ("action_names", "meta"):
                    with archive.open(key + ".npy") as member:
                        dtype, shape = read_npy_header(member)
                    layout[key] = (str(dtype), shape[1:])
            texts = {key: io.BytesIO(archive.read(key + ".npy")) for key in ("action_names", "meta")}
        arrays = {key: np.lib.format.read_array(text, allow_pickle=False) for key, text in texts.items()}
        action_names = [str(name) for name in arrays["action_names"]]
        meta = json.loads(str(arrays["meta"]))
        if shape is None:
            raise ValueError("it has no arrays")
        if shape[0] != meta["record_envs"] * len(meta["epochs"]):
            raise InputError(f"{shape[0]} rows are not those of {len(meta['epochs'])} epochs")
        return PackedFile(layout, action_names, meta["record_envs"], meta["epochs"])
