"""Helpers of a training run: device, seeds, checkpoints, resuming, metrics.

sd/dream/common/runs.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import argparse
import csv
import os
import platform
import random
import shutil
import sys
from contextlib import nullcontext
from functools import lru_cache, wraps
from pathlib import Path
from typing import IO, Callable, Dict, List, Optional, Tuple

import numpy as np
import torch

from player.common.errors import InputError, refuse_damaged
from player.common.files import atomic_write, check_zip, locked_folder

# What to do if last.pt cannot be resumed from.
NEW_RUN = "start a new run in another --output-dir (from this run's best model: see --help)"


def pick_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`. Raises InputError if cuda is requested and not available."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda, but PyTorch finds no CUDA device here: use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def seed_everything(seed: int) -> None:
    """Seeds the global generators of Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def save_checkpoint(checkpoint: dict, path: Path) -> None:
    """Saves a dict of tensors and plain Python values with an atomic replace; creates the folder if missing.

    Raises OSError if the file cannot be written, for example because the disk is full.
    """
    with atomic_write(path) as file:
        writer = _Writer(file)
        try:
            torch.save(checkpoint, writer)
        except RuntimeError:  # torch's own error does not say why the file could not be written
            if writer.error is not None:
                raise writer.error from None
            raise


class _Writer:
    """A file that remembers why it could not be written."""

    def __init__(self, file: IO) -> None:
        self.file, self.error = file, None

    def write(self, data) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def load_checkpoint(path: Path, kind: str, hint: str, advice: str = "") -> dict:
    """Loads a dict of tensors and plain Python values on the CPU; code in the file is never executed.

    `kind`: the required value of the dict's "kind". `hint`: the command that makes such a file, for error messages.
    `advice`: what to do about a damaged one (by default: make it again with `hint`).
    Raises InputError if the file is missing, damaged, unsafe, or of another kind, or if a number is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: {hint} makes one")
    advice = advice or f"make it again with {hint}"
    with refuse_damaged(path, advice):
        check_zip(path)  # torch.load does not compare the checksums
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        actual = checkpoint.get("kind") if isinstance(checkpoint, dict) else type(checkpoint).__name__
        if actual != kind:
            raise InputError(f"{path} holds {actual!r}, wanted {kind!r}: {hint} makes one")
        if not _is_finite(checkpoint):
            raise InputError(f"{path} holds numbers that are not finite: {advice}")
    return checkpoint


def _is_finite(value: object) -> bool:
    """Whether all tensors in a nested structure of dicts and sequences are finite."""
    if isinstance(value, dict):
        return all(_is_finite(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_finite(item) for item in value)
    return not isinstance(value, torch.Tensor) or bool(torch.isfinite(value).all())


def exclusive_run(main: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """Decorator of a training script's `main(args)`: no other process can write to `args.output_dir` meanwhile.

    The decorated function raises InputError if another process does.
    """

    @wraps(main)
    def locked(args: argparse.Namespace) -> None:
        # Of the processes that torchrun has started, only the first one writes.
        with locked_folder(args.output_dir) if os.environ.get("RANK", "0") == "0" else nullcontext():
            try:
                main(args)
            except KeyboardInterrupt:
                if (Path(args.output_dir) / "last.pt").exists():
                    raise
                sys.exit("interrupted before anything was saved: begin again with the same command")

    return locked


def load_resume_state(
    run_dir: Path, kind: str, resume: bool, must_match: Dict[str, object]
) -> Optional[dict]:
    """The checkpoint last.pt of the run in `run_dir` to continue from, or None for a new run.

    `must_match`: by option name, the settings that must be the same as when the run began; last.pt stores them under
    the same key. Raises InputError if a setting differs, or if a new run would overwrite an existing one.
    """
    path = Path(run_dir) / "last.pt"
    if not resume:
        if path.exists():
            raise InputError(
                f"{run_dir} already contains a run: continue it with --resume, or choose another --output-dir"
            )
        return None
    last = load_checkpoint(path, kind, "the same command without --resume", NEW_RUN)
    if not isinstance(last.get("must_match"), dict):
        raise InputError(f"{path} was written by an older version: {NEW_RUN}")
    saved = last["must_match"]
    for option, value in must_match.items():
        if option not in saved and value is not None:  # runs made before the option existed equal None
            raise InputError(f"{path} was written by an older version, without {option}: {NEW_RUN}")
        if saved.get(option) != value:
            raise InputError(
                f"the run in {run_dir} began with {option} {saved[option]}: resume it with the same"
            )
    return last


@lru_cache(maxsize=None)
def cpu_bfloat16_is_fast() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32, decided by its model so that it never varies by run.

    The instructions alone are not enough. Fast are CPUs with AMX, and non-Intel cores, whose AVX-512 computes two
    bfloat16 products in the time of one float32 product. Intel cores without AMX were measured at 0.6 times the speed
    of float32. PyTorch without oneDNN (for example on Apple silicon) has no fast bfloat16 either.
    """
    is_supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    if is_supported is None or not torch.backends.mkldnn.is_available() or not is_supported():
        return False
    cpuinfo = Path("/proc/cpuinfo")
    description = platform.processor() + (cpuinfo.read_text()[:10_000] if cpuinfo.exists() else "")
    return "GenuineIntel" not in description or "amx_bf16" in description


def autocast(device: torch.device) -> torch.autocast:
    """Context manager of bfloat16 mixed precision if the device is fast at it; else it has no effect (float32)."""
    cuda = device.type == "cuda"
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else cpu_bfloat16_is_fast()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)


def rng_state() -> Dict[str, torch.Tensor]:
    """State of PyTorch's global generators. All other randomness comes from explicit generators."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_rng_state(state: Dict[str, torch.Tensor]) -> None:
    """Restores what `rng_state` returned."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


class MetricsLog:
    """Writes a run's metrics, one row per epoch, to TensorBoard files and to `metrics.csv` in the run's folder."""

    def __init__(self, run_dir: Path, resume_step: Optional[int] = None) -> None:
        """`resume_step`: keep earlier rows up to this step; None: start a new log."""
        from tensorboardX import SummaryWriter

        self.path = Path(run_dir) / "metrics.csv"
        self.rows = []
        if resume_step is not None and self.path.exists():
            self.rows, num_damaged = read_metrics(self.path)
            self.rows = [row for row in self.rows if int(row["step"]) <= resume_step]
            if num_damaged:
                backup = self.path.with_name("metrics.damaged.csv")
                shutil.copyfile(self.path, backup)
                print(f"{self.path}: {num_damaged} damaged lines are left out; the old file is {backup}")
        self.writer = SummaryWriter(str(run_dir), purge_step=None if resume_step is None else resume_step + 1)

    def write(self, step: int, metrics: Dict[str, float]) -> None:
        """Appends one row. `metrics`: values by name; a new name adds a column that is empty in earlier rows."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()
        self.rows.append({"step": step, **{name: f"{value:.6g}" for name, value in metrics.items()}})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_write(self.path, "w", newline="") as file:
            table = csv.DictWriter(file, names)
            table.writeheader()
            table.writerows(self.rows)


def read_metrics(path: Path) -> Tuple[List[Dict[str, str]], int]:
    """The valid rows of a metrics.csv, by column name, and the number of lines that are damaged.

    A valid row has the columns of the first line, a whole number as step, and numbers or nothing in the others.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    names = lines[0].split(",") if lines else []
    is_header = "step" in names and len(set(names)) == len(names) and "".join(names).isprintable()
    if not is_header or "\ufffd" in lines[0]:
        return [], len(lines)
    rows = [
        dict(zip(names, cells))
        for cells in (line.split(",") for line in lines[1:])
        if len(cells) == len(names)
    ]
    rows = [row for row in rows if _is_metrics_row(row)]
    return rows, len(lines) - 1 - len(rows)


def _is_metrics_row(row: Dict[str, str]) -> bool:
    try:
        [float(cell) for cell in row.values() if cell]
    except ValueError:
        return False
    return row["step"].isdecimal() and row["step"].isascii() and len(row["step"]) <= 18
