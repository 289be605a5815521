"""What a script does before its `main`: it reports an old Python, a package that is missing, and Ctrl-C while packages
load, and notes the time. Also the commands that a script prints for the user to type.

Importing the package calls `report_startup_errors`, so a script imports it before any other package. It runs on Python
3.6 and newer; an older one cannot read it.
sd/dream/common/startup.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from typing import NoReturn, Tuple

from player.common.errors import shorten

SIDE = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)  # the folder of the scripts
ROOT = os.path.dirname(SIDE)
VENV = os.path.join(ROOT, ".venv")
IMPORTED_S = time.monotonic()  # the package imports this module before PyTorch, which takes seconds
LOADING = "loading packages ..."


class ArgumentParser(argparse.ArgumentParser):
    """Reports an invalid option in one line; argparse's own report begins with the usage, eight lines and more."""

    def __init__(self, *args: object, **options: object) -> None:
        clear_loading_line()
        super().__init__(*args, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {shorten(message, 250)} (see {self.prog} --help)\n")


def report_startup_errors(min_python: Tuple[int, int]) -> None:
    """If a script of this side runs: reports failed imports and Ctrl-C before its `main` in one line, and ends it if
    Python is older than `min_python`."""
    if not is_script():
        return
    sys.excepthook = print_error
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as by nohup
        signal.signal(signal.SIGINT, _interrupted)  # until `run_script`
    for stream in (sys.stdout, sys.stderr):  # a file name or key that the terminal's encoding lacks
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if sys.version_info[:2] < min_python:
        wanted, found = ".".join(map(str, min_python)), ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"error: this needs Python {wanted} or newer, and {sys.executable} is {found}: {install_advice()}"
        )
    if sys.stderr.isatty():
        sys.stderr.write(LOADING)
        sys.stderr.flush()


def is_script() -> bool:
    """Whether a script of this side runs; else the package is imported by another program or a worker process."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return main is not None and os.path.dirname(os.path.abspath(main)) == SIDE


def clear_loading_line() -> None:
    """Removes the line that a terminal shows while packages load."""
    if is_script() and sys.stderr.isatty():
        sys.stderr.write("\r" + " " * len(LOADING) + "\r")
        sys.stderr.flush()


def script_began() -> float:
    """`time.monotonic()` when the script began, before its packages were loaded; the time now, if its `main` is called
    by another program."""
    return IMPORTED_S if is_script() else time.monotonic()


def _interrupted(*_: object) -> None:
    """Handles Ctrl-C while packages load: a KeyboardInterrupt can abort the process inside of PyTorch's import."""
    os.write(2, b"interrupted\n")
    os._exit(128 + signal.SIGINT)


def print_error(kind: type, problem: BaseException, traceback: object) -> None:
    """Replaces sys.excepthook: one line for what the user can mend, the traceback for everything else."""
    own = ("dream", "player", *(name[:-3] for name in os.listdir(SIDE) if name.endswith(".py")))
    name = (getattr(problem, "name", None) or "").split(".")[0]
    clear_loading_line()
    if isinstance(problem, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif isinstance(problem, ModuleNotFoundError) and name and name not in own:
        print(f"error: {sys.executable} has no package {name}: {install_advice()}", file=sys.stderr)
    elif isinstance(problem, ImportError) and name not in own:  # a library of a package is missing or too old
        reason = shorten(problem, 160)
        print(f"error: {name or 'a package'} cannot be loaded here ({reason})", file=sys.stderr)
    else:
        sys.__excepthook__(kind, problem, traceback)


def install_advice() -> str:
    """What to do about a Python without the packages, or too old a one."""
    python = os.path.join(".venv", "Scripts" if os.name == "nt" else "bin", "python")
    if os.path.exists(os.path.join(ROOT, python)) and os.path.abspath(sys.prefix) != VENV:
        script = os.path.join(os.path.basename(SIDE), os.path.basename(sys.argv[0]))
        return "use " + join_command(
            [shown_path(os.path.join(ROOT, python)), shown_path(os.path.join(ROOT, script))]
        )
    return "make setup installs all (see README.md)"


def command_line(script: str, *options: object) -> str:
    """A command for the user to type: the running Python, a script such as "sd/play_sd.py", and options."""
    python, name = sys.executable, os.path.basename(sys.executable)
    python = name if shutil.which(name) == python else shown_path(python)
    return join_command([python, shown_path(os.path.join(ROOT, *script.split("/"))), *map(str, options)])


def pip_install(packages: str) -> str:
    """The command that installs packages, as pip names them, for the running Python."""
    return f"{shown_path(sys.executable)} -m pip install {packages}"


def join_command(words: list) -> str:
    """A command as it is typed here, with quotes where they are needed."""
    return subprocess.list2cmdline(words) if os.name == "nt" else " ".join(map(shlex.quote, words))


def shown_path(path: str) -> str:
    """A path relative to the current folder if it is in it, else as it is."""
    folder = os.path.join(os.getcwd(), "")
    return path[len(folder) :] if path.startswith(folder) else path
