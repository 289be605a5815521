"""Runs an exported world model in OpenVINO or ONNX Runtime: without PyTorch, and faster on a CPU.

`export_sd.py` writes the export next to the model (export_folder.py)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dream.inference import probe
from dream.inference.backend import State, Transition, first_frame, sampling_timesteps, step_one_by_one
from dream.inference.export_folder import GRAPHS, OUTCOME, check_files, check_graphs, damaged, read_metadata
from dream.inference.runtimes import RuntimeUnavailable, load_graphs


class OnnxBackend:
    """A Backend (backend.py) that runs an exported model on the CPU. `runtime`: a key of RUNTIMES."""

    def __init__(self, folder: Path, runtime: str, steps: int | None) -> None:
        """folder: of the export. runtime: a key of RUNTIMES. steps: sampling steps per frame (None: the model's own).

        Raises InputError if the folder is not a valid export, RuntimeUnavailable if the files are those that were
        exported, but the runtime is not installed or does not work here. A runtime that crashes does so in a child
        process first."""
        metadata = read_metadata(folder)
        check_files(folder, metadata)  # so that what fails after this is the fault of the runtime
        probe.try_runtime(runtime, folder)
        self.game, self.autoencoder = metadata["game"], metadata["autoencoder"]
        self.latent_shape, self.frame_shape = metadata["latent_shape"], metadata["frame_shape"]
        self.runtime = runtime
        self.context_length, self.steps = metadata["context"], 1
        names = [graph for graph in (*GRAPHS, OUTCOME) if graph in metadata["graphs"]]
        self.name, loaded = load_graphs(runtime, [folder / f"{graph}.onnx" for graph in names])
        graphs = dict(zip(names, loaded, strict=True))
        check_graphs(folder, metadata, graphs)
        self.name += " and int8" if metadata["int8"] else ""
        self.warp, self.denoise, self.decode = (graphs[name] for name in GRAPHS)
        self.outcome = graphs.get(OUTCOME)
        self._check_frame(folder, runtime)
        self.steps = steps or metadata["steps"]

    def _check_frame(self, folder: Path, runtime: str) -> None:
        """Generates a frame. Raises RuntimeUnavailable if the runtime fails, InputError if it is not finite."""
        try:
            state = first_frame(self)
        except Exception as problem:  # the runtimes raise many types
            raise RuntimeUnavailable(runtime, problem) from None
        if not (np.isfinite(state.context).all() and np.isfinite(state.frame).all()):
            raise damaged(folder, "its frames are not finite numbers")

    def init_state(self, latents: np.ndarray, actions: np.ndarray) -> State:
        context = latents.astype(np.float32)[None]
        last = context[:, -1]
        _, frame, rgb = self.decode({"latent": last, "last": last, "warped": last})
        return State(context, actions.astype(np.int64)[None], frame, rgb[0])

    @property
    def has_outcome(self) -> bool:
        return self.outcome is not None

    def step(self, state: State, action: int, noise: np.ndarray) -> State:
        actions = state.actions.copy()
        actions[:, -1] = action
        inputs = {"context": state.context, "actions": actions}
        (warped,) = self.warp({**inputs, "frame": state.frame})
        z = noise[None]
        for t, t_next in sampling_timesteps(self.steps):
            (z,) = self.denoise({**inputs, "z": z, "t": t[None], "t_next": t_next[None], "warped": warped})
        latent, frame, rgb = self.decode({"latent": z, "last": state.context[:, -1], "warped": warped})
        context = np.concatenate([state.context[:, 1:], latent[:, None]], axis=1)
        return State(context, np.concatenate([actions[:, 1:], actions[:, -1:]], axis=1), frame, rgb[0])

    def step_batch(
        self, states: Sequence[State], actions: Sequence[int], noise: np.ndarray
    ) -> list[Transition]:
        return step_one_by_one(self, states, actions, noise)

    def predict_outcome(self, state: State, action: int) -> tuple[float, float]:
        actions = state.actions.copy()
        actions[:, -1] = action
        ((reward, end),) = self.outcome({"context": state.context, "actions": actions})[0]
        return float(reward), float(end)

    def export_state(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        return state.context[0], state.actions[0]
