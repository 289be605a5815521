"""How the workers of SharedVectorEnv end: asked to, by themselves, or killed, and what they leave behind."""

import os
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, List

from player.envs.worker import CLOSE

CLOSE_SECONDS = 10.0  # how long workers may take to close their environments
TERMINATE_SECONDS = 2.0  # how long they may take after SIGTERM, before they are killed
POLL_SECONDS = 0.5  # how often it is checked whether a worker that does not answer still runs


def receive(pipe: Connection, process: Any) -> Any:
    """The next answer of a worker. Raises EOFError if it has ended without one.

    A process that its environments have forked may hold the worker's end of the pipe, and what `process.sentinel`
    waits for: neither of them then says that the worker has ended.
    """
    while not pipe.poll(POLL_SECONDS):
        if not process.is_alive() and not pipe.poll():  # what it has sent before its end is still there
            raise EOFError
    return pipe.recv()


def end_workers(pipes: List[Connection], processes: List[Any], owner: int) -> None:
    """Asks the workers to close their environments and to end; kills those that do not, and what they leave behind.

    They have CLOSE_SECONDS, then TERMINATE_SECONDS after SIGTERM; Ctrl-C kills them at once. `owner`: id of the process
    that started them; in any other one, such as a forked copy, nothing happens.
    """
    if os.getpid() != owner:
        return
    try:
        for pipe in pipes:
            with suppress(OSError, ValueError):  # the worker has died, or the pipe is closed
                pipe.send((CLOSE, None))
        wait_for_workers(pipes, processes, CLOSE_SECONDS)
        for process in processes:
            if process.is_alive():  # a step that does not return, for example
                process.terminate()
        wait_for_workers(pipes, processes, TERMINATE_SECONDS)
    finally:
        late = sum(process.is_alive() for process in processes)
        if late:
            print(f"note: {late} worker processes did not close their games in time: killed", file=sys.stderr)
        for process in processes:
            kill_group(process)
        for pipe, process in zip(pipes, processes):
            pipe.close()
            process.join()


def wait_for_workers(pipes: List[Connection], processes: List[Any], seconds: float) -> None:
    """Returns when all workers have ended, or after `seconds`.

    Answers that they still send, because they were in the middle of a step, are dropped; they would wait otherwise.
    """
    deadline = time.monotonic() + seconds
    open_pipes = [pipe for pipe in pipes if not pipe.closed]
    while True:
        alive = [process.sentinel for process in processes if process.is_alive()]
        remaining = deadline - time.monotonic()
        if not alive or remaining <= 0:
            return
        for ready in wait([*open_pipes, *alive], timeout=min(remaining, POLL_SECONDS)):
            if ready in open_pipes:
                try:
                    ready.recv()
                except Exception:  # the end of the pipe, or an answer that cannot be unpickled
                    open_pipes.remove(ready)


def end_reason(process: Any) -> str:
    """Why a worker has ended without being asked to, by its exit code or signal, and what to do."""
    process.join(TERMINATE_SECONDS)  # it may have closed its pipe just now
    code = process.exitcode
    if code is None:
        return "it has closed its pipe and hangs, a fault of the game: see what it has printed"
    if code >= 0:
        return f"its game has ended the process itself, with exit code {code}: see what it has printed"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return "killed (SIGKILL); out of memory? Start again with fewer environments"
    if name in ("SIGTERM", "SIGINT", "SIGHUP"):
        return f"another program has ended it ({name}): start again"
    return f"its game has crashed ({name}), a fault of the game or its libraries: see what it has printed"


def kill_group(process: Any) -> None:
    """Kills a worker, if it is running, and all processes of its group, which its environments have started."""
    if process.is_alive():
        process.kill()
    if hasattr(os, "killpg"):
        with suppress(OSError):  # nothing is left, as a rule
            if process.pid != os.getpgrp():
                os.killpg(process.pid, signal.SIGKILL)
