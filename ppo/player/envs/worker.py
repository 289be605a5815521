"""The worker processes of SharedVectorEnv: each runs some environments and closes them before it ends.

This module must not import torch, which would make every worker process large and slow to start.
"""

import os
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Dict, Sequence

import gymnasium
import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper

from player.common.agent_view import preprocess_frame
from player.common.errors import InputError, first_line

CLOSE = "close"  # the command that ends a worker


def shared_arrays(shared: Dict[str, tuple]) -> Dict[str, np.ndarray]:
    """Numpy arrays over shared memory. `shared`: name -> (memory, dtype, shape)."""
    return {
        name: np.frombuffer(memory, dtype, int(np.prod(shape))).reshape(shape)
        for name, (memory, dtype, shape) in shared.items()
    }


def worker(
    env_fns: CloudpickleWrapper,
    env_ids: np.ndarray,
    shared: Dict[str, tuple],
    pipe: Connection,
    parent_pipes: Sequence[Connection],
) -> None:
    """Main function of a worker process: runs the environments `env_ids` until the parent sends CLOSE or has ended.

    Exceptions are sent to the parent as answers. The environments are closed in any case, also after SIGTERM: some
    have processes of their own behind them, which would live on. `parent_pipes`: the parent's ends of all pipes. A
    forked process inherits them and must close them; otherwise the pipes would stay open after the parent has ended.
    """
    own_process_group()
    for parent_pipe in parent_pipes:
        parent_pipe.close()
    arrays, envs = shared_arrays(shared), {}
    try:
        with suppress(EOFError, ConnectionError, KeyboardInterrupt):
            answer_commands(env_fns, env_ids, arrays, pipe, envs)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # not while closing; the parent can still kill
        close_envs(envs)


def own_process_group() -> None:
    """Makes this process the leader of a process group, which its children join: Ctrl-C then reaches neither them nor
    it, so that they can be closed in order, and whatever is left can be killed as a group."""
    if hasattr(os, "setpgid"):
        with suppress(OSError):
            os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)


def _stop(*_: Any) -> None:
    """Handles SIGTERM. Not by SystemExit, which environments raise, too."""
    raise KeyboardInterrupt


def answer_commands(
    env_fns: CloudpickleWrapper,
    env_ids: np.ndarray,
    arrays: Dict[str, np.ndarray],
    pipe: Connection,
    envs: Dict[int, gymnasium.Env],
) -> None:
    """Receives commands and sends the answers, until CLOSE. Fills `envs` at the first command."""
    while True:
        command, argument = pipe.recv()
        if command == CLOSE:
            return
        try:
            if not envs:
                for i, make in zip(env_ids.tolist(), env_fns.fn):
                    envs[i] = make()
            answer = handle(command, argument, envs, arrays)
        except SystemExit as problem:  # sys.exit in an environment; its text is lost otherwise
            answer = InputError(f"the game has called sys.exit({first_line(problem)!r})")
        except Exception as problem:
            if not isinstance(problem, InputError):
                traceback.print_exc()  # the traceback is lost when the parent raises it again
            answer = problem
        try:
            pipe.send(answer)
        except ConnectionError:
            raise
        except Exception as problem:  # the answer cannot be pickled; pickle raises many types
            pipe.send(RuntimeError(f"{answer!r}: {problem}"))


def close_envs(envs: Dict[int, gymnasium.Env]) -> None:
    """Closes all environments; a failure of one is printed and does not keep the others from being closed."""
    for env in envs.values():
        try:
            env.close()
        except (Exception, SystemExit) as problem:
            print(f"note: an environment could not be closed ({problem})", file=sys.stderr)


def handle(command: str, argument: Any, envs: Dict[int, gymnasium.Env], arrays: Dict[str, np.ndarray]) -> Any:
    """Executes one command in a worker and returns the answer. `envs`: env_id -> environment; `arrays`: shared.

    "reset": `argument` is one seed per environment. "step": reads arrays["actions"] and returns env_id -> last frame
    for the episodes that ended. "get": `argument` is an attribute name; returns the values. "set": `argument` is
    (name, values).
    """

    def write_observation(i: int, frame: np.ndarray, info: dict) -> None:
        if frame.shape != arrays["frames"].shape[1:]:
            sizes = " and ".join(
                f"{shape[1]} x {shape[0]}" for shape in (arrays["frames"].shape[1:], frame.shape)
            )
            raise InputError(
                f"the games have frames of different sizes, {sizes} pixels: give --crop, or fewer --state"
            )
        arrays["frames"][i], arrays["views"][i] = frame, preprocess_frame(frame)
        if arrays["truth"].size:
            arrays["truth"][i] = info["truth"]

    if command == "reset":
        for (i, env), seed in zip(envs.items(), argument):
            write_observation(i, *env.reset(seed=seed))
    elif command == "step":
        final_obs = {}
        for i, env in envs.items():
            frame, reward, terminated, truncated, info = env.step(arrays["actions"][i])
            arrays["rewards"][i] = reward
            arrays["terminated"][i], arrays["truncated"][i] = terminated, truncated
            if terminated or truncated:
                final_obs[i] = frame.copy()
                frame, info = env.reset()
            write_observation(i, frame, info)
        return final_obs
    elif command == "get":
        return [getattr(env, argument) for env in envs.values()]
    elif command == "set":
        name, values = argument
        for env, value in zip(envs.values(), values):
            setattr(env, name, value)
    return None
