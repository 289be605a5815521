"""Files that are replaced in one step: a crash or a full disk leaves the old file or the new one, never a part.

ppo/player/common/files.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import os
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Iterator, Optional


@contextmanager
def atomic_write(path: Path, mode: str = "wb", newline: Optional[str] = None) -> Iterator[IO]:
    """`with atomic_write(path) as file: file.write(...)`: writes `path` completely or not at all.

    The data goes to a temporary file `<name>.<process id>.writing` in the same folder (created if missing), is flushed
    to the disk and then replaces `path`. If the block raises, the temporary file is removed and `path` stays as it was.
    Several processes may write the same file at the same time; the last one to finish wins.

    `mode` and `newline` are those of `open`. Raises OSError if the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    tmp_path = path.with_name(f"{path.name}.{os.getpid()}.writing")
    try:
        with open(tmp_path, mode, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(tmp_path, path)
    finally:
        with suppress(OSError):
            tmp_path.unlink()


def _remove_leftovers(path: Path) -> None:
    """Removes the temporary files of `path` whose process was killed while it wrote them."""
    for tmp_path in path.parent.glob(escape(path.name) + ".*.writing"):
        process_id = tmp_path.name[len(path.name) + 1 : -len(".writing")]
        if process_id.isdecimal() and not _is_running(int(process_id)):
            with suppress(OSError):
                tmp_path.unlink()


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
