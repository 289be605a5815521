"""Tries a game in a process of its own: damaged integration files and savestates can crash the emulator, or never
return from a Lua script, which no exception can report."""

import multiprocessing
import sys
from contextlib import suppress
from typing import Any, Callable

from player.common.errors import InputError

TRIAL_SECONDS = 20.0
TRIAL_STEPS = 3


def try_game(name: str, make: Callable[..., Any]) -> None:
    """Opens the environment of `make`, a RetroGame, and plays some steps in another process.

    Raises InputError if that process crashes, or does not end within TRIAL_SECONDS. Errors that the emulator reports
    are ignored: they are raised again when the game is opened in earnest.
    """
    method = "fork" if sys.platform.startswith("linux") else None  # a few milliseconds; elsewhere the default
    process = multiprocessing.get_context(method).Process(target=play, args=(make,))
    process.start()
    process.join(TRIAL_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise InputError(f"{name}: the emulator does not answer: check its scenario, script and savestate")
    if process.exitcode < 0:
        raise InputError(
            f"{name}: the emulator crashes (signal {-process.exitcode}): check the files of its integration"
        )


def play(make: Callable[..., Any]) -> None:
    """Runs in the other process."""
    with suppress(Exception):
        env = make(frame_skip=4)
        env.reset()
        for _ in range(TRIAL_STEPS):
            env.step(0)
        env.close()
