"""Benchmarks training: samples per second of both training scripts, compared with baseline loops on the same networks.

    python sd/benchmark_training.py --trajectories FILE --output benchmark_training.json
    python sd/benchmark_training.py --trajectories FILE --seconds 2 --rounds 1     # a tiny run
    python sd/benchmark_training.py --trajectories FILE --processes 4     # also by torchrun, one GPU per process

The baseline ("plain") loop is that of the original Dream-Mario-Kart: batches of 64, float32 (mixed precision on a GPU),
AdamW, frames converted for every batch and, for the diffusion model, encoded again each time. The loops take turns of
--seconds each, the scripts of a minute more; start-up and validation of the scripts are not counted. A sample of
train_autoencoder.py is a crop, one of train_sd.py a window. train_sd.py does more per sample than the baseline
(rollouts after a quarter of the time, the adversarial loss), for which nothing is added to its result. With --processes
N both scripts also run as N processes, each with a batch of the same size; on a CPU they share its cores.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dream  # noqa: F401  first: it reports packages that are missing
import numpy as np
import torch
import torch.nn.functional as F
from dream.common.errors import InputError, run_script
from dream.common.runs import autocast, load_checkpoint, pick_device
from dream.common.startup import ArgumentParser
from dream.data.splits import train_windows
from dream.data.trajectories import Trajectories, open_trajectories
from dream.evaluation.report import save_json
from dream.inference.runtimes import last_line
from dream.models.autoencoder import PATCH, AutoencoderConfig, Decoder, Encoder
from dream.models.checkpoints import load_autoencoder
from dream.models.unet import UNet, UNetConfig
from dream.training.losses import FlowTargets, denoiser_loss, flow_loss, warp_context
from dream.training.noise import add_training_noise
from dream.training.setup import NEW_MODEL
from torch import Tensor
from tqdm import tqdm
from train_autoencoder import CROP

HERE = Path(__file__).resolve().parent
SET_UP_S = 60.0  # for loading, encoding and measuring, which count against --max-minutes
BASELINE_BATCH = 64


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trajectories", type=Path, required=True, metavar="FILE", help="recording to train on"
    )
    parser.add_argument(
        "--autoencoder-dir",
        type=Path,
        default=HERE / "pretrained",
        metavar="DIR",
        help="folder of encoder.pt and decoder.pt (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("benchmark_training.json"),
        metavar="FILE",
        help="JSON file of the results (default: %(default)s)",
    )
    parser.add_argument(
        "--autoencoder-batch",
        type=int,
        default=8,
        help="crops per batch of train_autoencoder.py and process (default: %(default)s)",
    )
    parser.add_argument(
        "--sd-batch",
        type=int,
        default=16,
        help="windows per batch of train_sd.py and process (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=30, help="duration of each loop in each round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all loops (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="also measure the scripts as N processes of torchrun "
                        "(1 = do not, default: %(default)s)", metavar="N")  # fmt: skip
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="where to train (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if min(args.autoencoder_batch, args.sd_batch, args.rounds, args.processes) < 1 or args.seconds <= 0:
        parser.error("batches, --rounds and --processes must be at least 1 and --seconds above 0")
    return args


def main(args: argparse.Namespace) -> None:
    device = pick_device(args.device)
    data = open_trajectories(args.trajectories)
    rates: dict[str, list[float]] = {}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output.parent) as folder:
        batches = {"train_autoencoder.py": args.autoencoder_batch, "train_sd.py": args.sd_batch}
        loops = {
            "plain autoencoder": lambda: baseline_loop(args, baseline_autoencoder(data, device), device),
            "plain diffusion": lambda: baseline_loop(args, baseline_diffusion(args, data, device), device),
        }
        for script, batch in batches.items():
            loops[script] = partial(optimized_loop, args, script, batch, Path(folder))
            if args.processes > 1:
                many = f"{script} by {args.processes} processes"
                loops[many] = partial(optimized_loop, args, script, batch, Path(folder), args.processes)
        for _ in tqdm(range(args.rounds), unit="round"):
            for name, loop in loops.items():
                rates.setdefault(name, []).append(loop())
    results = {name: statistics.median(each) for name, each in rates.items()}
    ratios = {
        "autoencoder": results["train_autoencoder.py"] / results["plain autoencoder"],
        "diffusion": results["train_sd.py"] / results["plain diffusion"],
    }
    of_many = {script: results.get(f"{script} by {args.processes} processes") for script in batches}
    scaling = {script: rate / results[script] for script, rate in of_many.items() if rate}
    report = {
        "samples_per_second": results,
        "ratio": ratios,
        "scaling": scaling,
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    save_json(report, args.output)
    for name, rate in results.items():
        print(f"{name}: {rate:.1f} samples per second")
    print(", ".join(f"{name}: {ratio:.1f} times the plain loop" for name, ratio in ratios.items()))
    for script, ratio in scaling.items():
        print(f"{script}: {args.processes} processes are {ratio:.2f} times as fast as one")
    print(f"wrote {args.output}")


def optimized_loop(
    args: argparse.Namespace, script: str, batch: int, folder: Path, processes: int = 1
) -> float:
    """Samples per second of a training script, run for --seconds as new processes."""
    batch *= processes
    run_dir = folder / script
    for name in ("last.pt", "metrics.csv"):  # keeps the encoded recording for the next round
        (run_dir / name).unlink(missing_ok=True)
    launcher, env = [], {**os.environ}
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
        env["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // processes))
    command = [sys.executable, *launcher, HERE / script, "--trajectories", args.trajectories, "--output-dir", run_dir,
               "--batch-size", batch, "--epoch-samples", 10**9, "--max-minutes", (args.seconds + SET_UP_S) / 60,
               "--device", args.device]  # fmt: skip
    if script == "train_sd.py":  # without flow pre-training, whose steps are cheaper
        command += ["--autoencoder-dir", args.autoencoder_dir, "--flow-pretrain", 0]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    if done.returncode:
        raise InputError(f"{script} failed with exit code {done.returncode}: {last_line(done.stderr)}")
    kind = "model_run" if script == "train_sd.py" else "autoencoder_run"
    last = load_checkpoint(run_dir / "last.pt", kind, script)
    return last["step"] * batch / last["trained_s"]


def baseline_loop(args: argparse.Namespace, step: Callable[[], None], device: torch.device) -> float:
    """Samples per second of `step`, a training step on BASELINE_BATCH samples, called for --seconds."""
    steps, start_s = 0, time.perf_counter()
    while time.perf_counter() - start_s < args.seconds:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        steps += 1
    return steps * BASELINE_BATCH / (time.perf_counter() - start_s)


def baseline_autoencoder(data: Trajectories, device: torch.device) -> Callable[[], None]:
    """A training step of the autoencoder on random crops."""
    config = AutoencoderConfig(height=data.height, width=data.width)
    encoder, decoder = Encoder(config).to(device), Decoder(config).to(device)
    train_step = baseline_optimizer([*encoder.parameters(), *decoder.parameters()], device)
    random = np.random.default_rng(0)
    h, w = min(CROP[0], data.height), min(CROP[1], data.width)

    def step() -> None:
        crops = []
        for _ in range(BASELINE_BATCH):
            row, t = random.integers(data.frames.shape[:2])
            top = PATCH * random.integers((data.height - h) // PATCH + 1)
            left = PATCH * random.integers((data.width - w) // PATCH + 1)
            crops.append(data.frames[row, t, :, top : top + h, left : left + w].astype(np.float32) / 255)
        crops = torch.from_numpy(np.stack(crops)).to(device)
        crop_origin = torch.zeros(BASELINE_BATCH, 2, dtype=torch.int64, device=device)

        def loss() -> Tensor:
            return F.mse_loss(decoder(encoder(crops), size=(h, w), crop_origin=crop_origin).float(), crops)

        train_step(loss)

    return step


def baseline_diffusion(
    args: argparse.Namespace, data: Trajectories, device: torch.device
) -> Callable[[], None]:
    """A training step of the diffusion model, without rollouts and adversarial loss."""
    paths = (args.autoencoder_dir / f"{part}.pt" for part in ("encoder", "decoder"))
    encoder, decoder = (part.to(device) for part in load_autoencoder(*paths))
    unet = UNet(UNetConfig(num_actions=data.num_actions, **NEW_MODEL)).to(device).train()
    unet.attach_autoencoder(encoder, decoder)
    train_step = baseline_optimizer(list(unet.parameters()), device)
    L = unet.config.context
    starts = train_windows(data, np.ones(data.actions.shape, bool), L)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        chosen = starts[torch.randint(len(starts), (BASELINE_BATCH,), generator=generator)]
        frames = (
            np.stack([data.frames[row, t : t + L + 1] for row, t in chosen.tolist()]).astype(np.float32) / 255
        )
        actions = np.stack([data.actions[row, t : t + L] for row, t in chosen.tolist()]).astype(np.int64)
        frames, actions = torch.from_numpy(frames).to(device), torch.from_numpy(actions).to(device)

        def loss() -> Tensor:
            with torch.no_grad():
                latents = encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
            everywhere = torch.ones(BASELINE_BATCH, dtype=torch.bool)
            targets = FlowTargets(latents[:, :-1], frames[:, -2], frames[:, -1])
            target = latents[:, -1]
            noisy = add_training_noise(latents[:, :-1], target, everywhere, everywhere, 0.8, generator)
            photometric = flow_loss(unet, actions, targets)
            warped = warp_context(unet, noisy.context, actions)
            predicted = unet(noisy.z, noisy.t, noisy.context, actions, noisy.context_noise, warped)
            return denoiser_loss(predicted, target)[0] + photometric

        train_step(loss)

    return step


def baseline_optimizer(
    weights: list[torch.nn.Parameter], device: torch.device
) -> Callable[[Callable[[], Tensor]], None]:
    """A function that takes a loss function and makes one step of AdamW on `weights`."""
    optimizer = torch.optim.AdamW(weights, 1e-4)
    full_precision = device.type == "cpu"

    def train_step(loss: Callable[[], Tensor]) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, enabled=False) if full_precision else autocast(device):
            value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        assert np.isfinite(value.item())  # read at each step, because the original logs it

    return train_step


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
