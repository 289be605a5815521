"""Helpers of a training run: device, seeds, checkpoints, resuming, metrics.

ppo/player/common/runs.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import csv
import platform
import random
from functools import lru_cache
from pathlib import Path
from typing import Dict, Optional

import numpy as np
import torch

from dream.common.errors import InputError
from dream.common.files import atomic_write


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
    """Saves a dict of tensors and plain Python values with an atomic replace; creates the folder if missing."""
    with atomic_write(path) as file:
        torch.save(checkpoint, file)


def load_checkpoint(path: Path, kind: str, hint: str) -> dict:
    """Loads a dict of tensors and plain Python values on the CPU; code in the file is never executed.

    `kind`: the required value of the dict's "kind". `hint`: the command that makes such a file, for error messages.
    Raises InputError if the file is missing, damaged, unsafe, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: {hint} makes one")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types here (zip, pickle, EOF); all mean an unreadable file
        raise InputError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): make it again with {hint}"
        ) from None
    actual = checkpoint.get("kind") if isinstance(checkpoint, dict) else type(checkpoint).__name__
    if actual != kind:
        raise InputError(f"{path} holds {actual!r}, wanted {kind!r}: {hint} makes one")
    return checkpoint


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
    last = load_checkpoint(path, kind, "the same command without --resume")
    if "must_match" not in last:
        raise InputError(f"{path} was written by an older version: start a new run in another --output-dir")
    saved = last["must_match"]
    for option, value in must_match.items():
        if option not in saved and value is not None:  # runs made before the option existed equal None
            raise InputError(
                f"{path} was written by an older version, without {option}: start a new run in another --output-dir"
            )
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
            with open(self.path, newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resume_step]
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
