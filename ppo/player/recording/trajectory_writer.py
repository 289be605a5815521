"""Records what an agent observed and did, epoch by epoch; at the end all epochs are packed into `trajectories.npz`.

Frame t is the observation from which action t was chosen; action t leads from frame t to frame t + 1.
"""

import shutil
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np

from player.common.errors import InputError
from player.recording.pack import FILE_NAME, pack_trajectories, read_packed
from player.recording.parts import (
    REQUIRED_ARRAYS,
    Layout,
    check_equal,
    finished_parts,
    has_metadata,
    part_layout,
    read_metadata,
    step_layout,
    write_metadata,
    write_part,
)

FORMAT_VERSION = 1
META_KEYS = {"record_envs", "game", "fps", "frame_skip", "action_keys", "seed"}


class TrajectoryWriter:
    """Writes the recording of K environments. Row i of the file is environment i % K in the (i // K)-th epoch, or after
    the (i // K)-th row of it."""

    def __init__(self, run_dir: Path, action_names: Sequence[str], meta: dict, first_epoch: int = 0) -> None:
        """`run_dir`: folder of the recording. `meta`: the keys META_KEYS and any others that JSON can store;
        `meta["record_envs"]` is K. With `meta["max_row_steps"]` the epochs may have different numbers of steps: packing
        joins them and cuts them into rows of at most so many steps (row_plan.py).

        `first_epoch`: the next epoch to write. Recorded epochs from this one on belong to a run that was stopped: they
        are removed, and in a packed file replaced at the next `pack`. Earlier epochs are kept.

        Raises InputError if the kept epochs do not fit this run or cannot be read.
        """
        missing = META_KEYS - set(meta)
        assert not missing, f"meta lacks {sorted(missing)}"
        self.run_dir = Path(run_dir)
        self.meta = {**meta, "format_version": FORMAT_VERSION}
        self.action_names = [str(name) for name in action_names]
        self.layout: Optional[Layout] = None  # of the recording so far; None before the first epoch
        self.next_epoch = first_epoch
        parts = finished_parts(self.run_dir)
        for epoch in [epoch for epoch in parts if epoch >= first_epoch]:
            shutil.rmtree(str(parts.pop(epoch)))
        packed = read_packed(self.run_dir / FILE_NAME)
        if packed and min(packed.epochs) < first_epoch:  # its rows will be kept
            self._continue(packed.layout, packed.action_names, packed.record_envs)
        if parts:
            metadata = read_metadata(self.run_dir)
            layout = part_layout(parts[max(parts)])
            self._continue(layout, metadata["action_names"], metadata["meta"]["record_envs"])
        write_metadata(self.run_dir, self.action_names, self.meta)

    def write(self, epoch: int, rows: Dict[str, np.ndarray]) -> None:
        """Writes one epoch of T steps; it is on the disk when the method returns.

        `rows`: "frames" uint8 (K, T, 3, H, W), "actions" int64 (K, T), "episode_starts" bool (K, T), "rewards" float32
        (K, T), and any further arrays (K, T, ...), such as "truth/x"; the same arrays in every epoch.

        Raises InputError if an array has another dtype or shape, OSError if the disk is full.
        """
        assert epoch >= self.next_epoch, f"epoch {epoch} after epoch {self.next_epoch - 1}"
        self._check_rows(rows)
        if not has_metadata(self.run_dir):  # packed since the last epoch
            write_metadata(self.run_dir, self.action_names, self.meta)
        write_part(self.run_dir, epoch, rows)
        self.next_epoch = epoch + 1

    def pack(self) -> Path:
        """Packs all finished epochs into `<run_dir>/trajectories.npz` and returns its path, see `pack_trajectories`.

        Recording may continue afterwards and be packed again.
        """
        return pack_trajectories(self.run_dir)

    def _check_rows(self, rows: Dict[str, np.ndarray]) -> None:
        missing = sorted(set(REQUIRED_ARRAYS) - set(rows))
        assert not missing, f"an epoch's rows lack {missing}"
        K, T = self.meta["record_envs"], rows["actions"].shape[-1]
        for key, array in rows.items():
            dtype, axes = REQUIRED_ARRAYS.get(key, (array.dtype, "K, T, ..."))
            is_valid = array.dtype == dtype and (axes.endswith("...") or array.ndim == axes.count(",") + 1)
            is_valid = is_valid and array.shape[:2] == (K, T) and array.size > 0 and not array.dtype.hasobject
            if not is_valid or (key == "frames" and array.shape[2] != 3):
                raise InputError(
                    f"{key}: {array.dtype} {array.shape}, wanted {dtype} ({axes}), K, T = {K}, {T}"
                )
        if rows["actions"].min() < 0 or rows["actions"].max() >= len(self.action_names):
            raise InputError(f"actions are outside 0..{len(self.action_names) - 1}, the named ones")
        layout = {key: (str(array.dtype), array.shape[1:]) for key, array in rows.items()}
        compared = step_layout if "max_row_steps" in self.meta else dict
        check_equal(compared(self.layout or layout), compared(layout), "this epoch")
        self.layout = layout

    def _continue(self, layout: Layout, action_names: List[str], record_envs: int) -> None:
        """Takes the layout of the recording so far. Raises InputError if its settings are not those of this run."""
        recorded = {"action_names": action_names, "record_envs": record_envs}
        this_run = {"action_names": self.action_names, "record_envs": self.meta["record_envs"]}
        check_equal(recorded, this_run, "this run")
        self.layout = layout
