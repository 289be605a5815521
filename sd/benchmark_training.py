"""How many samples a second do both trainings take, and how much more than a plain loop with the same networks?

    python sd/benchmark_training.py --trajectories FILE --output benchmark_training.json
    python sd/benchmark_training.py --trajectories FILE --seconds 2 --rounds 1     # a tiny one
    python sd/benchmark_training.py --trajectories FILE --processes 4     # and by torchrun, a GPU each

The plain loop is the original Dream-Mario-Kart's: batches of 64, float32 (mixed precision on a GPU), AdamW, frames
converted for every batch and, for the diffusion model, encoded again each time. Both sides take turns by the clock: the
first steps of a process count, its start and its measuring do not. A sample of train_autoencoder.py is a crop, of
train_sd.py a window; what the latter does beyond the plain loop, own frames from a quarter of the turn on and the
discriminator's push, is not counted in its favour. With --processes N both scripts take another turn as N processes of
which each has a batch as large; on a CPU they share its cores.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dream.common.errors import InputError, run_script
from dream.common.runs import autocast, pick_device
from dream.data.splits import train_windows
from dream.data.trajectories import Trajectories, open_trajectories
from dream.evaluation.report import save_json
from dream.models.autoencoder import AutoencoderConfig, Decoder, Encoder
from dream.models.checkpoints import load_autoencoder
from dream.models.unet import UNet, UNetConfig
from dream.training.losses import FlowTargets, training_loss
from torch import Tensor
from tqdm import tqdm
from train_autoencoder import CROP

HERE = Path(__file__).resolve().parent
PLAIN_BATCH = 64


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trajectories", type=Path, required=True, help="a recording")
    parser.add_argument(
        "--autoencoder-dir", type=Path, default=HERE / "pretrained", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("benchmark_training.json"), help="(default: %(default)s)"
    )
    parser.add_argument(
        "--autoencoder-batch", type=int, default=8, help="crops, of ours (default: %(default)s)"
    )
    parser.add_argument("--sd-batch", type=int, default=16, help="windows, of ours (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="of a turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each loop (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="that torchrun starts, beside one alone "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if min(args.autoencoder_batch, args.sd_batch, args.rounds, args.processes) < 1 or args.seconds <= 0:
        parser.error("batches, --rounds and --processes must be at least 1 and --seconds above 0")
    return args


def main(args: argparse.Namespace) -> None:
    device = pick_device(args.device)
    data = open_trajectories(args.trajectories)
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=args.output.parent) as folder:
        batches = {"train_autoencoder.py": args.autoencoder_batch, "train_sd.py": args.sd_batch}
        loops = {
            "plain autoencoder": lambda: plain(args, plain_autoencoder(data, device), device),
            "plain diffusion": lambda: plain(args, plain_diffusion(args, data, device), device),
        }
        for script, batch in batches.items():
            loops[script] = partial(ours, args, script, batch, Path(folder))
            if args.processes > 1:
                many = f"{script} by {args.processes} processes"
                loops[many] = partial(ours, args, script, batch, Path(folder), args.processes)
        for _ in tqdm(range(args.rounds), unit="round"):
            for name, loop in loops.items():
                rates.setdefault(name, []).append(loop())
    found = {name: statistics.median(each) for name, each in rates.items()}
    ratios = {
        "autoencoder": found["train_autoencoder.py"] / found["plain autoencoder"],
        "diffusion": found["train_sd.py"] / found["plain diffusion"],
    }
    scaling = {
        script: found[name] / found[script]
        for script in batches
        if (name := f"{script} by {args.processes} processes") in found
    }
    report = {
        "samples_per_second": found,
        "ratio": ratios,
        "scaling": scaling,
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    save_json(report, args.output)
    for name, rate in found.items():
        print(f"{name}: {rate:.1f} samples a second")
    print(", ".join(f"{name}: {ratio:.1f} times the plain loop" for name, ratio in ratios.items()))
    for script, ratio in scaling.items():
        print(f"{script}: {args.processes} processes are {ratio:.2f} times as fast as one")
    print(f"wrote {args.output}")


def ours(args: argparse.Namespace, script: str, batch: int, folder: Path, processes: int = 1) -> float:
    """Samples a second of a script in processes of its own, in one epoch that the clock ends."""
    batch *= processes
    run_dir = folder / script
    for left in ("last.pt", "metrics.csv"):  # the encoded recording stays for the next turn
        (run_dir / left).unlink(missing_ok=True)
    launcher, env = [], {**os.environ}
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
        env["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // processes))
    command = [sys.executable, *launcher, HERE / script, "--trajectories", args.trajectories, "--output-dir", run_dir,
               "--batch-size", batch, "--epoch-samples", 10**9, "--max-minutes", args.seconds / 60,
               "--device", args.device]  # fmt: skip
    if script == "train_sd.py":  # without the first tenth of a training, in which its steps are cheaper
        command += ["--autoencoder-dir", args.autoencoder_dir, "--flow-first", 0]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    if done.returncode:
        raise InputError(f"{script} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    with open(run_dir / "metrics.csv", newline="") as file:
        return int(list(csv.DictReader(file))[-1]["step"]) * batch / args.seconds


def plain(args: argparse.Namespace, step: Callable[[], None], device: torch.device) -> float:
    """Samples a second of `step`, which takes PLAIN_BATCH of them."""
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < args.seconds:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        steps += 1
    return steps * PLAIN_BATCH / (time.perf_counter() - began)


def plain_autoencoder(data: Trajectories, device: torch.device) -> Callable[[], None]:
    config = AutoencoderConfig(height=data.height, width=data.width)
    encoder, decoder = Encoder(config).to(device), Decoder(config).to(device)
    learn = plain_optimizer([*encoder.parameters(), *decoder.parameters()], device)
    random = np.random.default_rng(0)
    h, w = min(CROP[0], data.height), min(CROP[1], data.width)

    def step() -> None:
        crops = []
        for _ in range(PLAIN_BATCH):
            row, t = random.integers(data.frames.shape[:2])
            top, left = (
                4 * random.integers((data.height - h) // 4 + 1),
                4 * random.integers((data.width - w) // 4 + 1),
            )
            crops.append(data.frames[row, t, :, top : top + h, left : left + w].astype(np.float32) / 255)
        crops = torch.from_numpy(np.stack(crops)).to(device)
        crop_origin = torch.zeros(PLAIN_BATCH, 2, dtype=torch.int64, device=device)

        def loss() -> Tensor:
            return F.mse_loss(decoder(encoder(crops), size=(h, w), crop_origin=crop_origin).float(), crops)

        learn(loss)

    return step


def plain_diffusion(args: argparse.Namespace, data: Trajectories, device: torch.device) -> Callable[[], None]:
    encoder, decoder = (
        part.to(device)
        for part in load_autoencoder(
            *(args.autoencoder_dir / f"{part}.pt" for part in ("encoder", "decoder"))
        )
    )
    unet = (
        UNet(UNetConfig(num_actions=data.num_actions, use_flow=True))
        .to(device)
        .train()
        .attach_autoencoder(encoder, decoder)
    )
    learn = plain_optimizer(list(unet.parameters()), device)
    L = unet.config.context
    starts = train_windows(data, np.ones(data.actions.shape, bool), L)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        chosen = starts[torch.randint(len(starts), (PLAIN_BATCH,), generator=generator)]
        frames = (
            np.stack([data.frames[row, t : t + L + 1] for row, t in chosen.tolist()]).astype(np.float32) / 255
        )
        actions = np.stack([data.actions[row, t : t + L] for row, t in chosen.tolist()])
        frames, actions = torch.from_numpy(frames).to(device), torch.from_numpy(actions).to(device)

        def loss() -> Tensor:
            with torch.no_grad():
                latents = encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
            fresh = torch.ones(PLAIN_BATCH, dtype=torch.bool)
            truth = FlowTargets(latents[:, :-1], frames[:, -2], frames[:, -1])
            context, target = latents[:, :-1], latents[:, -1]
            return training_loss(unet, context, actions, target, fresh, generator, truth=truth)[0]

        learn(loss)

    return step


def plain_optimizer(
    weights: list[torch.nn.Parameter], device: torch.device
) -> Callable[[Callable[[], Tensor]], None]:
    optimizer = torch.optim.AdamW(weights, 1e-4)
    precise = device.type == "cpu"

    def learn(loss: Callable[[], Tensor]) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, enabled=False) if precise else autocast(device):
            value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        assert np.isfinite(value.item())  # the original logs it at each step

    return learn


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
