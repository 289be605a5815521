"""A run's folder: the device, seeds, atomic checkpoints, metrics.

The same lines stand in ppo/player/common/runs.py; the two sides share no Python, and a test keeps them equal.
"""

import csv
import os
import platform
import random
from functools import lru_cache
from pathlib import Path
from typing import Dict, Optional

import numpy as np
import torch

from dream.common.errors import InputError


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as a device. Raises BadInput where cuda was asked for and is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda, but torch sees no CUDA device here: use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def save_checkpoint(checkpoint: dict, path: Path) -> None:
    """Writes aside, flushes to the disk, then replaces: a crash leaves the old file or the new one, whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".writing")
    try:
        with open(aside, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        if aside.exists():
            aside.unlink()


def load_checkpoint(path: Path, kind: str, hint: str) -> dict:
    """One dict of tensors and plain Python; nothing in it is ever unpickled into code.

    Raises BadInput where the file is missing, damaged, unsafe, or holds another kind of model.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: {hint} makes one")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as problem:  # torch raises many types here (zip, pickle, EOF): all mean the same to the user
        raise InputError(
            f"{path} cannot be read as a checkpoint ({type(problem).__name__}); make it anew: {hint}"
        ) from None
    found = checkpoint.get("kind") if isinstance(checkpoint, dict) else type(checkpoint).__name__
    if found != kind:
        raise InputError(f"{path} holds {found!r}, wanted {kind!r}: {hint} makes one")
    return checkpoint


def load_resume_state(run_dir: Path, kind: str, resume: bool, fixed: Dict[str, object]) -> Optional[dict]:
    """The run in the folder to go on with, or None for a new one; a run that stands there is never written over.

    `fixed`: by flag, what must be as it was when the run began; it is kept in last.pt. Raises BadInput.
    """
    path = Path(run_dir) / "last.pt"
    if not resume:
        if path.exists():
            raise InputError(
                f"a run stands in {run_dir}: go on with --resume, or choose another --output-dir"
            )
        return None
    last = load_checkpoint(path, kind, "the same command without --resume")
    for flag, value in fixed.items():
        if flag not in last["fixed"] and value is not None:  # None is what a run of before had
            raise InputError(f"the run in {run_dir} is of an older version, without {flag}: begin another")
        if last["fixed"].get(flag) != value:
            raise InputError(
                f"the run in {run_dir} began with {flag} {last['fixed'][flag]}: resume it with the same"
            )
    return last


@lru_cache(maxsize=None)
def cpu_bfloat16_is_fast() -> bool:
    """Does this CPU multiply bfloat16 faster than float32? By what it is, so that every run of a machine answers alike.

    It needs the instructions, and more: AMX, or another maker's cores than Intel's, whose AVX-512 takes two bfloat16
    products in the time of one. Intel's takes more: 0.6 times as fast as float32 on one whose AMX is hidden.
    """
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    linux = Path("/proc/cpuinfo")
    about = platform.processor() + (linux.read_text()[:10_000] if linux.exists() else "")
    return "GenuineIntel" not in about or "amx_bf16" in about


def autocast(device: torch.device) -> torch.autocast:
    """A context of bfloat16 where the machine multiplies it fast, else of float32."""
    cuda = device.type == "cuda"
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else cpu_bfloat16_is_fast()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)


def rng_state() -> Dict[str, torch.Tensor]:
    """The global torch generators. All other randomness goes through explicit generators."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_rng_state(state: Dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


class MetricsLog:
    """Metrics of a run, once an epoch: TensorBoard files and `metrics.csv` in the run's folder."""

    def __init__(self, run_dir: Path, resume_step: Optional[int] = None) -> None:
        """`resume_step`: the step up to which rows of an earlier part of the run are kept; None starts anew."""
        from tensorboardX import SummaryWriter

        self.path = Path(run_dir) / "metrics.csv"
        self.rows = []
        if resume_step is not None and self.path.exists():
            with open(self.path, newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resume_step]
        self.writer = SummaryWriter(str(run_dir), purge_step=None if resume_step is None else resume_step + 1)

    def write(self, step: int, metrics: Dict[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()
        self.rows.append({"step": step, **{name: f"{value:.6g}" for name, value in metrics.items()}})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        aside = self.path.with_name(self.path.name + ".writing")
        with open(aside, "w", newline="") as file:
            table = csv.DictWriter(file, names)
            table.writeheader()
            table.writerows(self.rows)
        os.replace(aside, self.path)
