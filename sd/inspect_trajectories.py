"""Prints a summary of a recording and shows its frames, each with its action.

    python sd/inspect_trajectories.py                      # browse output/recording.npz in a window
    python sd/inspect_trajectories.py --trajectories path/to/trajectories.npz
    python sd/inspect_trajectories.py --save sheet.png     # a contact sheet instead of a window

In the window, H shows all keys, and the mouse drags along the timeline at the lower edge. Where no window can be
opened, only the summary is printed, with exit code 0.
"""

import argparse
from pathlib import Path

import dream  # noqa: F401  first: it reports packages that are missing
import numpy as np
from dream.common.errors import InputError, run_script, shorten
from dream.common.startup import ArgumentParser
from dream.data.splits import episode_ids
from dream.data.trajectories import Trajectories, open_trajectories
from dream.window.dataset_index import evenly_spaced
from dream.window.display import has_display

OUTPUT_DIR = Path(__file__).resolve().parent.parent / "output"
NUM_SAMPLED_FRAMES = 64  # frames from which the range of pixel values is taken


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path("output/recording.npz")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the same as --trajectories FILE")
    parser.add_argument(
        "--trajectories",
        type=Path,
        default=default,
        metavar="FILE",
        help="recording to inspect (default: %(default)s)",
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE.png", help="write a contact sheet instead of opening a window"
    )
    args = parser.parse_args(argv)
    args.trajectories = args.file or args.trajectories
    if args.save is not None and args.save.suffix.lower() not in (".png", ".jpg", ".jpeg", ".bmp"):
        parser.error(f"--save {args.save}: name a .png (or .jpg, .bmp) file")
    return args


def main(args: argparse.Namespace) -> None:
    trajectories = open_trajectories(args.trajectories)
    print_summary(args.trajectories, trajectories)
    if args.save is not None:
        try:
            from dream.window.contact_sheet import save_sheet
        except ImportError as problem:
            raise InputError(f"--save needs pygame ({problem}): pip install -r sd/req.txt") from None
        save_sheet(trajectories, args.trajectories.name, args.save)
        return
    viewer = open_viewer(args, trajectories)
    if isinstance(viewer, str):
        print(f"no window ({viewer}): --save sheet.png writes a picture of the frames instead")
    else:
        viewer.run()


def open_viewer(args: argparse.Namespace, trajectories: Trajectories):
    """Returns a DatasetViewer or, if no window can be opened, the reason as a string."""
    if not has_display():
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    try:
        from dream.window.dataset_viewer import DatasetViewer
        from dream.window.screen import NoDisplay
    except (ImportError, OSError) as problem:  # or a library that it needs is missing
        return f"pygame cannot be imported: {shorten(problem, 150)}"
    try:
        return DatasetViewer(trajectories, args.trajectories.name, OUTPUT_DIR)
    except NoDisplay as problem:
        return shorten(problem, 150)


def print_summary(path: Path, trajectories: Trajectories) -> None:
    """Prints shape, size, duration, actions and episodes of a recording, and what was assumed about it."""
    frames, fps = trajectories.frames, trajectories.fps
    N, T = trajectories.num_rows, trajectories.num_steps
    seconds = trajectories.num_frames / fps
    sample = np.stack(
        [frames[divmod(int(i), T)] for i in evenly_spaced(trajectories.num_frames, NUM_SAMPLED_FRAMES)]
    )
    print(f"recording   {path} ({path.stat().st_size / 1e6:.1f} MB)")
    print(f"game        {trajectories.meta.get('game', 'unknown')}")
    print(
        f"frames      {frames.dtype} {frames.shape}: {N} rows x {T} steps = {trajectories.num_frames} frames"
    )
    print(
        f"            {frames.nbytes / 1e6:.1f} MB, values {sample.min()}..{sample.max()} (mean {sample.mean():.1f})"
    )
    print(f"time        {seconds / 60:.1f} minutes at {fps:g} frames/s")

    counts = np.bincount(trajectories.actions.ravel(), minlength=trajectories.num_actions)
    print(
        f"actions     {trajectories.num_actions}; steps in which each was chosen (its keys count in no other action)"
    )
    width = max(len(name) for name in trajectories.action_names)
    for i, (name, keys) in enumerate(zip(trajectories.action_names, trajectories.action_keys, strict=True)):
        fraction = counts[i] / counts.sum()
        held = "+".join(keys) or "no key"
        print(
            f"  {i:3d} {name:<{width}} {counts[i]:9d} {fraction:6.1%}  {'#' * round(30 * fraction):<30} ({held})"
        )

    lengths = np.bincount(episode_ids(trajectories).ravel())
    print(
        f"episodes    {len(lengths)}, of {lengths.min()} to {lengths.max()} frames, median {np.median(lengths):g}",
        end="",
    )
    print(
        f" ({np.median(lengths) / fps:.1f} s), mean {lengths.mean():.1f}; {trajectories.record_envs or N} environments"
    )
    for key, array in trajectories.extras.items():
        print(f"also        {key} {array.dtype} {array.shape}")
    for line in trajectories.assumptions:
        print(f"assumed     {line}")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
