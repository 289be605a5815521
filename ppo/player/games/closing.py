"""Closes an environment within a time limit: one that waits for its server, for example, may never return."""

import signal
import threading
from contextlib import contextmanager
from typing import Any, Iterator

CLOSE_SECONDS = 10.0  # as long as worker processes have for it


def close_in_time(env: Any, seconds: float = CLOSE_SECONDS) -> None:
    """Calls `env.close()`. Raises TimeoutError after `seconds`, and whatever it raises.

    In the main thread, where signals can interrupt it, it runs in this thread: a graphics context belongs to one
    thread. Otherwise, as on Windows, in another one, which does not keep the process from ending.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        with _alarm_after(seconds):
            env.close()
        return
    problems = []

    def close() -> None:
        try:
            env.close()
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=close, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(_message(seconds))
    if problems:
        raise problems[0]


@contextmanager
def _alarm_after(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the body after `seconds`."""

    def stop(*_: Any) -> None:
        raise TimeoutError(_message(seconds))

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous if previous is not None else signal.SIG_DFL)


def _message(seconds: float) -> str:
    return f"its close() has not returned in {seconds:g} s"
