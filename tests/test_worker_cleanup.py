"""Environments with processes behind them: nothing lives on after a run, whichever way it ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import record_trajectories

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

PPO = Path(record_trajectories.__file__).parent
# An environment that starts a process and ends it only in close(), as ViZDoom, Unity or CARLA do.
ENVIRONMENT = """
import multiprocessing, os, subprocess, sys, time
import gymnasium
import numpy as np

class Behind(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)

    def __init__(self, render_mode=None, fault="", log=os.environ.get("CHILD_LOG")):
        in_worker = multiprocessing.parent_process() is not None
        self.fault, self.log, self.t = fault if in_worker else "", log, 0
        self.child = subprocess.Popen(["sleep", "1000"])  # inherits stdout, as a game does
        if fault == "multiprocessing":
            multiprocessing.Process(target=time.sleep, args=(1000,), daemon=True).start()
        self.write(f"started {self.child.pid}")

    def write(self, line):
        with open(self.log, "a") as file:
            file.write(line + "\\n")

    def reset(self, seed=None, options=None):
        return self.render(), {}

    def step(self, action):
        self.t += 1
        if self.t > 2 and self.fault == "error":
            raise ValueError("broken")
        if self.t == 3 and self.fault == "dies after a fork":
            if os.fork() == 0:  # as some games start theirs: it holds all that the worker has opened
                time.sleep(1000)
            os._exit(3)
        if self.t > 2 and self.fault == "hangs in step":
            self.write("hangs")
            time.sleep(1000)
        return self.render(), 0.0, False, False, {}

    def render(self):
        return np.full((64, 64, 3), self.t % 256, np.uint8)

    def close(self):
        if self.fault == "hangs in close":
            time.sleep(1000)
        if self.fault == "fails in close":
            raise ValueError("cannot be closed")
        if self.fault != "forgets":
            self.child.terminate()
            self.child.wait()
        self.write(f"closed {self.child.pid}")

gymnasium.register("Behind-v0", Behind)
"""
RUN = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
from player.envs import vector_env, worker_exit
from behind import Behind
if __name__ == "__main__":
    worker_exit.CLOSE_SECONDS = worker_exit.TERMINATE_SECONDS = 0.5
    envs = vector_env.SharedVectorEnv([lambda: Behind(fault=sys.argv[1])] * 2, 0, 2)
    try:
        envs.reset(seed=0)
        print("running", flush=True)
        for _ in range(int(sys.argv[2])):
            envs.step(np.zeros(2, np.int64))
    finally:
        if sys.argv[3] == "close":
            envs.close()
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """start(fault, steps, close) -> the running process, and a function that returns the lines of the log."""
    log = tmp_path / "log.txt"
    log.touch()
    monkeypatch.setenv("CHILD_LOG", str(log))
    (tmp_path / "behind.py").write_text(ENVIRONMENT)
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(RUN).format(paths=[str(PPO), str(tmp_path)]))

    def run(fault, steps, end="close"):
        command = [sys.executable, str(script), fault, str(steps), end]
        # As of a terminal: a process group of its own that gets Ctrl-C. Its output is read to its end, by everybody.
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ), lambda: [line.split() for line in log.read_text().splitlines()]

    return run


def living_children(lines) -> list[str]:
    """Ids of started processes that still run; a killed one may need a moment to go."""
    deadline = time.monotonic() + 20
    while True:
        alive = [line[1] for line in lines if line[0] == "started" and is_alive(line[1])]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.02)


def is_alive(pid: str) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("end", ["close", "exit"])
@pytest.mark.parametrize("fault", ["none", "error", "multiprocessing"])
def test_environments_are_closed_before_the_workers_end(start, fault, end):
    """Also if nobody calls close(), and after an exception in a step."""
    process, log = start(fault, 5, end)
    _, errors = process.communicate(timeout=600)  # ends only when nobody holds the pipe any more
    assert process.returncode == (1 if fault == "error" else 0), errors
    lines = log()
    started, closed = ({line[1] for line in lines if line[0] == word} for word in ("started", "closed"))
    assert len(started) == 3 and started == closed  # one to read its spaces, and two
    assert not living_children(lines)


def test_a_dead_worker_is_replaced_although_a_process_that_it_forked_holds_its_pipe(start):
    process, log = start("dies after a fork", 4)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert errors.count("a worker process has ended (exit code 3): its games are restarted") == 2
    assert not living_children(log())


@pytest.mark.parametrize("fault", ["hangs in close", "fails in close", "forgets"])
def test_what_is_not_closed_is_killed_with_its_worker(start, fault):
    process, log = start(fault, 0)
    _, errors = process.communicate(timeout=600)
    lines = log()
    assert process.returncode == 0 and len(lines) >= 4 and not living_children(lines)
    assert ("cannot be closed" in errors) == (fault == "fails in close")


def test_ctrl_c_in_a_step_closes_everything(start):
    """The terminal sends it to the whole process group; the workers are not in it."""
    process, log = start("none", 10**9)
    assert process.stdout.readline() == "running\n"
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert "KeyboardInterrupt" in errors and errors.count("Traceback") == 1
    lines = log()
    assert len([line for line in lines if line[0] == "closed"]) == 3 and not living_children(lines)


def test_a_step_that_does_not_return_is_ended_and_its_environment_closed(start):
    process, log = start("hangs in step", 10**9)
    while sum(line == ["hangs"] for line in log()) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=600)
    lines = log()
    assert len([line for line in lines if line[0] == "closed"]) == 3 and not living_children(lines)


def test_a_killed_parent_leaves_nothing(start):
    process, log = start("none", 10**9)
    assert process.stdout.readline() == "running\n"
    process.kill()
    process.communicate(timeout=600)
    assert not living_children(log())


@pytest.mark.slow
def test_recording_into_a_pipe_returns(start, tmp_path):
    """`record_trajectories.py ... | tee log` waited for ever for a game that lived on."""
    command = [sys.executable, str(PPO / "record_trajectories.py"), "--game", "behind:Behind-v0", "--game-path",
               str(tmp_path), "--policy", "random", "--frames", "40", "--n-envs", "2", "--output",
               str(tmp_path / "a.npz"), "--game-settings", "fault=forgets"]  # fmt: skip
    start("none", 0)[0].communicate(timeout=600)
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    assert result.returncode == 0, result.stdout
