"""Command-line options that both training scripts share."""

import argparse
from pathlib import Path

SD_DIR = Path(__file__).resolve().parents[2]


def add_training_options(
    parser: argparse.ArgumentParser, output_dir: str, epochs: int, sample: str, batch_size: int, rate: float
) -> dict[str, argparse._ArgumentGroup]:
    """Adds paths, length, learning and run options with the given defaults; returns the groups by name, for more
    options.

    output_dir: name of the default run folder in sd/. sample: what one sample of a batch is called, plural.
    """
    paths = parser.add_argument_group("paths")
    paths.add_argument(
        "--trajectories",
        default=SD_DIR / "data" / "trajectories.npz",
        metavar="FILE",
        help="the recording (default: %(default)s)",
    )
    paths.add_argument(
        "--output-dir",
        default=SD_DIR / output_dir,
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
        default=8192,
        help=f"{sample} per epoch; after each the model is measured and saved (default: %(default)s)",
    )
    length.add_argument(
        "--max-minutes",
        type=float,
        default=0,
        help="training time in minutes, with that of the parts before --resume (0: no limit, default: %(default)s)",
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
    if min(args.epochs, args.epoch_samples, args.batch_size) < 1:
        parser.error("--epochs, --epoch-samples and --batch-size must be at least 1")
    if args.max_minutes < 0 or args.learning_rate <= 0:
        parser.error("--max-minutes must be at least 0 (0 = no limit) and --learning-rate above 0")
