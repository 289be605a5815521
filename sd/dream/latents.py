"""Frames to latents: conversions, a whole recording encoded once to a file beside the run, windows out of it."""

import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dream.autoencoder import Decoder, Encoder
from dream.trajectories import Trajectories

ENCODE_BATCH = 64  # frames at a time


def to_frames(frames_u8: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 (..., 3, H, W) 0-255 -> float32 0-1 on the device."""
    tensor = frames_u8 if isinstance(frames_u8, Tensor) else torch.from_numpy(np.array(frames_u8))
    return tensor.to(device).float() / 255


def to_u8(frames: Tensor) -> np.ndarray:
    """float (..., 3, H, W), about 0-1 -> uint8 (..., H, W, 3) in CPU memory: as a screen wants them."""
    rounded = (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.movedim(-3, -1).contiguous().cpu().numpy()


@torch.no_grad()
def decode(decoder: Decoder, latents: Tensor) -> Tensor:
    """(..., C, h, w) -> frames (..., 3, H, W), ENCODE_BATCH at a time."""
    flat = latents.reshape(-1, *latents.shape[-3:])
    frames = torch.cat([decoder(part.float()) for part in flat.split(ENCODE_BATCH)])
    return frames.reshape(*latents.shape[:-3], *frames.shape[1:])


@torch.no_grad()
def encode_recording(
    trajectories: Trajectories, encoder: Encoder, autoencoder: str, folder: Path, device: torch.device
) -> np.ndarray:
    """Latents float16 (N, T, C, h, w) of the whole recording, memory-mapped from `folder`/latents.npy.

    They are made again only where the recording or the autoencoder (its fingerprint) is another one.
    """
    N, T = trajectories.actions.shape
    source = {
        "autoencoder": autoencoder,
        "shape": [N, T, *encoder.config.latent_shape],
        "actions_sum": int((trajectories.actions * np.arange(1, N * T + 1).reshape(N, T)).sum() % 2**53),
        "corner_sum": int(trajectories.frames[:, ::97, :, ::16, ::16].astype(np.int64).sum()),
    }
    path, about = folder / "latents.npy", folder / "latents.json"
    if path.exists() and about.exists() and json.loads(about.read_text()) == source:
        return np.load(
            path, mmap_mode="c", allow_pickle=False
        )  # "c": torch warns of arrays it may not write to
    folder.mkdir(parents=True, exist_ok=True)
    about.unlink(missing_ok=True)
    aside = folder / "latents.writing.npy"
    try:
        latents = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float16, shape=tuple(source["shape"]))
        for row in tqdm(range(N), desc="encoding", unit="row"):
            for start in range(0, T, ENCODE_BATCH):
                frames = to_frames(trajectories.frames[row, start : start + ENCODE_BATCH], device)
                with torch.autocast(device.type, dtype=torch.bfloat16):
                    latents[row, start : start + ENCODE_BATCH] = encoder(frames).half().cpu().numpy()
        latents.flush()
        del latents
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    about.write_text(json.dumps(source))
    return np.load(path, mmap_mode="c", allow_pickle=False)


def gather_windows(
    latents: Tensor, actions: Tensor, starts: Tensor, length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Windows that begin at `starts` (B, 2), pairs of row and t: latents (B, length, C, h, w) and actions (B, length).

    latents (N, T, C, h, w) and actions (N, T) may be memory-mapped, in CPU memory or on the device already.
    """
    rows = starts[:, :1].to(latents.device)  # (B, 1)
    times = starts[:, 1:].to(latents.device) + torch.arange(length, device=latents.device)  # (B, length)
    return latents[rows, times].to(device).float(), actions[rows, times].to(device)
