"""The size of a recording, and the check that the disk has room for it."""

import shutil
from pathlib import Path

from player.common.errors import InputError


def recording_bytes(num_rows: int, num_steps: int, height: int, width: int) -> int:
    """Bytes of a recording (frames, actions, starts, rewards). While it is packed, the disk holds it twice."""
    return num_rows * num_steps * (3 * height * width + 8 + 1 + 4)


def check_disk_space(run_dir: Path, bytes_needed: int) -> None:
    """Raises InputError if the disk has less free space. A recording needs 2 x `recording_bytes`."""
    folder = Path(run_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(str(folder)).free
    if free < bytes_needed:
        raise InputError(
            f"recording needs {bytes_needed / 1e9:.2f} GB in {run_dir} (parts and packing), {free / 1e9:.2f} GB are "
            "free: record fewer frames (or games, or epochs), or free some space"
        )
