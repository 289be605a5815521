"""The size of a recording, and the check that the disk has room for it."""

from pathlib import Path

from player.common.disk_room import check_room


def recording_bytes(num_rows: int, num_steps: int, height: int, width: int) -> int:
    """Bytes of a recording (frames, actions, starts, rewards). While it is packed, the disk holds it twice."""
    return num_rows * num_steps * (3 * height * width + 8 + 1 + 4)


def check_disk_space(run_dir: Path, bytes_needed: int) -> None:
    """Raises InputError if the disk has less free space. A recording needs 2 x `recording_bytes`."""
    check_room(Path(run_dir) / "trajectories.npz", bytes_needed, "a recording (its parts and their packing)")
