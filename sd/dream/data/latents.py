"""Frames to latents: conversions, a whole recording encoded once to a file beside the run, windows out of it."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dream.common.device import to_device
from dream.common.errors import InputError
from dream.common.runs import autocast
from dream.data.start_states import StartStates
from dream.data.trajectories import Trajectories, select_start_states
from dream.models.autoencoder import Encoder

ENCODE_BATCH = {"cpu": 64, "cuda": 256}  # frames at a time
BEGINNING = 128  # steps by which a longer recording of the same play is known
NUM_STARTS = 8  # places in initial_sequence.npz


def to_float_frames(frames_u8: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 (..., 3, H, W) 0-255 -> float32 0-1 on the device."""
    tensor = frames_u8 if isinstance(frames_u8, Tensor) else torch.from_numpy(np.array(frames_u8))
    return tensor.to(device).float() / 255


def to_u8(frames: Tensor) -> np.ndarray:
    """float (..., 3, H, W), about 0-1 -> uint8 (..., H, W, 3) in CPU memory: as a screen wants them."""
    rounded = (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.movedim(-3, -1).contiguous().cpu().numpy()


@torch.no_grad()
def encode_recording(
    trajectories: Trajectories, encoder: Encoder, autoencoder: str, folder: Path, device: torch.device
) -> np.ndarray:
    """Latents float16 (N, T, C, h, w) of the whole recording, memory-mapped from `folder`/latents.npy.

    They are made again only where the recording or the autoencoder (its fingerprint) is another one.
    """
    N, T = trajectories.actions.shape
    source = {
        "recording": recording_fingerprint(trajectories),
        "autoencoder": autoencoder,
        "shape": [N, T, *encoder.config.latent_shape],
    }
    path, about = folder / "latents.npy", folder / "latents.json"
    if not (path.exists() and read_metadata(about) == source):
        folder.mkdir(parents=True, exist_ok=True)
        about.unlink(missing_ok=True)
        size = 2 * int(np.prod(source["shape"]))
        print(f"encoding the recording to {path}: {size / 1e9:.2f} GB", flush=True)
        if size > shutil.disk_usage(folder).free:
            raise InputError(
                f"no room for {size / 1e9:.2f} GB of latents in {folder}: free some, or change --output-dir"
            )
        aside = folder / "latents.writing.npy"
        try:
            with open(aside, "wb") as file:
                header = {"descr": "<f2", "fortran_order": False, "shape": tuple(source["shape"])}
                np.lib.format.write_array_header_1_0(file, header)
                batch = ENCODE_BATCH[device.type]
                for row in tqdm(trajectories.frames, desc="encoding", unit="row"):
                    for start in range(0, T, batch):
                        frames = to_float_frames(row[start : start + batch], device)
                        with autocast(device):
                            file.write(encoder(frames).half().cpu().numpy().tobytes())
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        about.write_text(json.dumps(source))
    return np.load(path, mmap_mode="c", allow_pickle=False)  # "c": torch warns of arrays it may not write to


def recording_fingerprint(trajectories: Trajectories) -> str:
    """Tells one recording from another without reading all of it: its shape, its actions, a few pixels of each row."""
    digest = hashlib.sha1(str(trajectories.frames.shape).encode())
    digest.update(np.ascontiguousarray(trajectories.actions))
    digest.update(np.ascontiguousarray(trajectories.frames[:, ::97, :, ::16, ::16]))
    return digest.hexdigest()[:12]


def recording_prefix_fingerprint(trajectories: Trajectories) -> str:
    """Tells whether two recordings may be of the same play, although one is longer, by the actions and a few
    pixels with which their first rows begin."""
    digest = hashlib.sha1(trajectories.actions[0, :BEGINNING].astype(np.int64))
    digest.update(np.ascontiguousarray(trajectories.frames[0, :BEGINNING:16, :, ::16, ::16]))
    return digest.hexdigest()[:12]


def read_metadata(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # absent, or cut off by a power cut: the latents are made again
        return None


def frames_at(frames: Tensor, where: Tensor, offset: int, device: torch.device) -> Tensor:
    """(B, 3, H, W), 0-1, of uint8 frames (N, T, 3, H, W), `offset` after those at `where` (B, 2): row and t."""
    rows, times = to_device(where, frames.device).unbind(dim=1)
    return to_float_frames(frames[rows, times + offset], device)


def gather_windows(
    latents: Tensor, actions: Tensor, starts: Tensor, length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Windows that begin at `starts` (B, 2), pairs of row and t: latents (B, length, C, h, w) and actions (B, length).

    latents (N, T, C, h, w) may be memory-mapped, in CPU memory or on the device; actions (N, T) and starts on the CPU.
    """
    rows, times = starts[:, :1], starts[:, 1:] + torch.arange(length)  # (B, 1), (B, length)
    window = latents[to_device(rows, latents.device), to_device(times, latents.device)]
    return window.to(device).float(), to_device(actions[rows, times], device)


def save_start_states(
    data: Trajectories, latents: Tensor, mask: np.ndarray, context: int, autoencoder: str, path: Path
) -> None:
    """Contexts from held-out episodes, for play_sd.py to begin from."""
    chosen = torch.from_numpy(select_start_states(data, mask, context, NUM_STARTS))
    actions = torch.from_numpy(data.actions)
    window, window_actions = gather_windows(latents, actions, chosen, context, torch.device("cpu"))
    rows, last = chosen[:, 0].numpy(), chosen[:, 1].numpy() + context - 1
    truth = {
        name.removeprefix("truth/"): np.asarray(array[rows, last], np.float32)
        for name, array in data.extras.items()
        if name.startswith("truth/") and array.ndim == 2
    }
    StartStates(window.numpy(), window_actions.numpy(), truth).save(path, autoencoder)
