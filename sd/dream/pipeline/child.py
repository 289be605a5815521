"""Runs one script as a child process: its output goes to a log file, and the lines that a person needs are returned."""

import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

STOP_SECONDS = 60  # how long a stopped script may take to save what it has
# Lines of progress bars, and advice that the pipeline follows itself.
HIDDEN_LINES = re.compile(r"\d+%\||\d+(step|part|row|frame|it|s)/|^(next|evaluate): |^\s*$")


class Child:
    """A script that runs. `lines`: what it has printed and nobody has taken yet, without progress bars."""

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        self.lines: deque[str] = deque()
        self.last_line = ""
        # A file of the log stays open for one script; the next one appends.
        self.log = open(log_path, "a", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.log.write(f"\n$ {' '.join(command)}\n")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        # In text mode a carriage return, which redraws a progress bar, ends a line too.
        for line in self.process.stdout:
            self.log.write(line)
            self.log.flush()
            line = line.rstrip()
            if not HIDDEN_LINES.search(line):
                self.last_line = line
                self.lines.append(line)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def finish(self) -> int:
        """Waits for its end and returns the exit status; negative: the number of the signal that ended it."""
        status = self.process.wait()
        self.reader.join(STOP_SECONDS)
        self.log.close()
        return status

    def stop(self) -> None:
        """Ends it as Ctrl-C does, so that it saves what it has; after STOP_SECONDS by force."""
        try:
            self.process.wait(STOP_SECONDS)  # on a terminal, Ctrl-C has reached it as well
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.finish()
