"""How the scripts say no: one clear line, and an exit code that is not 0.

The same lines stand in sd/dream/common/errors.py; the two sides share no Python, and a test keeps them equal.
"""

import errno
import os
import sys
from typing import Callable


class InputError(ValueError):
    """What the user gave cannot be used; the message says what was found and what to do."""


def run_script(main: Callable[[], None]) -> None:
    """Runs `main` and turns what a user can cause into one line on stderr and an exit code that is not 0."""
    try:
        main()
    except InputError as problem:
        sys.exit(f"error: {problem}")
    except KeyboardInterrupt:
        sys.exit(
            "interrupted: what was saved by then is kept; a training that has finished an epoch goes on by the same "
            "command with --resume"
        )
    except BrokenPipeError:  # its reader, as `head`, has seen enough; the last flush must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError) as problem:
        sys.exit(f"error: {problem.filename}: {problem.strerror}: choose another path, or mend that one")
    except OSError as problem:
        if problem.errno != errno.ENOSPC:
            raise
        sys.exit(
            f"error: the disk is full ({problem.filename or 'while writing'}): free some space and --resume"
        )
