"""Progress in a log file or a pipe: plain lines, few of them."""

import io
import sys
import time

import pytest
from dream.common import progress
from dream.common.progress import progress_bar, waiting


def log_of(monkeypatch) -> io.StringIO:
    """What a test writes to stderr; pytest replaces sys.stderr between a fixture and the test."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_bar_in_a_log_is_a_few_lines(monkeypatch):
    """tqdm itself writes each state with a carriage return, thousands of them in one line."""
    log = log_of(monkeypatch)
    for _ in progress_bar(range(100_000), desc="encoding", unit="frame"):
        pass
    lines = log.getvalue().splitlines()
    assert 1 <= len(lines) <= 3 and all(line.startswith("encoding: ") for line in lines)
    assert "100000/100000" in lines[-1] and "\r" not in log.getvalue()


def test_a_passing_bar_leaves_nothing_in_a_log(monkeypatch):
    log = log_of(monkeypatch)
    outer = progress_bar(total=1, desc="training")
    for _ in progress_bar(range(1000), leave=False):
        pass
    outer.close()
    assert all(line.startswith("training") for line in log.getvalue().splitlines())


def test_work_without_steps_counts_seconds(monkeypatch):
    log = log_of(monkeypatch)
    monkeypatch.setattr(progress, "LOG_S", 0.01)
    with waiting("exporting"):
        while "exporting: 0 s\n" not in log.getvalue():
            time.sleep(0.01)
    length = len(log.getvalue())
    time.sleep(0.05)
    assert len(log.getvalue()) == length, "nothing is written after the block"


def test_a_terminal_is_left_clean(monkeypatch):
    log = log_of(monkeypatch)
    monkeypatch.setattr(log, "isatty", lambda: True, raising=False)
    with pytest.raises(ValueError), waiting("exporting"):
        raise ValueError
    assert log.getvalue().endswith("\r")
