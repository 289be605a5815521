"""Benchmarks play: time per frame of every backend on this machine, and the speed-up over a network of the original's
size.

    python sd/benchmark_sd.py --output benchmark.json                # the pretrained model; takes minutes
    python sd/benchmark_sd.py --output b.json --rounds 1 --frames 5  # a tiny run

The time of a frame is from the action to RGB bytes that the window can display. The backends take turns, a few frames
each, so that other load on the machine affects all of them. `reference` is an untrained network of the size and cost of
the original Dream-Mario-Kart's (reference_network.py), seven passes per frame, in PyTorch float32 without a graph.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import dream  # noqa: F401  first: it reports packages that are missing
import numpy as np
import torch
from dream.common.errors import InputError, run_script
from dream.common.limits import MAX_STEPS
from dream.common.startup import ArgumentParser
from dream.evaluation.reference_network import REFERENCE_STEPS, ReferenceUNet
from dream.evaluation.report import save_json
from dream.inference.backend import Backend
from dream.inference.select_backend import BACKENDS, is_available, load_backend
from dream.inference.torch_backend import TorchBackend
from dream.inference.world_model_env import WorldModelEnv
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
# Frames at the start of each round that are not timed: caches are cold, and threads of other backends are still active.
WARMUP_FRAMES = 3


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("benchmark.json"), metavar="FILE",
                        help="JSON file of the results (default: %(default)s)")  # fmt: skip
    for option, name in (
        ("decoder", "decoder.pt"),
        ("model", "model.pt"),
        ("trajectory", "initial_sequence.npz"),
    ):
        parser.add_argument(f"--{option}-path", type=Path, metavar="FILE", default=HERE / "pretrained" / name,
                            help="as in play_sd.py (default: %(default)s)")  # fmt: skip
    parser.add_argument("--backends", default=",".join(BACKENDS[1:]),
                        metavar="NAMES",
                        help="separated by commas; without those not available (default: %(default)s)")  # fmt: skip
    parser.add_argument("--steps", type=int, help="sampling steps per frame (default: the model's own)")
    parser.add_argument(
        "--frames", type=int, default=25, help="timed frames per backend and round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=8, help="rounds of all backends (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=5, help="times to start play_sd.py, for its start-up time "
                        "and memory (0 = skip, default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="of the backend torch (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    args.backends = args.backends.split(",")
    for name in set(args.backends) - set(BACKENDS[1:]):
        parser.error(f"--backends {name}: choose from {', '.join(BACKENDS[1:])}")
    if min(args.frames, args.rounds, args.starts + 1) < 1:
        parser.error("--frames and --rounds must be at least 1 and --starts at least 0")
    if args.steps is not None and not 1 <= args.steps <= MAX_STEPS:
        parser.error(f"--steps must be from 1 to {MAX_STEPS}")
    return args


def main(args: argparse.Namespace) -> None:
    backends = {"reference": reference_backend(args)}
    for name in args.backends:
        if is_available(name):
            device = args.device if name == "torch" else "auto"
            backends[name] = load_backend(args.decoder_path, args.model_path, args.steps, name, device)
        else:
            print(f"{name}: not available on this machine")
    if len(backends) == 1:
        raise InputError(f"none of {', '.join(args.backends)} is available on this machine")
    envs = {name: WorldModelEnv.load(backend, args.trajectory_path, 0) for name, backend in backends.items()}
    print(f"{torch.get_num_threads()} threads; {args.rounds} rounds of {args.frames} frames each")

    times_ms = {name: [] for name in envs}
    for _ in tqdm(range(args.rounds), unit="round"):
        for name, env in envs.items():
            times_ms[name] += timed_round(env, args.frames)

    results = {name: latency_stats(backends[name], times_ms[name]) for name in envs}
    reference = results.pop("reference")
    for name, stats in results.items():
        stats["ratio"] = reference["frame_ms"]["median"] / stats["frame_ms"]["median"]
        stats.update(measure_starts(args, name))
    best = min(results, key=lambda name: results[name]["frame_ms"]["median"])
    report = {
        "backends": results,
        "reference": reference,
        "best": best,
        "ratio": results[best]["ratio"],
        "threads": torch.get_num_threads(),
        "model": str(args.model_path),
    }
    save_json(report, args.output)
    for line in table(results, reference):
        print(line)
    print(
        f"{best}: {results[best]['frames_per_second']:.1f} frames per second, {report['ratio']:.1f} times the reference"
    )
    print(f"wrote {args.output}")


def reference_backend(args: argparse.Namespace) -> TorchBackend:
    """The PyTorch backend with an untrained reference network instead of the model's, and the same decoder."""
    backend = load_backend(args.decoder_path, args.model_path, REFERENCE_STEPS, "torch", args.device)
    unet = ReferenceUNet(len(backend.game.action_names), backend.latent_shape[0], backend.context_length)
    backend.unet = unet.eval().requires_grad_(False).to(backend.device)
    backend.name = f"{backend.name}, {REFERENCE_STEPS} passes"
    return backend


def timed_round(env: WorldModelEnv, frames: int) -> list[float]:
    """Times in ms of `frames` frames. `step` returns bytes in CPU memory, so that the device has finished by then."""
    env.reset(0)
    times_ms = []
    for i in range(WARMUP_FRAMES + frames):
        start_s = time.perf_counter()
        env.step(i % len(env.action_names))
        times_ms.append(1000 * (time.perf_counter() - start_s))
    return times_ms[WARMUP_FRAMES:]


def latency_stats(backend: Backend, times_ms: list[float]) -> dict:
    """Median and percentiles of the times per frame in ms, and frames per second."""
    median, p95, p99 = np.percentile(times_ms, [50, 95, 99]).tolist()
    return {
        "name": backend.name,
        "steps": backend.steps,
        "frame_ms": {"median": median, "p95": p95, "p99": p99},
        "frames_per_second": 1000 / statistics.fmean(times_ms),
        "frames": len(times_ms),
    }


def measure_starts(args: argparse.Namespace, backend: str) -> dict:
    """Seconds from starting play_sd.py as a new process to its end after one frame, and its peak memory in MB."""
    if args.starts == 0:
        return {}
    command = [sys.executable, str(HERE / "play_sd.py"), "--headless", "--frames", "1", "--backend", backend]
    for option in ("decoder", "model", "trajectory"):
        command += [f"--{option}-path", str(getattr(args, f"{option}_path"))]
    seconds, peaks_mb = [], []
    for _ in range(args.starts):
        start_s, peak = time.perf_counter(), 0.0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            peak = max(peak, peak_mb(process.pid))
            time.sleep(0.005)
        if process.returncode:
            raise InputError(f"{' '.join(command)} failed with exit code {process.returncode}")
        seconds.append(time.perf_counter() - start_s)
        peaks_mb.append(peak)
    results = {"start_up_s": statistics.median(seconds), "start_up_s_first": seconds[0]}
    return {**results, "memory_mb": statistics.median(peaks_mb)} if all(peaks_mb) else results


def peak_mb(pid: int) -> float:
    """Peak resident memory of a running process in MB; 0 on systems other than Linux."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def table(results: dict, reference: dict) -> list[str]:
    """Lines of a Markdown table, one row per backend."""
    lines = ["| | ms per frame: median | p95 | p99 | frames per s | times the reference | start-up s | memory MB |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in (*results.values(), reference):
        cells = [f"{row['frame_ms'][which]:.1f}" for which in ("median", "p95", "p99")]
        cells += [f"{row['frames_per_second']:.1f}"]
        rest = (("ratio", 1), ("start_up_s", 1), ("memory_mb", 0))
        cells += [f"{row[name]:.{digits}f}" if name in row else "" for name, digits in rest]
        lines.append(f"| {row['name']}, {row['steps']} steps | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
