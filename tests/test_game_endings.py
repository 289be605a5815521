"""Games whose close() does not return, that leave threads behind, or that end their process."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from player.envs import worker_exit
from player.envs.vector_env import SharedVectorEnv
from player.games.closing import close_in_time

ROOT = Path(__file__).resolve().parent.parent


class Slow:
    def __init__(self, seconds):
        self.seconds = seconds

    def close(self):
        time.sleep(self.seconds)


def test_closing_has_a_time_limit():
    with pytest.raises(TimeoutError, match=r"has not returned in 0.1 s"):
        close_in_time(Slow(100), 0.1)
    close_in_time(Slow(0), 10)


def test_closing_has_a_time_limit_where_signals_cannot_interrupt(monkeypatch):
    from player.games import closing

    monkeypatch.setattr(closing, "signal", SimpleNamespace())
    with pytest.raises(TimeoutError, match=r"has not returned in 0.1 s"):
        close_in_time(Slow(5), 0.1)


@pytest.mark.parametrize("side", ["ppo/player", "sd/dream"])
@pytest.mark.parametrize(
    ("end", "code", "output"),
    [
        ("print('done')", 0, "done"),
        ("raise errors.InputError('wrong')", 1, "error: wrong"),
        ("raise KeyError('x')", 1, "KeyError"),
        ("sys.exit(3)", 3, ""),
    ],
)
def test_a_script_ends_although_a_thread_is_left(side, end, code, output):
    folder, package = side.split("/")
    program = f"""
        import sys, threading, time
        sys.path.insert(0, {str(ROOT / folder)!r})
        from {package}.common import errors
        errors.THREAD_SECONDS = 0.1
        def main():
            threading.Thread(target=time.sleep, args=(10**6,)).start()
            {end}
        errors.run_script(main)
        """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=100)  # fmt: skip
    assert result.returncode == code and output in result.stdout


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, "exit code 0"),
        (1, "exit code 1"),
        (-6, "SIGABRT"),
        (-11, "SIGSEGV"),
        (-9, "out of memory"),
        (-15, "another program"),
        (None, "hangs"),
    ],
)
def test_the_reason_of_a_workers_end_follows_its_exit_code(code, reason):
    text = worker_exit.end_reason(SimpleNamespace(exitcode=code, join=lambda seconds: None))
    assert reason in text and ("memory" in text) == (code == -9)


def exits():
    raise SystemExit("licence expired")


def test_the_text_of_sys_exit_in_a_game_is_reported():
    import gymnasium
    import numpy as np
    from player.common.errors import InputError

    spaces = gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8), gymnasium.spaces.Discrete(2)
    envs = SharedVectorEnv([exits], spaces=spaces)
    try:
        with pytest.raises(InputError, match="licence expired"):
            envs.reset()
    finally:
        envs.close()
