"""Progress on the terminal: bars, and lines that count the seconds of work that has no steps. In a log file or a pipe
both are plain lines, at most one every LOG_S seconds.

sd/dream/common/progress.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import sys
import threading
import time
from contextlib import contextmanager
from typing import Iterable, Iterator, Optional, TextIO

LOG_S = 10.0  # between lines, where stderr is no terminal


class LineWriter:
    """A text stream on which a bar that redraws itself becomes one line each time."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        text = text.replace("\x1b[A", "").strip()  # "up", of a bar below another
        if text:
            self.stream.write(text + "\n")

    def flush(self) -> None:
        self.stream.flush()


def progress_bar(iterable: Optional[Iterable] = None, **options):
    """A tqdm bar with its options."""
    from tqdm import tqdm  # playing needs no tqdm

    is_passing = options.get("leave") is False  # not shown if it soon ends
    if sys.stderr.isatty():
        settings = {"mininterval": 0.5, "dynamic_ncols": True, "delay": 1 if is_passing else 0}
    else:
        settings = {"file": LineWriter(sys.stderr), "mininterval": LOG_S, "maxinterval": LOG_S, "ncols": 100,
                    "delay": LOG_S if is_passing else 0}  # fmt: skip
    return tqdm(iterable, **{**settings, **options})


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Says what happens in the block and counts its seconds: work that may take more than some seconds in one call."""
    done, began, on_terminal = threading.Event(), time.monotonic(), sys.stderr.isatty()

    def line() -> str:
        return f"{description}: {time.monotonic() - began:.0f} s"

    def count() -> None:
        while not done.wait(1.0 if on_terminal else LOG_S):
            sys.stderr.write(f"\r{line()}" if on_terminal else f"{line()}\n")
            sys.stderr.flush()

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if on_terminal:
            sys.stderr.write("\r" + " " * len(line()) + "\r")
            sys.stderr.flush()
