"""Packs the finished epochs of a recording into trajectories.npz, the file that sd/ reads.

sd/dream/data/trajectories.py is the reading side of the format.
"""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, NamedTuple, Optional

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
    step_layout,
)
from player.recording.row_plan import RowPlan, plan_rows

FILE_NAME = "trajectories.npz"
DAMAGED_ADVICE = "it cannot be added to, move it out of the way"
FLUSH_BYTES = (
    256 * 2**20
)  # written between two flushes to the disk: one at the end would stand still for minutes


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
    part_steps = {epoch: layouts[path.name]["frames"][1][0] for epoch, path in sorted(parts.items())}
    if kept_epochs:
        layouts[FILE_NAME] = packed.layout
    layout, max_steps = layouts[parts[min(parts)].name], metadata["meta"].get("max_row_steps")
    for name, other in layouts.items():
        if max_steps:  # parts of any length, which are joined
            check_equal(step_layout(layout), step_layout(other), name)
        else:
            check_equal(layout, other, name)
    kept_steps = packed.layout["frames"][1][0] if kept_epochs else None
    plan = plan_rows(part_steps, metadata["meta"]["record_envs"], max_steps, kept_steps)
    with atomic_write(target) as file:
        _write_npz(file, target, step_layout(layout), metadata, kept_epochs, parts, plan)
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
    plan: RowPlan,
) -> None:
    """Writes the new .npz: the rows of `kept_epochs` from the file `old_path`, then those of `parts` by the `plan`.

    `layout`: dtype and shape of one step, by key."""
    K, T = metadata["meta"]["record_envs"], plan.row_steps
    epochs = kept_epochs + plan.epochs
    meta = {key: value for key, value in metadata["meta"].items() if key != "max_row_steps"}
    texts = {"action_names": metadata["action_names"], "meta": json.dumps({**meta, "epochs": epochs})}
    step_bytes = {
        key: np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
        for key, (dtype, shape) in layout.items()
    }
    total = K * T * len(epochs) * sum(step_bytes.values())
    bar = progress_bar(total=total, desc="packing", unit="B", unit_scale=True, leave=False)
    with bar, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for key, (dtype, shape) in layout.items():
            with archive.open(aligned_member(file, key), "w", force_zip64=True) as member:
                write_npy_header(member, np.dtype(dtype), (K * len(epochs), T, *shape))
                target = _CountingFile(member, file, bar)
                if kept_epochs:
                    _copy_packed_rows(old_path, key, target, K * T * len(kept_epochs) * step_bytes[key])
                for epoch, begin, end in plan.segments:
                    with open(str(parts[epoch] / (key + ".npy")), "rb") as source:
                        num_bytes = (end - begin) * step_bytes[key]
                        copy_npy_data(source, target, num_bytes, skip=begin * step_bytes[key])
        for key, value in texts.items():
            with archive.open(aligned_member(file, key), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.array(value), allow_pickle=False)


class _CountingFile:
    """A member of a zip file: shows on the bar what is written, and flushes the zip file to the disk from time to time,
    so that the bar tells the truth."""

    def __init__(self, member: BinaryIO, file: BinaryIO, bar: Any) -> None:
        self.member, self.file, self.bar = member, file, bar

    def write(self, data: bytes) -> None:
        self.member.write(data)
        before = self.bar.n // FLUSH_BYTES
        self.bar.update(len(data))
        if self.bar.n // FLUSH_BYTES > before:
            self.file.flush()
            os.fsync(self.file.fileno())


def _copy_packed_rows(path: Path, key: str, target: BinaryIO, num_bytes: int) -> None:
    """Copies the first `num_bytes` of the array `key` of a .npz file. Raises InputError if the file is damaged."""
    archive = zipfile.ZipFile(str(path))
    with refuse_damaged(path, DAMAGED_ADVICE), archive, archive.open(key + ".npy") as source:
        copy_npy_data(source, target, num_bytes)


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
