"""Error reporting of the scripts: one clear line on stderr and a non-zero exit code.

sd/dream/common/errors.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import atexit
import errno
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator, Optional, Set

MAX_MESSAGE = 300  # characters
THREAD_SECONDS = 2.0  # how long threads may take to end after the script
# errno of the OSErrors that damaged content causes: wrong sizes and positions.
DAMAGE_ERRNOS = (None, errno.EINVAL, errno.EOVERFLOW)
# What a write on a full disk fails with: no space, a quota, a limit on the size of a file.
DISK_FULL_ERRNOS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


class InputError(ValueError):
    """Input from the user (a file, an option) cannot be used. The message says what was found and what to do.

    It is always one printable line of at most MAX_MESSAGE characters, whatever the file has contributed to it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message, MAX_MESSAGE))


def shorten(text: object, length: int) -> str:
    """One printable line of at most `length` characters: the middle is left out, and other characters become "?"."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
    if len(line) <= length:
        return line
    end = length // 2  # the end of a message says what to do
    return line[: length - end - 5] + " ... " + line[-end:]


def first_line(problem: BaseException, length: int = 160) -> str:
    """The first line of an exception's message, or the name of its type, as `shorten` gives it."""
    lines = str(problem).strip().splitlines()
    return shorten(lines[0] if lines else type(problem).__name__, length)


@contextmanager
def refuse_damaged(path: Path, advice: str) -> Iterator[None]:
    """Turns every exception that reading a damaged file can cause into an InputError that names the file.

    `advice`: what to do, such as "record it again". Errors that are not about the content (PermissionError, a full
    disk, a GPU without memory ...) and KeyboardInterrupt pass through.
    """
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"{path} does not fit in memory: it is damaged, or too large for this machine"
        ) from None
    except Exception as error:
        if (isinstance(error, OSError) and error.errno not in DAMAGE_ERRNOS) or _is_gpu_error(error):
            raise
        reason = shorten(error, 100) or type(error).__name__
        raise InputError(f"{path} is damaged or of another kind ({reason}): {advice}") from None


def _is_gpu_error(error: Exception) -> bool:
    """Whether PyTorch reports an error of the GPU; this module does not import PyTorch."""
    return type(error).__name__ in ("OutOfMemoryError", "AcceleratorError") or "CUDA error" in str(error)


def run_script(main: Callable[[], None], can_resume: bool = False) -> None:
    """Calls `main`. Errors that a user can cause end the process with one line on stderr and a non-zero exit code.

    `can_resume`: whether the script has --resume, for the advice in the message.
    """
    before = set(threading.enumerate())
    try:
        _report_errors(main, can_resume)
    except BaseException as problem:
        _end_despite_threads(problem, before)
        raise
    _end_despite_threads(None, before)


def _end_despite_threads(problem: Optional[BaseException], before: Set[threading.Thread]) -> None:
    """Ends the process if `main` has left threads, such as those of a game, for which Python would wait without end.

    `problem`: why `main` has ended; None: it has returned. `before`: the threads that it has found.
    """
    left = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in left:
        thread.join(THREAD_SECONDS / len(left))
    if not any(thread.is_alive() for thread in left):
        return
    code = problem.code if isinstance(problem, SystemExit) else problem and 1
    if isinstance(problem, SystemExit) and code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    elif problem is not None and not isinstance(problem, SystemExit):
        sys.excepthook(type(problem), problem, problem.__traceback__)
    atexit._run_exitfuncs()  # as at a usual end: worker processes are ended, for example
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code or 0)


def _report_errors(main: Callable[[], None], can_resume: bool) -> None:
    """Calls `main` and turns errors that a user can cause into SystemExit with one line."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # in place of the one that startup.py sets
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        kept = ": finished epochs are kept; continue with the same command and --resume" if can_resume else ""
        sys.exit("interrupted" + kept)
    except BrokenPipeError:
        # The reader of the output, such as `head`, has closed it; the last flush must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        place = shorten(error.filename or "while reading or writing", 200)
        if error.errno in DISK_FULL_ERRNOS:
            again = "use --resume" if can_resume else "run the command again"
            sys.exit(f"error: the disk is full ({place}): free some space and {again}")
        reason = shorten(error.strerror or error, 100)
        sys.exit(f"error: {place}: {reason}: choose another path, or correct this one")
    except MemoryError:
        sys.exit("error: out of memory: close other programs, or use smaller sizes and batches")
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch.cuda's
            raise
        sys.exit("error: the GPU is out of memory: close other programs, or use smaller batches")
