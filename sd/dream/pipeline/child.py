"""Runs a script as a child process. Its output goes to a log file; warnings and assumptions are shown as well."""

import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from dream.common.startup import join_command

STOP_SECONDS = 600  # how long a stopped script may take to save what it has: a recording of 14 GB is packed
# What a person needs to read while the scripts run; the rest is in the log. Advice to resume is for who runs a script
# alone.
SHOWN_LINES = re.compile(r"^(?!.*--(resume|max-minutes))((warning|note|assumed|chosen)\b|.* are scaled to )")


class Child:
    """A script that runs. `lines`: those of SHOWN_LINES that it has printed and nobody has taken yet."""

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        self.lines: deque[str] = deque()
        self.last_line = ""
        # A file of the log stays open for one script; the next one appends.
        self.log = open(log_path, "a", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.log.write(f"\n$ {join_command([*command])}\n")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C on the terminal reaches it once, by `stop`
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        # In text mode a carriage return, which redraws a progress bar, ends a line too.
        for line in self.process.stdout:
            self.log.write(line)
            self.log.flush()
            line = line.rstrip()
            if line:
                self.last_line = line
            if SHOWN_LINES.search(line):
                self.lines.append(line)

    def take_lines(self) -> list[str]:
        """The new lines that are to be shown."""
        return [self.lines.popleft() for _ in range(len(self.lines))]

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def finish(self) -> int:
        """Waits for its end and returns the exit status; negative: the number of the signal that ended it."""
        status = self.process.wait()
        self.reader.join(STOP_SECONDS)
        self.log.close()
        return status

    def stop(self) -> int:
        """Ends it as Ctrl-C does, so that it saves what it has; by force after STOP_SECONDS or a second Ctrl-C."""
        try:
            if os.name != "nt":  # there Ctrl-C reaches it by itself
                self.process.send_signal(signal.SIGINT)
            self.process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self.process.kill()
        return self.finish()
