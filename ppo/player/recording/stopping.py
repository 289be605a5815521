"""When a recorder stops before it has all its frames: Ctrl-C, or the end of its time."""

import signal
import threading
import time
from typing import Any, Optional

MIN_STEPS = 16  # that are recorded however little time there is: sd/ needs rows of five
PACKING_FACTOR = 1.2  # packing a recording takes about as long as writing its parts


class StopCondition:
    """`with StopCondition(...) as stop: while not stop.is_due(t): ...` finishes the step it is in when Ctrl-C comes.

    The first Ctrl-C sets `interrupted`; a second one raises KeyboardInterrupt, in case the step never ends.
    """

    def __init__(self, started: float, max_seconds: Optional[float] = None) -> None:
        """`started`: the time.perf_counter() from which `max_seconds` count, packing included; None: no limit."""
        self.deadline = None if max_seconds is None else started + max_seconds
        self.interrupted = False
        self.writing_s = 0.0  # seconds that were spent on writing parts; the caller adds them

    def __enter__(self) -> "StopCondition":
        self.handler: Any = signal.getsignal(signal.SIGINT)
        # Elsewhere than in the main thread no handler can be set; a process that ignores Ctrl-C goes on ignoring it.
        self.is_set = (
            threading.current_thread() is threading.main_thread() and self.handler is not signal.SIG_IGN
        )
        if self.is_set:
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.is_set:
            signal.signal(signal.SIGINT, self.handler)

    def _interrupt(self, *_: Any) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def is_due(self, num_steps: int) -> bool:
        """Whether to stop now, after `num_steps` steps."""
        if self.interrupted or self.deadline is None:
            return self.interrupted
        is_late = time.perf_counter() + PACKING_FACTOR * self.writing_s > self.deadline
        return is_late and num_steps >= MIN_STEPS
