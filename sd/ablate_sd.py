"""Ablation study of the diffusion model: the same training several times, with one choice changed in each.

    python sd/ablate_sd.py --trajectories FILE --autoencoder-dir sd/pretrained --output-dir output/ablation
    python sd/ablate_sd.py ... --only baseline,regression   # some variants; others can be added later
    python sd/ablate_sd.py ... --windows 64 --held-out 4    # a tiny run

Every variant is trained on the same number of windows of one recording, from the same seed, and evaluated on the same
held-out windows. A stopped run continues after the last finished variant. Writes ablation.json and prints the table.
Two processes may share a folder, with different rows and one thread each (OMP_NUM_THREADS=1); a variant that reuses the
model of another, as "frames re-encoded" that of "baseline", must be in the same process as that one.
"""

import argparse
import json
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import train_sd
from dream.common.errors import InputError, refuse_damaged, run_script
from dream.common.runs import pick_device
from dream.common.startup import ArgumentParser
from dream.evaluation.evaluator import Evaluator, load_evaluator
from dream.evaluation.frame_quality import evaluate_next_frame, evaluate_rollouts
from dream.evaluation.lpips import AlexNet, find_lpips_weights, load_alexnet
from dream.evaluation.report import save_json

HERE = Path(__file__).resolve().parent
HORIZONS_S = (4 / 15, 16 / 15, 64 / 15)  # of rollouts: 4, 16 and 64 frames of a game at 15 frames per second


@dataclass(frozen=True)
class Variant:
    flags: tuple[str, ...] = ()  # for train_sd.py
    width: float = 1.0  # factor on --channels
    steps: tuple[int, ...] = (1,)  # numbers of sampling steps; each gives a row
    reuses: str | None = None  # the variant whose model is used: only the sampling differs
    reencode: bool = False  # feed back the encoding of the displayed frame, instead of the generated latent


def without_rollouts(*flags: str, steps: tuple[int, ...] = (1,)) -> Variant:
    """A variant that is trained on real contexts alone (teacher forcing)."""
    return Variant(("--rollout-length", "0", *flags), steps=steps)


# Sampling in several steps needs training at all timesteps, not mostly at pure noise.
ALL_TIMESTEPS = ("--pure-noise-fraction", "0.1")
VARIANTS = {
    "baseline": Variant(steps=(1, 2, 4)),
    "frames re-encoded": Variant(reuses="baseline", reencode=True),
    "no flow": Variant(("--no-flow",)),
    "bilinear warp": Variant(("--warp", "bilinear")),
    "no discriminator": Variant(("--gan-weight", "0")),  # implies no off-data rollouts, which need it
    "no off-data rollouts": Variant(("--off-data", "0")),
    "AdamW": Variant(("--optimizer", "adamw")),
    "regression": Variant(("--prediction-type", "regression")),
    "half as wide": Variant(width=0.5),
    "twice as wide": Variant(width=2.0),
    "no rollouts": without_rollouts(steps=(1, 2, 4)),
    "no rollouts + regression": without_rollouts("--prediction-type", "regression"),
    "no rollouts + all timesteps": without_rollouts(*ALL_TIMESTEPS, steps=(1, 2, 4)),
}


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # fmt: off
    paths = parser.add_argument_group("paths")
    paths.add_argument("--trajectories", default=Path("output/recording.npz"), metavar="FILE",
                       help="recording (default: %(default)s)")
    paths.add_argument("--autoencoder-dir", default=HERE / "pretrained", metavar="DIR",
                       help="folder of encoder.pt and decoder.pt (default: %(default)s)")
    paths.add_argument("--output-dir", type=Path, default=Path("output/ablation"), metavar="DIR",
                       help="one run folder per variant, and ablation.json (default: %(default)s)")
    paths.add_argument("--lpips-weights", type=Path, metavar="FILE", help="as in evaluate_sd.py")
    settings = parser.add_argument_group("settings")
    settings.add_argument("--only", default=",".join(VARIANTS), metavar="NAMES",
                          help="variants, separated by commas (default: all, %(default)s)")
    settings.add_argument("--windows", type=int, default=32_768,
                          help="training windows per variant (default: %(default)s)")
    settings.add_argument("--batch-size", type=int, default=16, help="windows per batch (default: %(default)s)")
    settings.add_argument("--channels", type=int, nargs=2, default=[64, 128], metavar="C",
                          help="channels at 1/2 and 1/4 of the latent resolution, as in train_sd.py (default: 64 128)")
    settings.add_argument("--held-out", type=int, default=256,
                          help="held-out windows for the next frame, and 1/8 as many rollouts (default: %(default)s)")
    settings.add_argument("--seed", type=int, default=0, help="seed of each training (default: %(default)s)")
    settings.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"),
                          help="where to compute (default: %(default)s)")
    # fmt: on
    args = parser.parse_args(argv)
    args.only = args.only.split(",")
    for name in set(args.only) - set(VARIANTS):
        parser.error(f"--only {name}: choose from {', '.join(VARIANTS)}")
    if min(args.windows, args.batch_size, args.held_out, args.seed + 1) < 1:
        parser.error("--windows, --batch-size and --held-out must be at least 1 and --seed at least 0")
    return args


def main(args: argparse.Namespace) -> None:
    device = pick_device(args.device)
    weights = find_lpips_weights(args.lpips_weights)
    alexnet = load_alexnet(weights).to(device) if weights else None
    for name in args.only:  # checks the options of all variants before the first training
        training_args(args, VARIANTS[name], args.output_dir)
    path = args.output_dir / "ablation.json"
    report = read_report(path, args)
    print(f"{args.windows} windows per variant, channels {args.channels}, seed {args.seed}, {device}")
    save_report(report, path)
    for name in args.only:
        report = read_report(path, args)  # again: another process may have added rows
        if name in report["rows"]:
            continue
        variant = VARIANTS[name]
        trained = variant.reuses or name
        run_dir = args.output_dir / folder_name(trained)
        if not (run_dir / ".done").exists():
            print(f"\n{name}")
            train(args, VARIANTS[trained], run_dir)
        evaluator = load_variant(args, run_dir)
        rows = [
            evaluate_variant(replace(evaluator, steps=steps, reencode=variant.reencode), args, alexnet)
            for steps in variant.steps
        ]
        report = read_report(path, args)
        report["rows"][name] = rows
        save_report(report, path)
    for line in table(report["rows"]):
        print(line)
    print(f"wrote {path}")


def folder_name(name: str) -> str:
    """Name of the run folder of a variant: its letters and digits, with _ for all others."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def read_report(path: Path, args: argparse.Namespace) -> dict:
    """The report so far: settings, and rows by variant. Raises InputError if its settings are not those of `args`."""
    names = ("trajectories", "autoencoder_dir", "windows", "batch_size", "channels", "held_out", "seed")
    settings = {name: str(getattr(args, name)) for name in names}
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if any(path.parent.glob("*/last.pt")):
            raise InputError(
                f"{path.parent} contains runs without ablation.json: choose another --output-dir"
            )
        return {"settings": settings, "rows": {}}
    with refuse_damaged(path, "choose another --output-dir"):
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["crc32"] != rows_checksum(report["rows"]):
            raise ValueError("wrong checksum of the rows")
        same_settings = report["settings"] == settings
    if not same_settings:
        raise InputError(f"{path} has other settings, {report['settings']}: choose another --output-dir")
    return report


def save_report(report: dict, path: Path) -> None:
    """Writes ablation.json, with a checksum of its rows."""
    save_json({**report, "crc32": rows_checksum(report["rows"])}, path)


def rows_checksum(rows: dict) -> int:
    """CRC-32 of the rows; the same before they are written (with numbers as keys) and after they are read (text)."""
    return zlib.crc32(json.dumps(json.loads(json.dumps(rows)), sort_keys=True).encode())


def training_args(args: argparse.Namespace, variant: Variant, run_dir: Path) -> argparse.Namespace:
    """Arguments of train_sd.py for a variant: two epochs, continued where the run exists."""
    channels = [str(round(variant.width * width)) for width in args.channels]
    resume = ["--resume"] if (run_dir / "last.pt").exists() else []
    return train_sd.parse_args([
        "--trajectories", str(args.trajectories), "--autoencoder-dir", str(args.autoencoder_dir),
        "--output-dir", str(run_dir), "--epochs", "2", "--epoch-samples", str(-(-args.windows // 2)),
        "--batch-size", str(args.batch_size), "--seed", str(args.seed), "--device", args.device,
        "--channels", *channels, *variant.flags, *resume,
    ])  # fmt: skip


def train(args: argparse.Namespace, variant: Variant, run_dir: Path) -> None:
    """Trains a variant with train_sd.py. The recording is encoded only once for all variants."""
    share_latents(args.output_dir, run_dir)
    train_sd.main(training_args(args, variant, run_dir))
    (run_dir / ".done").touch()


def share_latents(output_dir: Path, run_dir: Path) -> None:
    """Hard-links latents.npy of another variant into this run's folder, so that they are stored only once."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for metadata in sorted(output_dir.glob("*/latents.json")):
        for name in ("latents.npy", "latents.json"):
            if metadata.parent != run_dir and not (run_dir / name).exists():
                os.link(metadata.with_name(name), run_dir / name)


def load_variant(args: argparse.Namespace, run_dir: Path) -> Evaluator:
    """The trained model of a run, ready for evaluation."""
    paths = (run_dir / name for name in ("encoder.pt", "decoder.pt", "final.pt"))
    return load_evaluator(args.trajectories, *paths, pick_device(args.device))[0]


def evaluate_variant(evaluator: Evaluator, args: argparse.Namespace, alexnet: AlexNet | None) -> dict:
    """Scores of `evaluate_next_frame` and `evaluate_rollouts` at the evaluator's number of sampling steps."""
    horizons = [max(1, round(seconds * evaluator.data.fps)) for seconds in HORIZONS_S]
    length = evaluator.longest_rollout(horizons[-1], tuple(horizons[:-1]))
    horizons = tuple(frames for frames in horizons if frames <= length)
    next_frame = evaluate_next_frame(evaluator, args.held_out, (evaluator.steps,), alexnet)
    ceiling = next_frame["autoencoder"]
    rollouts, _ = evaluate_rollouts(evaluator, -(-args.held_out // 8), length, horizons, ceiling, alexnet)
    return {
        "steps": evaluator.steps,
        "weights": sum(weight.numel() for weight in evaluator.unet.parameters()),
        "autoencoder": ceiling,
        "copy_last": next_frame["copy_last"],
        "next_frame": next_frame["teacher_forced"][str(evaluator.steps)],
        "rollout": rollouts,
    }


def table(rows: dict[str, list[dict]]) -> list[str]:
    """Lines of a Markdown table: PSNR in dB, with LPIPS after a slash. The last lines are the copy baseline and the
    ceiling, from the first row."""

    def cell(score: dict) -> str:
        return f"{score['psnr_db']:.2f}" + ("" if score["lpips"] is None else f" / {score['lpips']:.3f}")

    ordered = [(name, row) for name in VARIANTS if name in rows for row in rows[name]]
    first = ordered[0][1]
    horizons = list(first["rollout"])
    lines = [f"| | steps | next frame | {' | '.join(f'{frames} frames' for frames in horizons)} |"]
    lines.append("|---|---|---|" + "---|" * len(horizons))
    for name, row in ordered:
        cells = [cell(row["next_frame"]), *(cell(score) for score in row["rollout"].values())]
        lines.append(f"| {name} | {row['steps']} | {' | '.join(cells)} |")
    copies = [cell(score["copy_first"]) for score in first["rollout"].values()]
    lines.append(f"| last frame repeated | | {cell(first['copy_last'])} | {' | '.join(copies)} |")
    lines.append(f"| autoencoder | | {cell(first['autoencoder'])} |" + " |" * len(horizons))
    return lines


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
