"""Frames to latents: conversions, the latents of a whole recording cached in the run's folder, windows of them."""

import io
import json
import math
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dream.common.device import to_device
from dream.common.disk_room import check_room
from dream.common.files import atomic_write
from dream.common.progress import progress_bar
from dream.common.runs import autocast
from dream.data.trajectories import Trajectories, recording_fingerprint
from dream.models.autoencoder import Encoder

ENCODE_BATCH = {"cpu": 64, "cuda": 256}  # frames per forward pass
SPEED_AFTER_S = 3.0  # of encoding: its speed is known then
CHUNK_BYTES = 4 * 2**20  # unit of reading a file for its checksum

# Of windows to train on: mean absolute change of a latent's elements below which nothing moves, the largest fraction of
# such windows, and the number of others below which all are used.
MAX_STILL_CHANGE, MAX_STILL, MIN_MOVING = 1e-3, 0.2, 64


def to_float_frames(frames_u8: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 (..., 3, H, W), 0-255 -> float32, 0-1, on the device."""
    tensor = frames_u8 if isinstance(frames_u8, Tensor) else torch.from_numpy(np.array(frames_u8))
    return tensor.to(device).float() / 255


def to_u8(frames: Tensor) -> np.ndarray:
    """float (..., 3, H, W), about 0-1 -> uint8 (..., H, W, 3), 0-255, clipped and rounded, in CPU memory."""
    rounded = (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.movedim(-3, -1).contiguous().cpu().numpy()


@torch.no_grad()
def encode_recording(
    trajectories: Trajectories, encoder: Encoder, autoencoder: str, folder: Path, device: torch.device,
    time_left_s: float = math.inf,
) -> np.ndarray:  # fmt: skip
    """Latents of the whole recording, float16 (N, T, C, h, w), memory-mapped from `folder`/latents.npy.

    `autoencoder`: its fingerprint. `folder`/latents.json has the source of the latents and the checksum of the file;
    they are encoded again if the recording or the autoencoder has changed, or if the file is damaged. `time_left_s`:
    of the budget; a line says how long encoding takes, and whether that leaves time to train. Raises InputError if the
    disk has too little free space.
    """
    N, T = trajectories.actions.shape
    source = {
        "recording": recording_fingerprint(trajectories),
        "autoencoder": autoencoder,
        "shape": [N, T, *encoder.config.latent_shape],
    }
    path, metadata_path = folder / "latents.npy", folder / "latents.json"
    metadata = read_metadata(metadata_path)
    is_current = path.exists() and {name: metadata.get(name) for name in source} == source
    if is_current and file_checksum(path) != metadata.get("crc32"):
        print(f"{path} is damaged")
        is_current = False
    if not is_current:
        folder.mkdir(parents=True, exist_ok=True)
        metadata_path.unlink(missing_ok=True)
        num_bytes = latent_bytes(trajectories, encoder)
        print(f"encoding the recording to {path}: {num_bytes / 1e9:.2f} GB", flush=True)
        check_room(path, num_bytes, "the encoded recording")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f2", "fortran_order": False, "shape": tuple(source["shape"])}
        )
        with atomic_write(path) as file:
            checksum = zlib.crc32(header.getvalue())
            file.write(header.getvalue())
            for latents in encoded_batches(trajectories.frames, encoder, device, time_left_s):
                file.write(latents)
                checksum = zlib.crc32(latents, checksum)
        with atomic_write(metadata_path, "w") as file:
            json.dump({**source, "crc32": checksum}, file)
    return np.load(path, mmap_mode="c", allow_pickle=False)  # "c": torch warns about read-only arrays


def latent_bytes(trajectories: Trajectories, encoder: Encoder) -> int:
    """Size of the latents of a whole recording."""
    return 2 * trajectories.actions.size * math.prod(encoder.config.latent_shape)


def encoded_batches(
    frames: np.ndarray, encoder: Encoder, device: torch.device, time_left_s: float
) -> Iterator[bytes]:
    """Yields the latents, float16 (B, C, h, w), of all frames, uint8 (N, T, 3, H, W), in order."""
    N, T = frames.shape[:2]
    batch_size = ENCODE_BATCH[device.type]
    began, announced = time.monotonic(), False
    with progress_bar(total=N * T, desc="encoding", unit="frame") as bar:
        for row in frames:
            for start in range(0, T, batch_size):
                batch = to_float_frames(row[start : start + batch_size], device)
                with autocast(device):
                    yield encoder(batch).half().cpu().numpy().tobytes()
                bar.update(len(batch))
                passed_s = time.monotonic() - began
                if not announced and passed_s > SPEED_AFTER_S:
                    announced = True
                    bar.write(encoding_time_line(N * T, passed_s * N * T / bar.n, time_left_s))


def encoding_time_line(num_frames: int, needed_s: float, time_left_s: float) -> str:
    """How long encoding takes; a warning if that leaves less than half of the time for training."""
    line = f"encoding {num_frames} frames takes about {needed_s / 60:.1f} minutes"
    if needed_s < time_left_s / 2:
        return line
    return (
        f"warning: {line}, of the {time_left_s / 60:.1f} that are left: give --max-minutes "
        f"{math.ceil(3 * needed_s / 60) + 1} or more, or record fewer frames"
    )


def read_metadata(path: Path) -> dict:
    """The content of latents.json; empty if the file is missing or damaged."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def file_checksum(path: Path) -> int:
    """CRC-32 of a file, read at about a gigabyte per second."""
    checksum, size = 0, path.stat().st_size
    bar = progress_bar(total=size, desc=f"checking {path.name}", unit="B", unit_scale=True, leave=False)
    with open(path, "rb") as file, bar:
        while chunk := file.read(CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
            bar.update(len(chunk))
    return checksum


def frames_at(frames: Tensor, positions: Tensor, offset: int, device: torch.device) -> Tensor:
    """Frames float32 (B, 3, H, W), 0-1, `offset` steps after `positions` (B, 2), which are pairs of row and t.

    `frames`: uint8 (N, T, 3, H, W).
    """
    rows, times = to_device(positions, frames.device).unbind(dim=1)
    return to_float_frames(frames[rows, times + offset], device)


def gather_windows(
    latents: Tensor, actions: Tensor, starts: Tensor, length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Windows that begin at `starts` (B, 2), pairs of row and t: latents (B, length, C, h, w) and actions (B, length).

    `latents` (N, T, C, h, w) may be memory-mapped, in CPU memory or on the device; `actions` (N, T) and `starts` are in
    CPU memory. The returned latents are float32.
    """
    rows, times = starts[:, :1], starts[:, 1:] + torch.arange(length)  # (B, 1), (B, length)
    window = latents[to_device(rows, latents.device), to_device(times, latents.device)]
    return window.to(device).float(), to_device(actions[rows, times], device)


def fewer_still_windows(latents: Tensor, starts: Tensor, context: int) -> Tensor:
    """The windows `starts` (M, 2) without most of those that are still, int64 (M', 2) in the same order.

    A window of `context` + 1 latents is still if its last two are the same; at most MAX_STILL of the result are. Where
    a paddle stands at a wall for most of the recording, a model would otherwise learn to repeat the last frame.
    latents: (N, T, C, h, w).
    """
    N, T = latents.shape[:2]
    change = torch.zeros(N, T)
    for row in range(N):  # row by row, because they may be memory-mapped
        own = latents[row].float()
        change[row, 1:] = (own[1:] - own[:-1]).abs().mean(dim=(1, 2, 3)).cpu()
    is_still = change[starts[:, 0], starts[:, 1] + context] < MAX_STILL_CHANGE
    moving, still = starts[~is_still], starts[is_still]
    allowed = int(len(moving) * MAX_STILL / (1 - MAX_STILL))
    if len(still) <= allowed or len(moving) < MIN_MOVING:
        return starts
    kept = torch.nonzero(is_still).flatten()[torch.linspace(0, len(still) - 1, allowed).long()]
    is_kept = ~is_still
    is_kept[kept] = True
    return starts[is_kept]
