"""Error reporting of the scripts: one clear line on stderr and a non-zero exit code.

sd/dream/common/errors.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import errno
import os
import sys
from typing import Callable


class InputError(ValueError):
    """Input from the user (a file, an option) cannot be used. The message says what was found and what to do."""


def run_script(main: Callable[[], None]) -> None:
    """Calls `main`. Errors that a user can cause end the process with one line on stderr and a non-zero exit code."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(
            "interrupted: everything saved so far is kept. A training run continues with the same command and "
            "--resume; one that had not finished an epoch begins again without --resume"
        )
    except BrokenPipeError:
        # The reader of the output, such as `head`, has closed it; the last flush must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        sys.exit(f"error: {error.filename}: {error.strerror}: choose another path, or correct this one")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(
            f"error: the disk is full ({error.filename or 'while writing'}): free some space and use --resume"
        )
