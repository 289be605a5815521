"""Loads the small networks that play uses beside the world model, in the runtime of its backend or in PyTorch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.common.game_info import check_agent_actions
from dream.inference import probe
from dream.inference.network_file import Network, load_network, read_network
from dream.inference.onnx_backend import OnnxBackend
from dream.inference.runtimes import RUNTIMES, RuntimeUnavailable
from dream.inference.select_backend import is_available


def find_network(model_path: Path, name: str) -> Path | None:
    """The network file `name` next to the model, or None."""
    path = Path(model_path).parent / name
    return path if path.is_file() else None


def load_lap_probe(model_path: Path, backend: object, without: str) -> Network | None:
    """Loads laps.npz next to the model: maps views uint8 (STACK, OBS_SIZE, OBS_SIZE) to (cos, sin) of the place along
    the track. None if there is no such file; if it is damaged or cannot be run here, a note, which ends with
    `without`, is printed."""
    path = find_network(model_path, "laps.npz")
    try:
        return path and load_network(path, "laps", pick_runtime(backend, path), num_outputs=2)
    except InputError as problem:
        print(f"note: {problem}; {without}")
        return None


def find_agent(model_path: Path, action_names: tuple[str, ...], pretrained: Path) -> Path | None:
    """The agent.npz next to the model; or that of the folder `pretrained`, if it has the world model's actions; or
    None. Raises InputError if the latter is damaged."""
    own, other = find_network(model_path, "agent.npz"), pretrained / "agent.npz"
    if own or not other.is_file():
        return own
    _, names = read_network(other, "agent")
    return other if tuple(names) == tuple(action_names) else None


def pick_runtime(backend: object, path: Path) -> str:
    """The runtime of the world model's backend or, if that is PyTorch, the first one that runs the network file `path`
    in a child process. Raises InputError if there is none."""
    if isinstance(backend, OnnxBackend):
        return backend.runtime
    for runtime in filter(is_available, RUNTIMES):
        try:
            probe.try_runtime(runtime, path)
            return runtime
        except RuntimeUnavailable:
            continue
    raise InputError(f"{path} needs a runtime that works here: pip install openvino or onnxruntime")


def load_policy(path: Path, action_names: tuple[str, ...], backend: object) -> Network:
    """Loads an agent: maps views uint8 (STACK, OBS_SIZE, OBS_SIZE) to the logits of its actions, float32 (A,).

    path: agent.npz of sd/export_sd.py, or best.pt of ppo/train_ppo.py, which needs PyTorch. Raises InputError if the
    file is invalid, has other actions, or cannot be run here."""
    if Path(path).suffix != ".npz":
        return load_torch_policy(path, action_names)
    _, names = read_network(path, "agent")
    check_agent_actions(path, names, action_names)
    return load_network(path, "agent", pick_runtime(backend, path))


def load_torch_policy(path: Path, action_names: tuple[str, ...]) -> Network:
    """As `load_policy`, for a checkpoint."""
    try:
        import torch

        from dream.models.agent import load_agent
    except ImportError:
        advice = f"make setup, or, where PyTorch is, sd/export_sd.py --agent-path {path}"
        raise InputError(f"the agent {path} needs PyTorch: {advice}") from None
    agent = load_agent(path, action_names)

    def run(views: np.ndarray) -> np.ndarray:
        with single_torch_thread(), torch.no_grad():
            return agent(torch.from_numpy(views)[None])[0].numpy()

    return run


@contextmanager
def single_torch_thread() -> Iterator[None]:
    """Limits PyTorch to one thread: the world model's backend may have its own thread pool, and two pools on the same
    cores slow each other down."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
