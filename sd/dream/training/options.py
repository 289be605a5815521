"""Command-line options that both training scripts share."""

import argparse
import time
from pathlib import Path

from dream.common.errors import refuse_damaged
from dream.common.runs import NEW_RUN
from dream.common.startup import script_began
from dream.training.schedule import Schedule

EPOCH_SAMPLES = 8192  # of the epochs that --epochs counts, where --epoch-samples is not given


def add_training_options(
    parser: argparse.ArgumentParser, output_dir: str, epochs: int, sample: str, batch_size: int, rate: float
) -> dict[str, argparse._ArgumentGroup]:
    """Adds paths, length, learning and run options with the given defaults; returns the groups by name, for more
    options.

    output_dir: the default run folder. sample: what one sample of a batch is called, plural.
    """
    paths = parser.add_argument_group("paths")
    paths.add_argument(
        "--trajectories",
        default=Path("output/recording.npz"),
        metavar="FILE",
        help="the recording (default: %(default)s)",
    )
    paths.add_argument(
        "--output-dir",
        default=Path(output_dir),
        metavar="DIR",
        help="folder of the run (default: %(default)s)",
    )
    length = parser.add_argument_group("length")
    length.add_argument(
        "--epochs", type=int, default=epochs, help="maximum number of epochs (default: %(default)s)"
    )
    length.add_argument(
        "--epoch-samples",
        type=int,
        help=f"{sample} per epoch; after each the model is measured and saved (default: {EPOCH_SAMPLES} for --epochs, "
        "but measured and saved about every two minutes)",
    )
    length.add_argument(
        "--max-minutes",
        type=float,
        default=0,
        help="time of the whole script in minutes, with that of the parts before --resume: loading, encoding, "
        "training, measuring, saving (0: no limit, default: %(default)s)",
    )
    learning = parser.add_argument_group("learning")
    learning.add_argument(
        "--batch-size",
        type=int,
        default=batch_size,
        help=f"{sample} per step, all processes together (default: %(default)s)",
    )
    learning.add_argument(
        "--learning-rate", type=float, default=rate, help="peak learning rate (default: %(default)s)"
    )
    run = parser.add_argument_group("run")
    run.add_argument("--resume", action="store_true", help="continue the run in the output folder")
    run.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    run.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="auto: CUDA if there is a GPU (default: %(default)s)",
    )
    return {"paths": paths, "length": length, "learning": learning, "run": run}


def check_training_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program through `parser.error` where an option of `add_training_options` is out of range."""
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    if min(args.epochs, args.epoch_samples or 1, args.batch_size) < 1 or args.epoch_samples == 0:
        parser.error("--epochs, --epoch-samples and --batch-size must be at least 1")
    if args.max_minutes < 0 or args.learning_rate <= 0:
        parser.error("--max-minutes must be at least 0 (0 = no limit) and --learning-rate above 0")


def begin_schedule(
    args: argparse.Namespace, resumed: dict | None, num_bytes: float
) -> tuple[Schedule, int | None]:
    """The schedule of a run, and the steps of its epochs (None: they end by the clock). Says how long the run takes and
    what it writes.

    resumed: the content of last.pt. num_bytes: how much the run writes, about. Raises InputError if last.pt is
    damaged."""
    epoch_steps = max(1, (args.epoch_samples or EPOCH_SAMPLES) // args.batch_size)
    times, step = {}, 0
    if resumed:
        with refuse_damaged(Path(args.output_dir) / "last.pt", NEW_RUN):
            step, elapsed_s = int(resumed["step"]), float(resumed["elapsed_s"])
            before = {"trained_s": elapsed_s, "spent_s": 0.0}  # in a last.pt of an older version
            times = {name: float(resumed.get(name, value)) for name, value in before.items()}
            times["elapsed_s"] = elapsed_s
    schedule = Schedule(args.epochs * epoch_steps, args.max_minutes, script_began(), **times)
    if schedule.is_used_up(step):
        print(
            f"nothing left to do after {step} steps: {schedule.stop_reason(step)}; to train on: --resume and "
            + schedule.more_option(step)
        )
    else:
        print(budget_line(schedule, num_bytes, args.output_dir), flush=True)
    return schedule, epoch_steps if args.epoch_samples else None


def budget_line(schedule: Schedule, num_bytes: float, folder: Path) -> str:
    """How long a training takes, and what it writes."""
    size = f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.0f} MB"
    writes = f"writes about {size} to {folder}"
    if not schedule.max_s:
        return f"{schedule.max_steps} steps, without a time limit (--max-minutes); {writes}"
    left_s = max(0.0, schedule.max_s - schedule.elapsed_s())
    ends = time.strftime("%H:%M", time.localtime(time.time() + left_s))
    return f"{schedule.max_s / 60:g} minutes in all, until {ends} (--max-minutes); {writes}"
