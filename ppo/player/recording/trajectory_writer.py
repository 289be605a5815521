"""Recording: what the agent saw and did, epoch by epoch, and in the end one `trajectories.npz`.

An epoch is written as plain arrays into `<run>/trajectories.partial/epoch_000012.writing/`, flushed to the disk, then
renamed to `epoch_000012/`: a kill, a crash or a full disk costs the epoch in hand and nothing else. `pack` streams the
finished epochs into the one file that sd/ reads (the READ half of the format: sd/dream/trajectories.py).

Frame t is what the player saw when it chose action t; action t leads from frame t to frame t+1.
"""

import json
import os
import shutil
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from player.common.errors import InputError
from player.recording.disk_space import check_disk_space, recording_bytes

__all__ = ["TrajectoryWriter", "check_disk_space", "pack_trajectories", "recording_bytes"]

FORMAT_VERSION = 1
FILE_NAME = "trajectories.npz"
PARTIAL_NAME = "trajectories.partial"
META_KEYS = {"record_envs", "game", "fps", "frame_skip", "action_keys", "seed"}
# The arrays every reader knows: key -> dtype, axes. Any further (K, T, ...) arrays are carried along.
REQUIRED_ARRAYS = {
    "frames": ("uint8", "K, T, 3, H, W"),
    "actions": ("int64", "K, T"),
    "episode_starts": ("bool", "K, T"),
    "rewards": ("float32", "K, T"),
}
CHUNK_BYTES = 4 * 2**20
# What zipfile and numpy raise, by where a byte of a .npz is wrong
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
    *(EOFError, ValueError, LookupError, RuntimeError),
)
ALIGNMENT = 64  # bytes; numpy pads its own header to 64, so the data itself is aligned when the member is

Layout = Dict[str, Tuple[str, Tuple[int, ...]]]  # key -> dtype, shape of one row


class PackedFile(NamedTuple):
    """What a trajectories.npz already holds. `epochs[i // record_envs]` is the epoch of row i."""

    layout: Layout
    action_names: List[str]
    record_envs: int
    epochs: List[int]


class TrajectoryWriter:
    """Records the first K environments. Row i of the recording belongs to environment i % K, epoch after epoch."""

    def __init__(self, run_dir: Path, action_names: Sequence[str], meta: dict, first_epoch: int = 0) -> None:
        """`first_epoch`: the epoch that comes next. What is there of it and of later ones is a stopped run's and is
        done again (in a packed file: replaced at the next `pack`). Earlier epochs are kept and must fit this run."""
        missing = META_KEYS - set(meta)
        assert not missing, f"meta lacks {sorted(missing)}"
        self.run_dir = Path(run_dir)
        self.meta = {**meta, "format_version": FORMAT_VERSION}
        self.action_names = [str(name) for name in action_names]
        self.layout: Optional[Layout] = None
        self.next_epoch = first_epoch
        parts = _finished_parts(self.run_dir)
        for epoch in [epoch for epoch in parts if epoch >= first_epoch]:
            shutil.rmtree(str(parts.pop(epoch)))
        packed = _read_packed(self.run_dir / FILE_NAME)
        if packed and min(packed.epochs) < first_epoch:  # its rows will be kept
            self._continue(packed.layout, packed.action_names, packed.record_envs)
        if parts:
            metadata = _read_metadata(self.run_dir)
            self._continue(
                _part_layout(parts[max(parts)]), metadata["action_names"], metadata["meta"]["record_envs"]
            )
        self._write_metadata()

    def write(self, epoch: int, rows: Dict[str, np.ndarray]) -> None:
        """`rows`: "frames" uint8 (K, T, 3, H, W), "actions" int64 (K, T), "episode_starts" bool (K, T), "rewards"
        float32 (K, T) and any further (K, T, ...) arrays, as "truth/x". On return the epoch is on the disk."""
        assert epoch >= self.next_epoch, f"epoch {epoch} after epoch {self.next_epoch - 1}"
        self._check_rows(rows)
        partial = self.run_dir / PARTIAL_NAME
        if not (partial / "metadata.json").exists():  # packed since the last epoch
            self._write_metadata()
        finished = partial / f"epoch_{epoch:06d}"
        writing = partial / (finished.name + ".writing")
        try:
            for key, array in rows.items():
                path = writing / (key + ".npy")
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_npy(array, path)
            for folder in [writing, *(path for path in writing.rglob("*") if path.is_dir())]:
                _flush_folder(folder)
            os.rename(str(writing), str(finished))
        finally:  # a full disk or Ctrl-C: leave no half epoch behind
            shutil.rmtree(str(writing), ignore_errors=True)
        _flush_folder(partial)
        self.next_epoch = epoch + 1

    def pack(self) -> Path:
        """All finished epochs into `<run>/trajectories.npz`. Recording can go on afterwards, and be packed again."""
        return pack_trajectories(self.run_dir)

    def _check_rows(self, rows: Dict[str, np.ndarray]) -> None:
        missing = sorted(set(REQUIRED_ARRAYS) - set(rows))
        assert not missing, f"an epoch's rows lack {missing}"
        K, T = self.meta["record_envs"], rows["actions"].shape[-1]
        for key, array in rows.items():
            dtype, axes = REQUIRED_ARRAYS.get(key, (array.dtype, "K, T, ..."))
            good = array.dtype == dtype and (axes.endswith("...") or array.ndim == axes.count(",") + 1)
            good = good and array.shape[:2] == (K, T) and array.size > 0 and not array.dtype.hasobject
            if not good or (key == "frames" and array.shape[2] != 3):
                raise InputError(
                    f"{key}: {array.dtype} {array.shape}, wanted {dtype} ({axes}), K, T = {K}, {T}"
                )
        if rows["actions"].min() < 0 or rows["actions"].max() >= len(self.action_names):
            raise InputError(f"actions are outside 0..{len(self.action_names) - 1}, the named ones")
        layout = {key: (str(array.dtype), array.shape[1:]) for key, array in rows.items()}
        _check_alike(self.layout or layout, layout, "this epoch")
        self.layout = layout

    def _continue(self, layout: Layout, action_names: List[str], record_envs: int) -> None:
        so_far = {"action_names": action_names, "record_envs": record_envs}
        this_run = {"action_names": self.action_names, "record_envs": self.meta["record_envs"]}
        _check_alike(so_far, this_run, "this run")
        self.layout = layout

    def _write_metadata(self) -> None:
        partial = self.run_dir / PARTIAL_NAME
        partial.mkdir(parents=True, exist_ok=True)
        tmp_path = partial / "metadata.json.writing"
        with open(str(tmp_path), "w", encoding="utf-8") as file:
            json.dump({"action_names": self.action_names, "meta": self.meta}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(str(tmp_path), str(partial / "metadata.json"))


def pack_trajectories(run_dir: Path) -> Path:
    """Packs what a stopped or killed run left; returns the file. Not for a run that still records.

    Streams into a temporary file and renames it, so memory use is constant. Rows packed earlier come first,
    those of epochs that are there again as parts excepted; so neither a kill at any moment nor packing again does harm.
    """
    run_dir = Path(run_dir)
    target, partial = run_dir / FILE_NAME, run_dir / PARTIAL_NAME
    parts = _finished_parts(run_dir)
    packed = _read_packed(target)
    if not parts:
        if packed is None:
            raise InputError(
                f"nothing is recorded in {run_dir} (no finished epoch): record with train_ppo.py"
            )
        shutil.rmtree(str(partial), ignore_errors=True)
        return target
    metadata = _read_metadata(run_dir)
    layouts = {path.name: _part_layout(path) for path in parts.values()}
    layout = layouts[parts[min(parts)].name]
    K = metadata["meta"]["record_envs"]
    old_epochs = [epoch for epoch in (packed.epochs if packed else []) if epoch < min(parts)]
    if old_epochs:
        layouts[FILE_NAME] = packed.layout
    for name, found in layouts.items():
        _check_alike(layout, found, name)
    epochs = old_epochs + sorted(parts)
    texts = {
        "action_names": metadata["action_names"],
        "meta": json.dumps({**metadata["meta"], "epochs": epochs}),
    }

    tmp_path = run_dir / (FILE_NAME + ".writing")
    try:
        with open(str(tmp_path), "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for key, (dtype, row_shape) in layout.items():
                    row_bytes = np.dtype(dtype).itemsize * int(np.prod(row_shape, dtype=np.int64))
                    with archive.open(_aligned_member(file, key), "w", force_zip64=True) as member:
                        _write_header(member, np.dtype(dtype), (K * len(epochs), *row_shape))
                        if old_epochs:
                            _copy_packed(target, key, member, K * len(old_epochs) * row_bytes)
                        for epoch in sorted(parts):
                            with open(str(parts[epoch] / (key + ".npy")), "rb") as source:
                                _copy_rows(source, member, K * row_bytes)
                for key, value in texts.items():
                    with archive.open(_aligned_member(file, key), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.array(value), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(str(tmp_path), str(target))
    finally:
        if tmp_path.exists():
            tmp_path.unlink()
    _flush_folder(run_dir)
    # Renamed first: a kill while the parts are being removed must not leave some of them looking whole.
    done = run_dir / ("packed." + PARTIAL_NAME)
    os.rename(str(partial), str(done))
    shutil.rmtree(str(done), ignore_errors=True)
    return target


def _finished_parts(run_dir: Path) -> Dict[int, Path]:
    """Epoch -> folder, in order. Clears away what a kill left half done."""
    shutil.rmtree(str(run_dir / ("packed." + PARTIAL_NAME)), ignore_errors=True)
    for half_done in (run_dir / PARTIAL_NAME).glob("epoch_*.writing"):
        shutil.rmtree(str(half_done))
    parts = sorted(path for path in (run_dir / PARTIAL_NAME).glob("epoch_*") if path.is_dir())
    return {int(path.name[len("epoch_") :]): path for path in parts}


def _read_metadata(run_dir: Path) -> dict:
    path = run_dir / PARTIAL_NAME / "metadata.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise InputError(f"{path} cannot be read ({problem}): the parts beside it need it") from None


def _read_packed(path: Path) -> Optional[PackedFile]:
    if not path.exists():
        return None
    try:
        layout = {}
        with zipfile.ZipFile(str(path)) as archive:
            for key in (name[: -len(".npy")] for name in archive.namelist()):
                if key not in ("action_names", "meta"):
                    with archive.open(key + ".npy") as member:
                        dtype, shape = _read_header(member)
                    layout[key] = (str(dtype), shape[1:])
        with np.load(str(path), allow_pickle=False) as arrays:
            action_names = [str(name) for name in arrays["action_names"]]
            meta = json.loads(str(arrays["meta"]))
        if shape[0] != meta["record_envs"] * len(meta["epochs"]):
            raise InputError(f"{shape[0]} rows are not those of {len(meta['epochs'])} epochs")
        return PackedFile(layout, action_names, meta["record_envs"], meta["epochs"])
    except (OSError, TypeError, *ZIP_ERRORS) as problem:
        raise InputError(f"{path} cannot be added to ({problem}): move it out of the way") from None


def _part_layout(part: Path) -> Layout:
    layout = {}
    for path in sorted(part.rglob("*.npy"), key=lambda path: path.name != "frames.npy"):
        with open(str(path), "rb") as file:
            dtype, shape = _read_header(file)
        layout[path.relative_to(part).with_suffix("").as_posix()] = (str(dtype), shape[1:])
    return layout


def _check_alike(so_far: dict, found: dict, where: str) -> None:
    for key in sorted(set(so_far) | set(found)):
        if so_far.get(key) != found.get(key):
            raise InputError(
                f"{key}: {so_far.get(key)} in the recording so far, {found.get(key)} in {where}. All epochs must be "
                "alike: go on with the settings it began with, or in another folder"
            )


def _aligned_member(file: BinaryIO, key: str) -> zipfile.ZipInfo:
    """A zip entry whose content begins at a multiple of ALIGNMENT: an extra field in its header fills the gap."""
    info = zipfile.ZipInfo(key + ".npy")  # its date stays 1980: the same recording gives the same bytes
    header_bytes = 30 + len(info.filename.encode()) + 20 + 4  # 20: a zip64 entry's sizes; 4: the field's head
    padding = -(file.tell() + header_bytes) % ALIGNMENT
    info.extra = b"\x35\xd9" + padding.to_bytes(2, "little") + bytes(padding)
    return info


def _write_npy(array: np.ndarray, path: Path) -> None:
    # Not np.save: on a full disk it raises an OSError that has lost its errno.
    with open(str(path), "wb") as file:
        _write_header(file, array.dtype, array.shape)
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def _write_header(file: BinaryIO, dtype: np.dtype, shape: Tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _read_header(file: BinaryIO) -> Tuple[np.dtype, Tuple[int, ...]]:
    np.lib.format.read_magic(file)  # we and numpy write version 1.0 for plain arrays
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran_order or dtype.hasobject or dtype.names:
        raise InputError(f"an array holds {dtype}, Fortran order {fortran_order}; wanted plain, C order")
    return dtype, shape


def _copy_rows(source: BinaryIO, target: BinaryIO, num_bytes: int) -> None:
    _read_header(source)
    while num_bytes:
        chunk = source.read(min(CHUNK_BYTES, num_bytes))
        if not chunk:
            raise InputError(
                f"{getattr(source, 'name', 'a part')} is cut short: {num_bytes} bytes are missing"
            )
        target.write(chunk)
        num_bytes -= len(chunk)


def _copy_packed(path: Path, key: str, target: BinaryIO, num_bytes: int) -> None:
    """The first rows of an array of what was packed earlier."""
    try:
        with zipfile.ZipFile(str(path)) as old, old.open(key + ".npy") as source:
            _copy_rows(source, target, num_bytes)
    except ZIP_ERRORS as problem:
        raise InputError(f"{path} cannot be added to ({problem}): move it out of the way") from None


def _flush_folder(folder: Path) -> None:
    """Makes what was renamed in the folder last through a power cut. Windows has no such call."""
    if os.name != "nt":
        handle = os.open(str(folder), os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
