"""SharedVectorEnv: equality with Gymnasium's vector environments, errors and deaths of workers; benchmark_ppo.py."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import benchmark_ppo
import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from player.common.agent_view import preprocess_frames
from player.common.errors import InputError
from player.envs.vector_env import SharedVectorEnv, make_vector_env
from player.games.registry import find_game


class CounterEnv(gymnasium.Env):
    """A frame shows a number: 0 or 100 + seed after a reset, plus the actions since then.

    An episode ends when its actions sum up to `length`: it terminates and is truncated if that is even, otherwise it is
    only truncated. Action 9 raises an error.
    """

    observation_space = gymnasium.spaces.Box(0, 255, (2, 3, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(10)

    def __init__(self, length):
        self.length, self.saved_state = length, b""

    def reset(self, *, seed=None, options=None):
        self.number = 0 if seed is None else 100 + seed
        return self.frame(), {"truth": np.float32([self.number, self.length])}

    def step(self, action):
        if action == 9:
            raise InputError("9 is not an action")
        self.number += int(action)
        done = self.number % 100 >= self.length
        info = {"truth": np.float32([self.number, 0])}
        return self.frame(), 0.5 * action, done and self.length % 2 == 0, done, info

    def frame(self):
        return np.full((2, 3, 3), self.number, np.uint8)


ENV_FNS = [lambda length=length: CounterEnv(length) for length in (3, 8, 5, 2, 7)]


@pytest.fixture
def make_envs():
    """Makes SharedVectorEnvs of ENV_FNS and closes them at the end of the test."""
    vector_envs = []

    def make(num_processes, context=None):
        vector_envs.append(SharedVectorEnv(ENV_FNS, 2, num_processes, context))
        return vector_envs[-1]

    yield make
    for envs in vector_envs:
        envs.close()


@pytest.mark.parametrize(("num_processes", "context"), [(1, None), (2, None), (5, None), (2, "spawn")])
def test_results_equal_those_of_gymnasium(make_envs, num_processes, context):
    ours = make_envs(num_processes, context)
    theirs = SyncVectorEnv(ENV_FNS, autoreset_mode=AutoresetMode.SAME_STEP)
    assert len(ours.processes) == num_processes and ours.num_envs == 5
    seeds = [7, 6, 5, 4, 3]
    (frames, infos), (expected, _) = ours.reset(seed=seeds), theirs.reset(seed=seeds)
    np.testing.assert_array_equal(frames, expected)
    np.testing.assert_array_equal(infos["truth"], [[107, 3], [106, 8], [105, 5], [104, 2], [103, 7]])
    np.testing.assert_array_equal(infos["views"], preprocess_frames(frames))
    random = np.random.default_rng(0)
    for _ in range(40):
        actions = random.integers(3, size=5)
        *arrays, infos = ours.step(actions)  # frames, rewards, terminated, truncated
        *expected_arrays, expected_infos = theirs.step(actions)
        for array, expected in zip(arrays, expected_arrays, strict=True):
            np.testing.assert_array_equal(array, expected)
        np.testing.assert_array_equal(infos["truth"], np.stack(expected_infos["truth"]))
        np.testing.assert_array_equal(infos["views"], preprocess_frames(expected_arrays[0]))
        assert set(infos["final_obs"]) == set(np.flatnonzero(arrays[2] | arrays[3]))
        for i, frame in infos["final_obs"].items():
            np.testing.assert_array_equal(frame, expected_infos["final_obs"][i])


def test_mode7_kart_is_the_same_in_one_process_and_in_three():
    game, results = find_game("Mode7Kart-v0"), []
    assert game.shares_process
    for num_processes in (1, 3):
        envs = SharedVectorEnv([lambda: game.make(frame_skip=4)] * 3, len(game.truth_names), num_processes)
        envs.reset(seed=[1, 2, 3])
        for action in (1, 1, 4, 5):
            frames, rewards, _, _, infos = envs.step(np.full(3, action))
        results.append((frames.copy(), rewards, infos["truth"]))
        envs.close()
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_attributes_of_all_environments(make_envs):
    envs = make_envs(2)
    envs.set_attr("saved_state", [b"a", b"b", b"c", b"d", b"e"])
    assert envs.get_attr("saved_state") == [b"a", b"b", b"c", b"d", b"e"]
    assert envs.get_attr("length") == [3, 8, 5, 2, 7]


def test_exceptions_of_workers_are_raised(make_envs):
    envs = make_envs(2)
    envs.reset(seed=0)
    with pytest.raises(InputError, match="9 is not an action"):
        envs.step(np.array([0, 0, 0, 9, 0]))
    with pytest.raises(AttributeError, match="no_such"):
        envs.get_attr("no_such")


def test_frames_of_another_size_are_one_clear_error():
    """For example savestates in which the screen has another resolution."""

    class Wide(CounterEnv):
        def frame(self):
            return np.full((2, 4, 3), 1, np.uint8)

    envs = SharedVectorEnv([lambda: CounterEnv(3), lambda: Wide(3)], 2, 2)
    try:
        with pytest.raises(InputError, match="different sizes, 3 x 2 and 4 x 2 pixels"):
            envs.reset(seed=0)
    finally:
        envs.close()


def kill(envs, number):
    """Kills worker `number`."""
    os.kill(envs.processes[number].pid, signal.SIGKILL)
    envs.processes[number].join()


@pytest.mark.parametrize("context", [None, "spawn"])
def test_killed_worker_is_replaced_and_the_others_continue(make_envs, capsys, context):
    """A spawned worker gets the parent's pipes pickled, and a closed pipe cannot be pickled."""
    envs = make_envs(2, context)
    envs.reset(seed=0)
    before = envs.step(np.ones(5, np.int64))[0].copy()
    assert before[4, 0, 0, 0] == 105
    kill(envs, 1)  # the worker of the last two environments
    frames, rewards, terminated, truncated, infos = envs.step(np.ones(5, np.int64))
    assert frames[:, 0, 0, 0].tolist() == [
        102,
        103,
        104,
        0,
        0,
    ]  # seeds 0, 1, 2 after two steps; two new episodes
    assert infos["views"][:, 83, 83].tolist() == [102, 103, 104, 0, 0]
    assert rewards.tolist() == [0.5, 0.5, 0.5, 0, 0] and not terminated.any()
    assert truncated.tolist() == [False, False, False, True, True] and set(infos["final_obs"]) == {3, 4}
    np.testing.assert_array_equal([infos["final_obs"][i] for i in (3, 4)], before[3:])
    assert "ended (exit code -9): its games are restarted" in capsys.readouterr().err
    frames, rewards, _, truncated, _ = envs.step(np.ones(5, np.int64))
    assert frames[:, 0, 0, 0].tolist()[1:] == [104, 0, 1, 1] and rewards.tolist() == [0.5] * 5


def test_repeatedly_killed_worker_is_one_clear_error(make_envs, monkeypatch):
    envs = make_envs(2)
    envs.reset(seed=0)
    kill(envs, 0)
    with pytest.raises(InputError, match="out of memory"):  # its attributes are lost
        envs.get_attr("length")
    monkeypatch.setattr("player.envs.vector_env.MAX_RESTARTS", 3)
    for _ in range(2):
        envs.step(np.ones(5, np.int64))
        kill(envs, 1)
    with pytest.raises(InputError, match="out of memory"):
        envs.step(np.ones(5, np.int64))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_end_with_their_parent():
    """A parent that is killed during a step sends nothing: workers notice that the pipe is closed, and end silently."""
    parent = subprocess.run(
        [sys.executable, "-c", KILLED_IN_A_STEP], capture_output=True, text=True, timeout=3600
    )
    assert parent.returncode == -signal.SIGKILL and len(parent.stdout.split()) == 3
    deadline = time.monotonic() + 3600
    while alive := [pid for pid in parent.stdout.split() if is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    assert "Traceback" not in parent.stderr


KILLED_IN_A_STEP = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(benchmark_ppo.__file__).parent), str(Path(__file__).parent)]!r}
import numpy as np
from player.envs.vector_env import SharedVectorEnv
from test_vector_env import ENV_FNS
envs = SharedVectorEnv(ENV_FNS, 2, 3)
envs.reset(seed=0)
print(*(process.pid for process in envs.processes), flush=True)
for pipe in envs.pipes:
    pipe.send(("step", None))
os.kill(os.getpid(), signal.SIGKILL)
"""


def is_alive(pid: str) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_vector_envs_can_be_closed_in_any_order(make_envs):
    """Workers of the second one inherit the pipes of the first one."""
    first, second = make_envs(2), make_envs(2)
    first.reset(seed=0)
    second.reset(seed=0)
    first.close()
    assert not any(process.is_alive() for process in first.processes)
    assert second.step(np.zeros(5, np.int64))[0].any()


def test_one_emulator_per_process():
    pytest.importorskip("stable_retro")
    game = find_game("Airstriker-Genesis-v0")
    envs = make_vector_env(game, 3, 4)
    try:
        assert len(envs.processes) == 3 and not game.shares_process
        envs.reset(seed=[0, 1, 2])
        assert envs.step(np.zeros(3, np.int64))[0].any()
    finally:
        envs.close()


@pytest.mark.slow
def test_benchmark(tmp_path, capsys):
    """One short round of each side."""
    flags = ["--games", "Mode7Kart-v0", "--n-envs", "2", "--seconds", "0.1", "--rounds", "1"]
    benchmark_ppo.main(benchmark_ppo.parse_args([*flags, "--output", str(tmp_path / "b.json")]))
    (run,) = json.loads((tmp_path / "b.json").read_text())["runs"]
    for loop in ("stepping", "whole_loop"):
        assert run[loop]["ratio"] == pytest.approx(run[loop]["ours"] / run[loop]["gymnasium"])
    assert "AsyncVectorEnv" in capsys.readouterr().out
