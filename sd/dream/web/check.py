"""Compares frames of the page's graphs with the model's, and writes check.bin, by which the browser does the same.

check.bin, little-endian: latents float32 (L, C, h, w), actions int32 (L), the next frame without noise uint8 (H, W, 3).
Drivers of GPUs have faults, and float16 has limits: a backend that generates another frame is not used.
"""

from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.data.start_states import StartStates
from dream.inference.torch_backend import TorchBackend
from dream.web.graphs import input_names
from dream.web.variants import FLOAT16, VARIANTS, graph_file

# Between a frame of the page's graphs and of the model. The pretrained model's has 60 dB, in float16 too; a difference
# of 45 dB, 1.4 levels of 255, is hardly visible. A browser demands less (sd/web/generator.js).
MIN_PSNR_DB = 45.0


def check_graphs(backend: TorchBackend, states: StartStates, folder: Path) -> None:
    """Raises InputError unless the graphs in `folder` generate the frame of `backend` after a start state. Those in
    float16 are removed if they do not, which is printed: numbers of this model are too large for it, and WebGPU uses
    float32."""
    noise = np.random.default_rng(0).standard_normal(backend.latent_shape, dtype=np.float32)
    expected = moving_frame(backend, states, noise)
    for variant in VARIANTS:
        difference = moving_web_frame(states, noise, folder, variant) - expected / 255
        psnr_db = -10 * np.log10(np.mean(difference**2) + 1e-12)
        if psnr_db >= MIN_PSNR_DB:
            continue
        if variant != FLOAT16:
            raise InputError(
                f"the page would generate other frames than the model (PSNR {psnr_db:.0f} dB): not written"
            )
        print(f"float16 left out: PSNR {psnr_db:.0f} dB")
        for path in folder.glob(graph_file("*", FLOAT16)):
            path.unlink()


def moving_start(states: StartStates) -> tuple[np.ndarray, np.ndarray]:
    """Latents float32 (L, C, h, w) and actions int64 (L,) of the start state in which most changes. Where nothing
    moves, the next frame is the last one, whatever the denoiser predicts."""
    last = states.latents[:, -2:]  # one, of a model with one latent as context
    k = int(np.abs(last[:, -1] - last[:, 0]).mean(axis=(1, 2, 3)).argmax())
    return states.latents[k], states.actions[k].copy()


def moving_frame(backend: TorchBackend, states: StartStates, noise: np.ndarray) -> np.ndarray:
    """The frame after `moving_start`, uint8 (H, W, 3). noise: float32 (C, h, w)."""
    latents, actions = moving_start(states)
    return backend.step(backend.init_state(latents, actions), int(actions[-1]), noise).rgb


def moving_web_frame(states: StartStates, noise: np.ndarray, folder: Path, variant: str) -> np.ndarray:
    """The same of a variant of the page's graphs, in native ONNX Runtime: float32 (H, W, 3), 0-1."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of constants that it does not compute in advance
    decode, frame = (
        onnxruntime.InferenceSession(
            folder / graph_file(name, variant), options, providers=["CPUExecutionProvider"]
        )
        for name in ("decode", "frame")
    )
    latents, actions = moving_start(states)
    (last,) = decode.run(["rgb"], {"latent": latents[None, -1]})
    values = (actions[None], last, noise[None], *(latent[None] for latent in latents))
    feeds = dict(zip(input_names(len(latents)), values, strict=True))
    names = {each.name for each in frame.get_inputs()}
    (rgb,) = frame.run(["rgb"], {name: values for name, values in feeds.items() if name in names})
    return rgb[0].transpose(1, 2, 0).clip(0, 1)


def write_check(backend: TorchBackend, states: StartStates, path: Path) -> None:
    """Writes a frame of the model, with which the page compares that of a browser's backend."""
    frame = moving_frame(backend, states, np.zeros(backend.latent_shape, np.float32))
    latents, actions = moving_start(states)
    path.write_bytes(latents.astype("<f4").tobytes() + actions.astype("<i4").tobytes() + frame.tobytes())
