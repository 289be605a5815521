"""What does each choice of the diffusion model do? The same training again and again, one thing changed at a time.

    python sd/ablate_sd.py --trajectories FILE --autoencoder-dir sd/pretrained --output-dir output/ablation
    python sd/ablate_sd.py ... --only ours,regression       # some rows; the others can follow into the same folder
    python sd/ablate_sd.py ... --windows 64 --held-out 4    # a tiny one

Every variant sees the same number of windows of the same recording, from the same seed, and is asked about the same
held-out ones. A stopped run goes on after the last variant that is done. Writes ablation.json and prints the table.
Two at once in one folder, each with other rows and a thread of its own (OMP_NUM_THREADS=1), take two cores further;
what is of another variant, as "frames re-encoded" of "ours", goes with it.
"""

import argparse
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import evaluate_sd
import train_sd
from dream.common.errors import InputError, run_script
from dream.common.runs import pick_device
from dream.evaluation.evaluator import Subject
from dream.evaluation.frame_quality import next_frames, roll_outs
from dream.evaluation.lpips import AlexNet, find_weights, load_alexnet
from dream.evaluation.report import save_json
from dream.models.unet import GROUP

HERE = Path(__file__).resolve().parent
HORIZONS_S = (4 / 15, 16 / 15, 64 / 15)  # of roll-outs: 4, 16 and 64 frames of a game at 15 a second


@dataclass(frozen=True)
class Variant:
    flags: tuple[str, ...] = ()  # of train_sd.py
    width: float = 1.0  # of the network, times --channels
    steps: tuple[int, ...] = (1,)  # of sampling, each a row
    of: str | None = None  # the variant whose model it is, where it is only played otherwise
    reencode: bool = False  # the frames seen go back into the context, encoded again, not the latents dreamed


def without_own_frames(*flags: str, steps: tuple[int, ...] = (1,)) -> Variant:
    return Variant(("--own-frames", "0", *flags), steps=steps)


# Of many levels, each as often: what more than one step of sampling is made of.
LEVELS = ("--pure-noise", "0.1")
VARIANTS = {
    "ours": Variant(steps=(1, 2, 4)),
    "frames re-encoded": Variant(of="ours", reencode=True),
    "no motion": Variant(("--no-motion",)),
    "no discriminator": Variant(("--discriminator", "0")),  # nor walks astray, which it alone judges
    "no walks astray": Variant(("--astray", "0")),
    "mean square error": Variant(("--loss", "square")),
    "AdamW": Variant(("--optimizer", "adamw")),
    "regression": Variant(("--prediction-type", "regression")),
    "context noise untold": Variant(("--context-noise", "untold")),
    "no context noise": Variant(("--context-noise", "off")),
    "cross-attention": Variant(("--actions-by", "attention")),
    "half as wide": Variant(width=0.5),
    "twice as wide": Variant(width=2.0),
    "no own frames": without_own_frames(steps=(1, 2, 4)),
    "no own frames + regression": without_own_frames("--prediction-type", "regression"),
    "no own frames + all levels": without_own_frames(*LEVELS, steps=(1, 2, 4)),
    "no own frames + all levels + ramp": without_own_frames(*LEVELS, "--loss", "ramp", steps=(1, 2, 4)),
    "no own frames + all levels + noise": without_own_frames(
        *LEVELS, "--loss", "square", "--prediction-type", "noise", steps=(1, 4, 8)
    ),
    "no own frames + all levels + velocity": without_own_frames(
        *LEVELS, "--loss", "square", "--prediction-type", "velocity", steps=(1, 2, 4)
    ),
    "no own frames + all levels + EDM": without_own_frames(
        *LEVELS, "--loss", "square", "--prediction-type", "edm", steps=(1, 2, 4)
    ),
}


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    paths = parser.add_argument_group("paths")
    paths.add_argument(
        "--trajectories", default=HERE / "data" / "trajectories.npz", help="(default: %(default)s)"
    )
    paths.add_argument("--autoencoder-dir", default=HERE / "pretrained", help="(default: %(default)s)")
    paths.add_argument(
        "--output-dir", type=Path, default=HERE / "output_ablation", help="(default: %(default)s)"
    )
    paths.add_argument("--lpips-weights", type=Path, help="as evaluate_sd.py")
    effort = parser.add_argument_group("effort")
    effort.add_argument(
        "--only", default=",".join(VARIANTS), help="variants by name (default: all of %(default)s)"
    )
    effort.add_argument(
        "--windows", type=int, default=32_768, help="a variant is trained on (default: %(default)s)"
    )
    effort.add_argument("--batch-size", type=int, default=16, help="windows (default: %(default)s)")
    effort.add_argument("--channels", type=int, nargs=2, default=[64, 128], metavar="C", help="as train_sd.py; fewer: "
                        "there is much to train (default: 64 128)")  # fmt: skip
    effort.add_argument("--held-out", type=int, default=256, help="windows asked about, and an eighth of it roll-outs "
                        "(default: %(default)s)")  # fmt: skip
    effort.add_argument("--seed", type=int, default=0, help="of each training (default: %(default)s)")
    effort.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )
    args = parser.parse_args(argv)
    args.only = args.only.split(",")
    for name in set(args.only) - set(VARIANTS):
        parser.error(f"--only {name}: known are {', '.join(VARIANTS)}")
    if min(args.windows, args.batch_size, args.held_out, args.seed + 1) < 1:
        parser.error("--windows, --batch-size and --held-out must be at least 1 and --seed at least 0")
    if any(width * VARIANTS[name].width % GROUP for width in args.channels for name in args.only):
        parser.error(
            f"--channels must be multiples of {GROUP}, and of {2 * GROUP} for the variant half as wide"
        )
    return args


def main(args: argparse.Namespace) -> None:
    device = pick_device(args.device)
    weights = find_weights(args.lpips_weights)
    alexnet = load_alexnet(weights).to(device) if weights else None
    report = args.output_dir / "ablation.json"
    found = read_report(report, args)
    print(f"{args.windows} windows a variant, channels {args.channels}, seed {args.seed}, {device}")
    save_json(found, report)
    for name in args.only:
        found = read_report(report, args)  # again: another process may have added its rows
        if name in found["rows"]:
            continue
        variant = VARIANTS[name]
        run_dir = args.output_dir / folder_of(variant.of or name)
        if not (run_dir / ".done").exists():
            print(f"\n{name}")
            train(args, VARIANTS[variant.of or name], run_dir)
        subject = load_subject(args, run_dir)
        rows = [
            judge(replace(subject, steps=steps, reencode=variant.reencode), args, alexnet)
            for steps in variant.steps
        ]
        found = read_report(report, args)
        found["rows"][name] = rows
        save_json(found, report)
    for line in table(found["rows"]):
        print(line)
    print(f"wrote {report}")


def folder_of(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def read_report(path: Path, args: argparse.Namespace) -> dict:
    """What is done already, of the same settings."""
    settings = {key: str(getattr(args, key)) for key in ("trajectories", "autoencoder_dir", "windows", "batch_size",
                "channels", "held_out", "seed")}  # fmt: skip
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if any(path.parent.glob("*/last.pt")):
            raise InputError(
                f"trainings of unknown settings stand in {path.parent}: choose another --output-dir"
            )
        return {"settings": settings, "rows": {}}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"] != settings:
        raise InputError(f"{path} is of other settings, {found['settings']}: choose another --output-dir")
    return found


def train(args: argparse.Namespace, variant: Variant, run_dir: Path) -> None:
    """One run of train_sd.py, in two epochs; the recording is encoded once for all."""
    share_latents(args.output_dir, run_dir)
    channels = [str(round(variant.width * width)) for width in args.channels]
    resume = ["--resume"] if (run_dir / "last.pt").exists() else []
    train_sd.main(train_sd.parse_args([
        "--trajectories", str(args.trajectories), "--autoencoder-dir", str(args.autoencoder_dir),
        "--output-dir", str(run_dir), "--epochs", "2", "--epoch-samples", str(-(-args.windows // 2)),
        "--batch-size", str(args.batch_size), "--seed", str(args.seed), "--device", args.device,
        "--channels", *channels, *variant.flags, *resume,
    ]))  # fmt: skip
    (run_dir / ".done").touch()


def share_latents(output_dir: Path, run_dir: Path) -> None:
    """Links latents.npy of another variant into this one's folder: they are the same file on the disk."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for note in sorted(output_dir.glob("*/latents.json")):
        for name in ("latents.npy", "latents.json"):
            if note.parent != run_dir and not (run_dir / name).exists():
                os.link(note.with_name(name), run_dir / name)


def load_subject(args: argparse.Namespace, run_dir: Path) -> Subject:
    paths = ["--trajectories", str(args.trajectories), "--device", args.device, "--backend", "torch"]
    for part, name in (("encoder", "encoder.pt"), ("decoder", "decoder.pt"), ("model", "final.pt")):
        paths += [f"--{part}-path", str(run_dir / name)]
    return evaluate_sd.load_subject(evaluate_sd.parse_args(paths), pick_device(args.device))[0]


def judge(subject: Subject, args: argparse.Namespace, alexnet: AlexNet | None) -> dict:
    """The scores of `next_frames` and `roll_outs` at the subject's number of steps."""
    frames = [max(1, round(seconds * subject.data.fps)) for seconds in HORIZONS_S]
    length = evaluate_sd.longest(subject, frames[-1], tuple(frames[:-1]))
    frames = tuple(frame for frame in frames if frame <= length)
    one = next_frames(subject, args.held_out, (subject.steps,), alexnet)
    many, _ = roll_outs(subject, -(-args.held_out // 8), length, frames, one["autoencoder"], alexnet)
    return {
        "steps": subject.steps,
        "weights": sum(weight.numel() for weight in subject.unet.parameters()),
        "autoencoder": one["autoencoder"],
        "copy_last": one["copy_last"],
        "next_frame": one["teacher_forced"][str(subject.steps)],
        "rollout": many,
    }


def table(rows: dict[str, list[dict]]) -> list[str]:
    """Lines of Markdown: dB, and LPIPS behind a stroke; the ceiling and the baselines of the first row at the end."""

    def cell(score: dict) -> str:
        return f"{score['psnr_db']:.2f}" + ("" if score["lpips"] is None else f" / {score['lpips']:.3f}")

    in_order = [(name, row) for name in VARIANTS if name in rows for row in rows[name]]
    first = in_order[0][1]
    horizons = list(first["rollout"])
    lines = [f"| | steps | next frame | {' | '.join(f'{frames} frames' for frames in horizons)} |"]
    lines.append("|---|---|---|" + "---|" * len(horizons))
    for name, row in in_order:
        cells = [cell(row["next_frame"]), *(cell(score) for score in row["rollout"].values())]
        lines.append(f"| {name} | {row['steps']} | {' | '.join(cells)} |")
    repeated = [cell(score["copy_start"]) for score in first["rollout"].values()]
    lines.append(f"| the last frame repeated | | {cell(first['copy_last'])} | {' | '.join(repeated)} |")
    lines.append(f"| decode(encode(frame)) | | {cell(first['autoencoder'])} |" + " |" * len(horizons))
    return lines


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
