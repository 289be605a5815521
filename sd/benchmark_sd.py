"""How fast is the dream, on every backend that this machine has, and how much faster than where it began?

    python sd/benchmark_sd.py --output benchmark.json                # the dream that ships; minutes
    python sd/benchmark_sd.py --output b.json --rounds 1 --frames 5  # a tiny one

A frame is from the keys to RGB bytes that are ready for the window. The backends take turns, a few frames each, so that
a busy machine slows all alike. Beside them `reference`: a network as large and as costly as that of the original
Dream-Mario-Kart (19.9 M weights, 4.33 GFLOP), seven passes a frame, float32, eager; its weights are random.
"""

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from dream.common.errors import InputError, run_script
from dream.evaluation.report import save_json
from dream.inference.backend import Backend
from dream.inference.select_backend import BACKENDS, available, load_backend
from dream.inference.torch_backend import TorchBackend
from dream.inference.world_model_env import WorldModelEnv
from dream.models.unet import REFERENCE, REFERENCE_STEPS, UNet
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
WARM_UP = 3  # frames of each turn that do not count: caches, and another backend's threads that still spin


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("benchmark.json"), help="(default: %(default)s)")
    for option, name in (
        ("decoder", "decoder.pt"),
        ("model", "model.pt"),
        ("trajectory", "initial_sequence.npz"),
    ):
        parser.add_argument(f"--{option}-path", type=Path, metavar="FILE", default=HERE / "pretrained" / name,
                            help="as play_sd.py (default: %(default)s)")  # fmt: skip
    parser.add_argument("--backends", default=",".join(BACKENDS[1:]),
                        help="those of them that this machine has (default: %(default)s)")  # fmt: skip
    parser.add_argument("--steps", type=int, help="sampling steps a frame (default: the model's own)")
    parser.add_argument("--frames", type=int, default=25, help="of a turn that count (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each backend (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=5, help="of a process, for the start-up time (0 = not measured, "
                        "default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="of torch (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    args.backends = args.backends.split(",")
    for name in set(args.backends) - set(BACKENDS[1:]):
        parser.error(f"--backends {name}: known are {', '.join(BACKENDS[1:])}")
    if min(args.frames, args.rounds, args.starts + 1, args.steps or 1) < 1:
        parser.error("--frames, --rounds and --steps must be at least 1 and --starts at least 0")
    return args


def main(args: argparse.Namespace) -> None:
    engines = {"reference": reference_engine(args)}
    for name in args.backends:
        if available(name):
            device = args.device if name == "torch" else "auto"
            engines[name] = load_backend(args.decoder_path, args.model_path, args.steps, name, device)
        else:
            print(f"{name}: not on this machine")
    if len(engines) == 1:
        raise InputError(f"none of {', '.join(args.backends)} is on this machine")
    dreams = {name: WorldModelEnv.load(engine, args.trajectory_path, 0) for name, engine in engines.items()}
    print(f"{torch.get_num_threads()} threads; {args.rounds} turns of {args.frames} frames each")

    times_ms = {name: [] for name in dreams}
    for _ in tqdm(range(args.rounds), unit="round"):
        for name, dream in dreams.items():
            times_ms[name] += play(dream, args.frames)

    found = {name: figures(engines[name], times_ms[name]) for name in dreams}
    reference = found.pop("reference")
    for name, one in found.items():
        one["ratio"] = reference["frame_ms"]["median"] / one["frame_ms"]["median"]
        one.update(measure_starts(args, name))
    best = min(found, key=lambda name: found[name]["frame_ms"]["median"])
    report = {
        "backends": found,
        "reference": reference,
        "best": best,
        "ratio": found[best]["ratio"],
        "threads": torch.get_num_threads(),
        "model": str(args.model_path),
    }
    save_json(report, args.output)
    for line in table(found, reference):
        print(line)
    print(
        f"{best}: {found[best]['frames_per_second']:.1f} frames a second, {report['ratio']:.1f} times the reference"
    )
    print(f"wrote {args.output}")


def reference_engine(args: argparse.Namespace) -> TorchBackend:
    """The dream's decoder behind an untrained network of the original's size: it costs what it would cost trained."""
    engine = load_backend(args.decoder_path, args.model_path, REFERENCE_STEPS, "torch", args.device)
    config = replace(REFERENCE, num_actions=len(engine.game.action_names))
    engine.unet = UNet(config).eval().requires_grad_(False).to(engine.device)
    engine.name = f"{engine.name}, {REFERENCE_STEPS} passes"
    return engine


def play(dream: WorldModelEnv, frames: int) -> list[float]:
    """Milliseconds of each frame. Bytes are in CPU memory when `step` returns, so the device is done by then."""
    dream.reset(0)
    times_ms = []
    for i in range(WARM_UP + frames):
        began = time.perf_counter()
        dream.step(i % len(dream.action_names))
        times_ms.append(1000 * (time.perf_counter() - began))
    return times_ms[WARM_UP:]


def figures(engine: Backend, times_ms: list[float]) -> dict:
    median, p95, p99 = np.percentile(times_ms, [50, 95, 99]).tolist()
    return {
        "name": engine.name,
        "steps": engine.steps,
        "frame_ms": {"median": median, "p95": p95, "p99": p99},
        "frames_per_second": 1000 / statistics.fmean(times_ms),
        "frames": len(times_ms),
    }


def measure_starts(args: argparse.Namespace, backend: str) -> dict:
    """Seconds from the shell to the first frame, and the most memory, of processes of their own (play_sd.py)."""
    if args.starts == 0:
        return {}
    command = [sys.executable, str(HERE / "play_sd.py"), "--headless", "--frames", "1", "--backend", backend]
    for option in ("decoder", "model", "trajectory"):
        command += [f"--{option}-path", str(getattr(args, f"{option}_path"))]
    seconds, most_mb = [], []
    for _ in range(args.starts):
        began, peak = time.perf_counter(), 0.0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            peak = max(peak, peak_mb(process.pid))
            time.sleep(0.005)
        if process.returncode:
            raise InputError(f"{' '.join(command)} ended with {process.returncode}")
        seconds.append(time.perf_counter() - began)
        most_mb.append(peak)
    found = {"start_up_s": statistics.median(seconds), "start_up_s_first": seconds[0]}
    return {**found, "memory_mb": statistics.median(most_mb)} if all(most_mb) else found


def peak_mb(pid: int) -> float:
    """Most resident memory of a running process so far; 0 where the system does not tell (all but Linux)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def table(found: dict, reference: dict) -> list[str]:
    lines = ["| | ms a frame: median | p95 | p99 | frames a second | times the reference | start-up s | memory MB |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for one in (*found.values(), reference):
        cells = [f"{one['frame_ms'][which]:.1f}" for which in ("median", "p95", "p99")]
        cells += [f"{one['frames_per_second']:.1f}"]
        rest = (("ratio", 1), ("start_up_s", 1), ("memory_mb", 0))
        cells += [f"{one[name]:.{digits}f}" if name in one else "" for name, digits in rest]
        lines.append(f"| {one['name']}, {one['steps']} steps | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
