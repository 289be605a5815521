"""What can go wrong before a script's `main`: an old Python, a package that is missing, Ctrl-C while packages load.

Importing the package calls `report_startup_errors`, so a script imports it before any other package. It runs on Python
3.6 and newer; an older one cannot read it.
ppo/player/common/startup.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import argparse
import os
import signal
import sys
from typing import NoReturn, Tuple

from dream.common.errors import shorten

SIDE = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)  # the folder of the scripts
ROOT = os.path.dirname(SIDE)
VENV = os.path.join(ROOT, ".venv")


class ArgumentParser(argparse.ArgumentParser):
    """Reports an invalid option in one line; argparse's own report begins with the usage, eight lines and more."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {shorten(message, 250)} (see {self.prog} --help)\n")


def report_startup_errors(min_python: Tuple[int, int]) -> None:
    """If a script of this side runs: reports failed imports and Ctrl-C before its `main` in one line, and ends it if
    Python is older than `min_python`."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main is None or os.path.dirname(os.path.abspath(main)) != SIDE:
        return  # imported by another program, or by a worker process
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


def _interrupted(*_: object) -> None:
    """Handles Ctrl-C while packages load: a KeyboardInterrupt can abort the process inside of PyTorch's import."""
    os.write(2, b"interrupted\n")
    os._exit(128 + signal.SIGINT)


def print_error(kind: type, problem: BaseException, traceback: object) -> None:
    """Replaces sys.excepthook: one line for what the user can mend, the traceback for everything else."""
    own = ("dream", "player", *(name[:-3] for name in os.listdir(SIDE) if name.endswith(".py")))
    name = (getattr(problem, "name", None) or "").split(".")[0]
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
    """What to do about a Python without the packages."""
    python = os.path.join(".venv", "Scripts" if os.name == "nt" else "bin", "python")
    if os.path.exists(os.path.join(ROOT, python)) and os.path.abspath(sys.prefix) != VENV:
        script = os.path.join(os.path.basename(SIDE), os.path.basename(sys.argv[0]))
        return f"use {python} {script}"
    return "make setup installs all (see README.md)"
