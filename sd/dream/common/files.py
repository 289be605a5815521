"""Files that are replaced in one step (a crash or a full disk leaves the old file or the new one, never a part), and
folders that one process at a time may write; checksums of zip files.

ppo/player/common/files.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import errno
import os
import zipfile
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Iterator, Optional

from dream.common.errors import InputError

LOCK_NAME = ".lock"


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it. Raises InputError if one of them is a file, OSError if it cannot be made."""
    check_no_file_above(Path(folder) / "any")
    Path(folder).mkdir(parents=True, exist_ok=True)


def check_no_file_above(path: Path) -> None:
    """Raises InputError if `path` cannot be written because one of the folders in it is a file.

    The system calls that "File exists" or "Not a directory", of a path that may be new."""
    above = next((each for each in Path(path).parents if os.path.lexists(str(each))), None)
    if above is not None and above.exists() and not above.is_dir():
        raise InputError(f"{above} is a file, not a folder: choose another path")


@contextmanager
def atomic_write(path: Path, mode: str = "wb", newline: Optional[str] = None) -> Iterator[IO]:
    """`with atomic_write(path) as file: file.write(...)`: writes `path` completely or not at all.

    The data goes to a temporary file `<name>.<process id>.writing` in the same folder (created if missing), is flushed
    to the disk and then replaces `path`. If the block raises, the temporary file is removed and `path` stays as it was.
    Several processes may write the same file at the same time; the last one to finish wins. A symbolic link that
    somebody has put in the place of the temporary file is not followed.

    `mode` and `newline` are those of `open`. Raises OSError if the file cannot be written, InputError as `make_folder`.
    """
    path = Path(path)
    make_folder(path.parent)
    tmp_path = temporary_path(path)
    try:
        with open(tmp_path, mode.replace("w", "x"), newline=newline) as file:  # "x": the file must be new
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(tmp_path, path)
    finally:
        with suppress(OSError):
            tmp_path.unlink()


def temporary_path(path: Path, suffix: str = ".writing") -> Path:
    """`<name>.<process id><suffix>` next to `path`, for a file that will replace it; no other process uses it.

    Removes those of processes that were killed, and whatever is in the place of the returned one.
    """
    for tmp_path in path.parent.glob(f"{escape(path.name)}.*{escape(suffix)}"):
        process_id = tmp_path.name[len(path.name) + 1 : -len(suffix)]
        is_own = process_id == str(os.getpid())  # of an earlier process with the same number, or a link
        if process_id.isdecimal() and (is_own or not _is_running(int(process_id))):
            with suppress(OSError):
                tmp_path.unlink()
    return path.with_name(f"{path.name}.{os.getpid()}{suffix}")


def _is_running(process_id: int) -> bool:
    if os.name == "nt":  # there os.kill would end the process, and a file in use cannot be removed anyway
        return False
    try:
        os.kill(process_id, 0)  # signal 0 is not sent; it only checks whether the process exists
    except PermissionError:  # it exists and belongs to another user
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """`with locked_folder(run_dir): ...`: no other process can enter such a block for the same folder meanwhile.

    Creates the folder if it is missing; an empty folder is removed at the end. The lock ends with the process, however
    that ends. Raises InputError if another process holds it.
    """
    folder = Path(folder)
    make_folder(folder)
    path = folder / LOCK_NAME

    def remove() -> None:
        with suppress(OSError):
            path.unlink()
            folder.rmdir()

    try:
        with open(path, "a") as file:
            # The file may have been removed by the process that held the lock when this one opened it.
            if not (_lock(file) and path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
                raise InputError(
                    f"another process is writing to {folder}: wait for its end, or choose another folder"
                )
            try:
                yield
            finally:
                if os.name != "nt":  # while it is locked
                    remove()
    finally:
        if os.name == "nt":  # an open file cannot be removed there
            remove()


def check_zip(path: Path) -> None:
    """Compares the checksums of all members of a zip file. Raises BadZipFile where they differ, or if it is no zip."""
    with zipfile.ZipFile(str(path)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {damaged}")


def _lock(file: IO) -> bool:
    """Locks an open file for this process alone (its children do not hold the lock); False if another one holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # others: no locks on this disk
    return True
