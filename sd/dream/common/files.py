"""Files that are replaced in one step: a crash or a full disk leaves the old file or the new one, never a part.

ppo/player/common/files.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator, Optional


@contextmanager
def atomic_write(path: Path, mode: str = "wb", newline: Optional[str] = None) -> Iterator[IO]:
    """`with atomic_write(path) as file: file.write(...)`: writes `path` completely or not at all.

    The data goes to a temporary file `<name>.writing` in the same folder (created if missing), is flushed to the disk
    and then replaces `path`. If the block raises, the temporary file is removed and `path` stays as it was.

    `mode` and `newline` are those of `open`. Raises OSError if the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp_path = path.with_name(path.name + ".writing")
    try:
        with open(tmp_path, mode, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(tmp_path, path)
    finally:
        if tmp_path.exists():
            tmp_path.unlink()
