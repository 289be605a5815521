"""SharedVectorEnv: many environments in worker processes that exchange arrays through shared memory.

It also computes the agent's view (a small grayscale picture) of each frame in the workers. This module must not import
torch, which would make every worker process large and slow to start.
"""

import multiprocessing
import os
import sys
import weakref
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import CloudpickleWrapper

from player.common.agent_view import OBS_SIZE
from player.common.errors import InputError, first_line
from player.envs import worker_exit
from player.envs.batched_env import BatchedEnv, fits_collector
from player.envs.worker import shared_arrays, worker
from player.envs.worker_exit import end_reason, end_workers, kill_group, receive
from player.games.closing import close_in_time
from player.games.game import Game

MAX_RESTARTS = 20  # worker restarts per run; more indicate a persistent fault


class StateWrapper(gymnasium.Wrapper):
    """Exposes the game's `get_state` and `set_state` as the attribute `saved_state`.

    A vector environment can then read and write the state of each game with `get_attr` and `set_attr`.
    """

    @property
    def saved_state(self) -> bytes:
        """The game's complete state, or b"" if the game cannot be saved. Assigning b"" does nothing."""
        save = getattr(self.env.unwrapped, "get_state", None)
        return save() if save else b""

    @property
    def native_size(self) -> Tuple[int, int]:
        """Height and width of the game's own pictures, before they are resized to the frames."""
        return getattr(self.env.unwrapped, "native_size", self.observation_space.shape[:2])

    @saved_state.setter
    def saved_state(self, state: bytes) -> None:
        if state:
            self.env.unwrapped.set_state(state)


def make_env(game: Game, frame_skip: int, **settings: Any) -> gymnasium.Env:
    """Creates one environment of `game` in this process. `settings` are passed to `game.make`."""
    return StateWrapper(game.make(frame_skip=frame_skip, **settings))


def make_vector_env(
    game: Game, num_envs: int, frame_skip: int, tracks: Sequence[Dict[str, Any]] = (), **settings: Any
) -> VectorEnv:
    """Creates `num_envs` environments of `game` in worker processes: one per CPU core, or one per environment.

    `tracks`: settings of each track, from `find_tracks`. If there are several, environment i uses track
    i % len(tracks). `settings` are passed to `game.make`. An environment that Gymnasium makes as one batch runs in this
    process.
    """
    if game.make_batch and not settings and len(tracks) < 2:
        try:
            envs = game.make_batch(num_envs=num_envs)
        except Exception as problem:  # an environment's constructor may raise anything
            raise InputError(f"{game.name} cannot be made as one batch: {first_line(problem)}") from None
        if fits_collector(envs):
            return BatchedEnv(envs)
        envs.close()
    track_of_env = [tracks[i % len(tracks)] if len(tracks) > 1 else {} for i in range(num_envs)]
    env_fns = [partial(make_env, game, frame_skip, **settings, **track) for track in track_of_env]
    num_processes = None if game.shares_process else num_envs
    context = "spawn" if game.starts_threads else None
    return SharedVectorEnv(env_fns, len(game.truth_names), num_processes, context, game.spaces)


class SharedVectorEnv(VectorEnv):
    """A Gymnasium vector environment with several environments per worker process.

    Actions, frames, rewards and flags are in shared memory. The pipes carry only one command per worker and step, plus
    the last frames of finished episodes. Gymnasium's AsyncVectorEnv uses one process per environment and pickles twice
    per step, which takes longer than the step itself in a game that needs 0.2 ms per step.

    Observations are uint8 (num_envs, H, W, 3). The next step overwrites them, so callers must copy what they keep.
    `infos["views"]`: uint8 (num_envs, OBS_SIZE, OBS_SIZE), the agent's view of each frame, overwritten likewise.
    `infos["truth"]`: float32 (num_envs, truth_size), a copy of each game state.
    When episode i ends, the environment is reset in the same step: `infos["final_obs"][i]` is the last frame of the
    episode, and the observation is the first frame of the next one.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gymnasium.Env]],
        truth_size: int = 0,
        num_processes: Optional[int] = None,
        context: Optional[str] = None,
        spaces: Optional[Tuple[gymnasium.Space, gymnasium.Space]] = None,
    ) -> None:
        """`truth_size`: length of `info["truth"]` of one environment. `num_processes`: default one per CPU core.
        `context`: start method of the processes, as in multiprocessing.get_context. `spaces`: observation and action
        space of one environment; None: one is made to read them."""
        self.single_observation_space, self.single_action_space = spaces or read_spaces(env_fns[0])
        self.num_envs = N = len(env_fns)
        self.context, self.env_fns, self.restarts = multiprocessing.get_context(context), env_fns, 0
        shapes = {
            "frames": (np.uint8, (N, *self.single_observation_space.shape)),
            "views": (np.uint8, (N, OBS_SIZE, OBS_SIZE)),
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
        self.processes: List[Any] = []
        # Also at the end of the program, if nobody calls `close`: multiprocessing would wait for the workers.
        self.finalizer = weakref.finalize(self, end_workers, self.pipes, self.processes, os.getpid())
        self.worker_env_ids = np.array_split(np.arange(N), min(N, num_processes or num_cores()))
        for env_ids in self.worker_env_ids:
            pipe, process = self.start_worker(env_ids)
            self.pipes.append(pipe)
            self.processes.append(process)

    def start_worker(self, env_ids: np.ndarray) -> Tuple[Connection, Any]:
        """Starts a worker for the environments `env_ids`. Returns the parent's end of its pipe, and the process."""
        pipe, worker_pipe = self.context.Pipe()
        env_fns = CloudpickleWrapper([self.env_fns[i] for i in env_ids])
        parent_pipes = [parent_pipe for parent_pipe in (*self.pipes, pipe) if not parent_pipe.closed]
        args = (env_fns, env_ids, self.shared, worker_pipe, parent_pipes)
        # Not daemonic: such a process may not start others, and environments do.
        process = self.context.Process(target=worker, args=args, daemon=False)
        process.start()
        worker_pipe.close()
        return pipe, process

    def reset(self, *, seed: Any = None, options: Any = None):
        """Resets all environments. `seed`: None, one per environment, or an int n (environment i gets n + i)."""
        if seed is None or isinstance(seed, int):
            seed = [None if seed is None else seed + i for i in range(self.num_envs)]
        self.call_workers("reset", [[seed[i] for i in env_ids] for env_ids in self.worker_env_ids])
        return self.arrays["frames"], {"truth": self.arrays["truth"].copy(), "views": self.arrays["views"]}

    def step(self, actions: np.ndarray):
        """Steps all environments. `actions`: int64 (num_envs,). See the class for what is returned."""
        self.arrays["actions"][:] = actions
        final_obs = {}
        for answer in self.call_workers("step", [None] * len(self.pipes)):
            final_obs.update(answer)
        rewards, terminated, truncated, truth = (
            self.arrays[name].copy() for name in ("rewards", "terminated", "truncated", "truth")
        )
        infos = {"truth": truth, "final_obs": final_obs, "views": self.arrays["views"]}
        return self.arrays["frames"], rewards, terminated, truncated, infos

    def get_attr(self, name: str) -> list:
        """The attribute `name` of each environment."""
        return [value for values in self.call_workers("get", [name] * len(self.pipes)) for value in values]

    def set_attr(self, name: str, values: Sequence[Any]) -> None:
        """Sets the attribute `name` of environment i to values[i]."""
        self.call_workers("set", [(name, [values[i] for i in env_ids]) for env_ids in self.worker_env_ids])

    def call_workers(self, command: str, arguments: Sequence[Any]) -> list:
        """Sends `command` to every worker, with arguments[n] for worker n, and returns their answers.

        Replaces workers that have died (see `restart_worker`). Raises an exception that a worker reports.
        """
        for pipe, argument in zip(self.pipes, arguments):
            with suppress(OSError):  # the worker has died: recv below will fail
                pipe.send((command, argument))
        answers = []
        for number, pipe in enumerate(self.pipes):
            try:
                answers.append(receive(pipe, self.processes[number]))
            except (EOFError, OSError):
                answers.append(self.restart_worker(number, command))
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def restart_worker(self, number: int, command: str) -> Any:
        """Replaces worker `number`, which has died (for example because the emulator crashed), and resets its games.

        The interrupted episodes are marked as truncated with reward 0. Returns the answer of the step: env_id -> last
        frame. Returns (does not raise) an InputError if the command was not "step", if there were more than
        MAX_RESTARTS restarts, or if the new worker fails too.
        """
        self.restarts += 1
        if command != "step" or self.restarts > MAX_RESTARTS:
            return InputError(f"a worker process has ended: {end_reason(self.processes[number])}")
        env_ids = self.worker_env_ids[number]
        final_obs = {int(i): self.arrays["frames"][i].copy() for i in env_ids}  # the last frames received
        process = self.processes[number]
        if process.is_alive():  # it has closed its pipe, and is about to end, or hangs
            process.join(worker_exit.TERMINATE_SECONDS)
        kill_group(process)  # also what its environments have left behind
        process.join()
        exit_code = process.exitcode
        print(
            f"\na worker process has ended (exit code {exit_code}): its games are restarted", file=sys.stderr
        )
        self.pipes[number].close()
        # This may fork although torch has started threads: safe, because a worker never uses torch.
        self.pipes[number], self.processes[number] = self.start_worker(env_ids)
        try:
            self.pipes[number].send(("reset", [None] * len(env_ids)))
            answer = receive(self.pipes[number], self.processes[number])
        except (EOFError, OSError):
            return InputError(
                f"a worker process has ended, and its replacement, too: {end_reason(self.processes[number])}"
            )
        if isinstance(answer, BaseException):
            return answer
        self.arrays["rewards"][env_ids], self.arrays["terminated"][env_ids] = 0.0, False
        self.arrays["truncated"][env_ids] = True
        return final_obs

    def close_extras(self, **kwargs: Any) -> None:
        """Ends all workers; called by `close`."""
        self.finalizer()


def read_spaces(make: Callable[[], gymnasium.Env]) -> Tuple[gymnasium.Space, gymnasium.Space]:
    """Observation and action space of an environment. It is closed: a process can hold only one emulator."""
    env = make()
    try:
        return env.observation_space, env.action_space
    finally:
        close_in_time(env)


def num_cores() -> int:
    """Number of CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
