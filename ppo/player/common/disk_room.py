"""The room on a disk, asked for before and while a file is written: most video writers do not notice a full disk.

sd/dream/common/disk_room.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import errno
import shutil
from pathlib import Path

from player.common.errors import InputError


class DiskFull(OSError):
    """The disk is full: a frame cannot be recorded, or a recording holds fewer frames than were given to it."""

    def __init__(self, path: Path, message: str = "recording stopped") -> None:
        super().__init__(errno.ENOSPC, "the disk is full: " + message, str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def free_bytes(path: Path) -> int:
    """How many bytes the file `path` may still grow by: the free space of its disk, and the limit of `ulimit -f`."""
    path = Path(path).absolute()
    folder = next(folder for folder in path.parents if folder.exists())
    free = shutil.disk_usage(str(folder)).free
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return free
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit == resource.RLIM_INFINITY:
        return free
    return max(0, min(free, limit - (path.stat().st_size if path.exists() else 0)))


def check_room(path: Path, bytes_needed: float, what: str) -> None:
    """Raises InputError if the disk of `path` has less room. `what`: the content, for the message."""
    free = free_bytes(path)
    if free < bytes_needed:
        raise InputError(
            f"{what} needs about {_size(bytes_needed)} in {path.parent}, {_size(free)} are free: free some space, "
            "record fewer frames, or choose another disk"
        )


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
