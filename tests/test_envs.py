"""Games in worker processes: they must be those that Gymnasium's own vector environments would play, only sooner."""

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


class Counter(gymnasium.Env):
    """Shows how often it has stepped, ends after `length` steps, and fails at action 9."""

    observation_space = gymnasium.spaces.Box(0, 255, (2, 3, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(10)

    def __init__(self, length):
        self.length, self.saved_state = length, b""

    def reset(self, *, seed=None, options=None):
        self.number = 0 if seed is None else 100 + seed
        return self.frame(), {"truth": np.float32([self.number, self.length])}

    def step(self, action):
        if action == 9:
            raise InputError("nine is no action")
        self.number += int(action)
        over = self.number % 100 >= self.length
        return (
            self.frame(),
            0.5 * action,
            over and self.length % 2 == 0,
            over,
            {"truth": np.float32([self.number, 0])},
        )

    def frame(self):
        return np.full((2, 3, 3), self.number, np.uint8)


def make_counter(length):
    return Counter(length)


MAKERS = [lambda length=length: make_counter(length) for length in (3, 8, 5, 2, 7)]


@pytest.fixture
def counters():
    opened = []

    def make(*given, **options):
        opened.append(SharedVectorEnv(*given, **options))
        return opened[-1]

    yield make
    for envs in opened:
        envs.close()


@pytest.mark.parametrize(("num_processes", "context"), [(1, None), (2, None), (5, None), (2, "spawn")])
def test_they_are_gymnasiums_own(counters, num_processes, context):
    ours = counters(MAKERS, 2, num_processes, context)
    theirs = SyncVectorEnv(MAKERS, autoreset_mode=AutoresetMode.SAME_STEP)
    assert len(ours.processes) == num_processes and ours.num_envs == 5
    seeds = [7, 6, 5, 4, 3]
    (frames, infos), (wanted, _) = ours.reset(seed=seeds), theirs.reset(seed=seeds)
    np.testing.assert_array_equal(frames, wanted)
    np.testing.assert_array_equal(infos["truth"], [[107, 3], [106, 8], [105, 5], [104, 2], [103, 7]])
    np.testing.assert_array_equal(infos["views"], preprocess_frames(frames))
    random = np.random.default_rng(0)
    for _ in range(40):
        actions = random.integers(3, size=5)
        found, wanted = ours.step(actions), theirs.step(actions)
        for one, other in zip(found[:4], wanted[:4], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(found[4]["truth"], np.stack(wanted[4]["truth"]))
        np.testing.assert_array_equal(found[4]["views"], preprocess_frames(wanted[0]))
        assert set(found[4]["final_obs"]) == set(np.flatnonzero(found[2] | found[3]))
        for i, frame in found[4]["final_obs"].items():
            np.testing.assert_array_equal(frame, wanted[4]["final_obs"][i])


def test_the_kart_game_is_the_same_in_one_process_or_three():
    game, played = find_game("Mode7Kart-v0"), []
    assert game.shares_process
    for num_processes in (1, 3):
        envs = SharedVectorEnv([lambda: game.make(frame_skip=4)] * 3, len(game.truth_names), num_processes)
        envs.reset(seed=[1, 2, 3])
        for action in (1, 1, 4, 5):
            frames, rewards, _, _, infos = envs.step(np.full(3, action))
        played.append((frames.copy(), rewards, infos["truth"]))
        envs.close()
    for one, other in zip(*played, strict=True):
        np.testing.assert_array_equal(one, other)


def test_attributes_of_all(counters):
    envs = counters(MAKERS, 2, 2)
    envs.set_attr("saved_state", [b"a", b"b", b"c", b"d", b"e"])
    assert envs.get_attr("saved_state") == [b"a", b"b", b"c", b"d", b"e"]
    assert envs.get_attr("length") == [3, 8, 5, 2, 7]


def test_what_fails_in_a_worker_is_said_here(counters):
    envs = counters(MAKERS, 2, 2)
    envs.reset(seed=0)
    with pytest.raises(InputError, match="nine is no action"):
        envs.step(np.array([0, 0, 0, 9, 0]))
    with pytest.raises(AttributeError, match="no_such"):
        envs.get_attr("no_such")


def kill(envs, number):
    os.kill(envs.processes[number].pid, signal.SIGKILL)
    envs.processes[number].join()


@pytest.mark.parametrize("context", [None, "spawn"])
def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(counters, capsys, context):
    """Spawned, it is sent the open pipes: a closed one cannot be pickled."""
    envs = counters(MAKERS, 2, 2, context)
    envs.reset(seed=0)
    before = envs.step(np.ones(5, np.int64))[0].copy()
    assert before[4, 0, 0, 0] == 105
    kill(envs, 1)  # it had the last two
    frames, rewards, terminated, truncated, infos = envs.step(np.ones(5, np.int64))
    assert frames[:, 0, 0, 0].tolist() == [102, 103, 104, 0, 0]  # seeds 0, 1, 2, two steps; two begin anew
    assert infos["views"][:, 83, 83].tolist() == [102, 103, 104, 0, 0]
    assert rewards.tolist() == [0.5, 0.5, 0.5, 0, 0] and not terminated.any()
    assert truncated.tolist() == [False, False, False, True, True] and set(infos["final_obs"]) == {3, 4}
    np.testing.assert_array_equal([infos["final_obs"][i] for i in (3, 4)], before[3:])
    assert "ended (exit code -9): its games are restarted" in capsys.readouterr().err
    frames, rewards, _, truncated, _ = envs.step(np.ones(5, np.int64))
    assert frames[:, 0, 0, 0].tolist()[1:] == [104, 0, 1, 1] and rewards.tolist() == [0.5] * 5


def test_a_worker_that_is_killed_again_and_again_is_one_clear_line(counters, monkeypatch):
    envs = counters(MAKERS, 2, 2)
    envs.reset(seed=0)
    kill(envs, 0)
    with pytest.raises(InputError, match="out of memory"):  # what it had cannot be asked for
        envs.get_attr("length")
    monkeypatch.setattr("player.envs.vector_env.MAX_RESTARTS", 3)
    for _ in range(2):
        envs.step(np.ones(5, np.int64))
        kill(envs, 1)
    with pytest.raises(InputError, match="out of memory"):
        envs.step(np.ones(5, np.int64))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
def test_workers_end_with_their_parent():
    """Killed in the middle of a step it says nothing: they must see it by their pipes, and not complain aloud."""
    parent = subprocess.run(
        [sys.executable, "-c", DIES_IN_A_STEP], capture_output=True, text=True, timeout=3600
    )
    assert parent.returncode == -signal.SIGKILL and len(parent.stdout.split()) == 3
    until = time.monotonic() + 3600
    while alive := [pid for pid in parent.stdout.split() if is_alive(pid)]:
        assert time.monotonic() < until, alive
        time.sleep(0.05)
    assert "Traceback" not in parent.stderr


DIES_IN_A_STEP = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(benchmark_ppo.__file__).parent), str(Path(__file__).parent)]!r}
import numpy as np
from player.envs.vector_env import SharedVectorEnv
from test_envs import MAKERS
envs = SharedVectorEnv(MAKERS, 2, 3)
envs.reset(seed=0)
print(*(process.pid for process in envs.processes), flush=True)
for pipe in envs.pipes:
    pipe.send(("step", None))
os.kill(os.getpid(), signal.SIGKILL)
"""


def is_alive(pid: str) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_two_pools_close_in_any_order(counters):
    """The second one's workers hold ends of the first one's pipes."""
    first, second = counters(MAKERS, 2, 2), counters(MAKERS, 2, 2)
    first.reset(seed=0)
    second.reset(seed=0)
    first.close()
    assert not any(process.is_alive() for process in first.processes)
    assert second.step(np.zeros(5, np.int64))[0].any()


def test_one_emulator_a_process():
    pytest.importorskip("stable_retro")
    game = find_game("Airstriker-Genesis-v0")
    envs = make_vector_env(game, 3, 4)
    try:
        assert len(envs.processes) == 3 and not game.shares_process
        envs.reset(seed=[0, 1, 2])
        assert envs.step(np.zeros(3, np.int64))[0].any()
    finally:
        envs.close()


def test_the_benchmark(tmp_path, capsys):
    """Both sides for real, in a turn each."""
    flags = ["--games", "Mode7Kart-v0", "--n-envs", "2", "--seconds", "0.1", "--rounds", "1"]
    benchmark_ppo.main(benchmark_ppo.parse_args([*flags, "--output", str(tmp_path / "b.json")]))
    (one,) = json.loads((tmp_path / "b.json").read_text())["runs"]
    for kind in ("stepping", "whole_loop"):
        assert one[kind]["ratio"] == pytest.approx(one[kind]["ours"] / one[kind]["gymnasium"])
    assert "AsyncVectorEnv" in capsys.readouterr().out
