"""A game in worker processes, and what of its frames the agent sees. No torch: the workers stay light."""

import multiprocessing
import os
import signal
import sys
import traceback
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import CloudpickleWrapper

from player.common.agent_view import VIEW, preprocess_frame
from player.common.errors import InputError
from player.games.game import Game

MAX_RESTARTS = 20  # of worker processes in a run: more are no accident


class StateWrapper(gymnasium.Wrapper):
    """Lets a vector environment read and write the games' states, one each, as the attribute `saved_state`."""

    @property
    def saved_state(self) -> bytes:
        """What `set_state` of the game takes; empty where the game cannot be saved."""
        save = getattr(self.env.unwrapped, "get_state", None)
        return save() if save else b""

    @saved_state.setter
    def saved_state(self, state: bytes) -> None:
        if state:
            self.env.unwrapped.set_state(state)


def make_env(game: Game, frame_skip: int, **settings: Any) -> gymnasium.Env:
    """One environment of `game`, in this process. `settings` go to the game's own `make`."""
    if multiprocessing.parent_process() is not None:
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # Ctrl-C is the parent's to answer; it closes its workers
    return StateWrapper(game.make(frame_skip=frame_skip, **settings))


def make_vector_env(
    game: Game, num_envs: int, frame_skip: int, tracks: Sequence[Dict[str, Any]] = (), **settings: Any
) -> "SharedVectorEnv":
    """`num_envs` of them in worker processes. They take the `tracks` of `find_tracks`, where several are given, in
    turn."""
    each = [tracks[i % len(tracks)] if len(tracks) > 1 else {} for i in range(num_envs)]
    env_fns = [partial(make_env, game, frame_skip, **settings, **one) for one in each]
    return SharedVectorEnv(env_fns, len(game.truth_names), None if game.shares_process else num_envs)


class SharedVectorEnv(VectorEnv):
    """Environments in worker processes, as many in each as keeps every core busy. All that a step takes and brings lies
    in shared memory; through the pipes goes a word a process, and what is rare.

    Where Gymnasium's AsyncVectorEnv has a process and two pickles a step for each environment, a game that steps in a
    fifth of a millisecond waits most of the time. Observations are uint8 (num_envs, H, W, 3) that the next step
    overwrites: copy what must last. An episode's end resets in the same step: `infos["final_obs"][i]` then holds the
    last frame, the observation the first of the next episode.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gymnasium.Env]],
        truth_size: int = 0,
        num_processes: Optional[int] = None,
        context: Optional[str] = None,
    ) -> None:
        """truth_size: numbers in each `info["truth"]`. num_processes: by default one a core. context: how they start
        (multiprocessing.get_context)."""
        env = env_fns[0]()  # to ask it for its spaces
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        env.close()
        del env  # an emulator allows only one at a time
        self.num_envs = N = len(env_fns)
        self.context, self.env_fns, self.restarts = multiprocessing.get_context(context), env_fns, 0
        shapes = {
            "frames": (np.uint8, (N, *self.single_observation_space.shape)),
            "views": (np.uint8, (N, VIEW, VIEW)),
            "actions": (np.int64, (N,)),
            "rewards": (np.float64, (N,)),
            "terminated": (np.bool_, (N,)),
            "truncated": (np.bool_, (N,)),
            "truth": (np.float32, (N, truth_size)),
        }
        shared = {}
        for name, (dtype, shape) in shapes.items():
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            shared[name] = (self.context.RawArray("B", max(1, size)), dtype, shape)
        self.shared, self.arrays = shared, shared_arrays(shared)
        self.pipes: List[Connection] = []
        self.processes = []
        self.worker_env_ids = np.array_split(np.arange(N), min(N, num_processes or num_cores()))
        for env_ids in self.worker_env_ids:
            pipe, process = self.start_worker(env_ids)
            self.pipes.append(pipe)
            self.processes.append(process)

    def start_worker(self, env_ids: np.ndarray) -> Tuple[Connection, Any]:
        """A process for the games numbered `env_ids`, and the pipe to it."""
        pipe, other = self.context.Pipe()
        env_fns = CloudpickleWrapper([self.env_fns[i] for i in env_ids])
        parent_pipes = [one for one in (*self.pipes, pipe) if not one.closed]
        given = (env_fns, env_ids, self.shared, other, parent_pipes)
        process = self.context.Process(target=worker, args=given, daemon=True)
        process.start()
        other.close()
        return pipe, process

    def reset(self, *, seed: Any = None, options: Any = None):
        if seed is None or isinstance(seed, int):
            seed = [None if seed is None else seed + i for i in range(self.num_envs)]
        self.call_workers("reset", [[seed[i] for i in env_ids] for env_ids in self.worker_env_ids])
        return self.arrays["frames"], {"truth": self.arrays["truth"].copy(), "views": self.arrays["views"]}

    def step(self, actions: np.ndarray):
        self.arrays["actions"][:] = actions
        last = {}
        for found in self.call_workers("step", [None] * len(self.pipes)):
            last.update(found)
        rewards, terminated, truncated, truth = (
            self.arrays[name].copy() for name in ("rewards", "terminated", "truncated", "truth")
        )
        infos = {"truth": truth, "final_obs": last, "views": self.arrays["views"]}
        return self.arrays["frames"], rewards, terminated, truncated, infos

    def get_attr(self, name: str) -> list:
        return [value for values in self.call_workers("get", [name] * len(self.pipes)) for value in values]

    def set_attr(self, name: str, values: Sequence[Any]) -> None:
        self.call_workers("set", [(name, [values[i] for i in env_ids]) for env_ids in self.worker_env_ids])

    def call_workers(self, command: str, given: Sequence[Any]) -> list:
        """What each process answers to `command`. An exception in one of them is raised here."""
        for pipe, one in zip(self.pipes, given):
            with suppress(OSError):  # of a process that has ended: its answer will be missed
                pipe.send((command, one))
        answers = []
        for number, pipe in enumerate(self.pipes):
            try:
                answers.append(pipe.recv())
            except (EOFError, OSError):
                answers.append(self.restart_worker(number, command))
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def restart_worker(self, number: int, command: str) -> Any:
        """In the place of a process that has ended, an emulator's crash for one: its games begin anew, as if they had
        been cut short. Its answer; BadInput where that is of no use."""
        self.restarts += 1
        if command != "step" or self.restarts > MAX_RESTARTS:
            return InputError(
                "a process with games in it has ended: out of memory? Start again with fewer games"
            )
        env_ids = self.worker_env_ids[number]
        last = {int(i): self.arrays["frames"][i].copy() for i in env_ids}  # as far as it came
        self.processes[number].join()
        code = self.processes[number].exitcode
        print(f"\na process with games in it has ended ({code}): they begin anew", file=sys.stderr)
        self.pipes[number].close()
        # By a fork, where that is the way, although torch has threads by now: a worker never touches what is theirs.
        self.pipes[number], self.processes[number] = self.start_worker(env_ids)
        try:
            self.pipes[number].send(("reset", [None] * len(env_ids)))
            answer = self.pipes[number].recv()
        except (EOFError, OSError):
            return InputError("a process with games in it has ended, and again as it began anew")
        if isinstance(answer, BaseException):
            return answer
        self.arrays["rewards"][env_ids], self.arrays["terminated"][env_ids] = 0.0, False
        self.arrays["truncated"][env_ids] = True
        return last

    def close_extras(self, **kwargs: Any) -> None:
        for process in self.processes:  # not by the pipes alone: workers forked later hold them too
            process.terminate()
        for pipe, process in zip(self.pipes, self.processes):
            pipe.close()
            process.join()


def num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_arrays(shared: Dict[str, tuple]) -> Dict[str, np.ndarray]:
    return {
        name: np.frombuffer(memory, dtype, int(np.prod(shape))).reshape(shape)
        for name, (memory, dtype, shape) in shared.items()
    }


def worker(
    env_fns: CloudpickleWrapper, env_ids: np.ndarray, shared: Dict[str, tuple], pipe: Connection, others
) -> None:
    """A worker process: the environments numbered `env_ids`, until the parent ends it, or ends itself and with it the
    pipe. `others`: the parent's ends of pipes, which a forked process holds too; if it kept them they would never
    close."""
    for other in others:
        other.close()
    arrays, envs = shared_arrays(shared), {}
    with suppress(EOFError, ConnectionError, KeyboardInterrupt):
        while True:
            command, given = pipe.recv()
            try:
                envs = envs or {i: make() for i, make in zip(env_ids.tolist(), env_fns.fn)}
                answer = handle(command, given, envs, arrays)
            except Exception as problem:
                if not isinstance(problem, InputError):
                    traceback.print_exc()  # the parent raises it anew, and knows no line of it
                answer = problem
            try:
                pipe.send(answer)
            except ConnectionError:
                raise
            except Exception as problem:  # it cannot travel: pickle raises many types
                pipe.send(RuntimeError(f"{answer!r}: {problem}"))


def handle(command: str, given: Any, envs: Dict[int, gymnasium.Env], arrays: Dict[str, np.ndarray]) -> Any:
    def show(i: int, frame: np.ndarray, info: dict) -> None:
        arrays["frames"][i], arrays["views"][i] = frame, preprocess_frame(frame)
        if arrays["truth"].size:
            arrays["truth"][i] = info["truth"]

    if command == "reset":
        for (i, env), seed in zip(envs.items(), given):
            show(i, *env.reset(seed=seed))
    elif command == "step":
        last = {}
        for i, env in envs.items():
            frame, reward, terminated, truncated, info = env.step(arrays["actions"][i])
            arrays["rewards"][i], arrays["terminated"][i], arrays["truncated"][i] = (
                reward,
                terminated,
                truncated,
            )
            if terminated or truncated:
                last[i] = frame.copy()
                frame, info = env.reset()
            show(i, frame, info)
        return last
    elif command == "get":
        return [getattr(env, given) for env in envs.values()]
    elif command == "set":
        name, values = given
        for env, value in zip(envs.values(), values):
            setattr(env, name, value)
    return None
