"""Makes a playable world model of your own game: records it, trains, and opens the window. One command, one budget.

    python sd/train_my_game.py --game LunarLander-v3                       # 45 minutes, then you play
    python sd/train_my_game.py --game ALE/Breakout-v5 --max-minutes 480    # a night: better
    python sd/train_my_game.py --videos FOLDER                             # videos with logs of the keys
    python sd/train_my_game.py --recording FILE.npz
    python sd/train_my_game.py --game Mode7Kart-v0 -- --track 2 --rivals 3     # options of the recorder after --

Runs ppo/record_trajectories.py (or ppo/import_video.py), sd/train_autoencoder.py, sd/train_sd.py, sd/export_sd.py and
sd/play_sd.py. Stop it with Ctrl-C at any time; the same command goes on, and with a larger --max-minutes it continues
a training that has ended. Every minute it writes preview.png into the output folder, and shows it if there is a
display. What the scripts print is in log.txt there.
"""

import argparse
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import dream  # noqa: F401  first: it reports packages that are missing
from dream.common.errors import InputError, run_script, shorten
from dream.common.files import locked_folder
from dream.common.startup import ArgumentParser, command_line
from dream.pipeline.child import Child
from dream.pipeline.progress import previews, summary
from dream.pipeline.run_state import RunState
from dream.pipeline.stages import MIN_MINUTES, Folder, Source, Stage, make_stage, play_command, stage_names
from dream.window.display import has_display
from dream.window.progress_window import ProgressWindow
from tqdm import tqdm

OUTPUT_DIR = Path(__file__).resolve().parents[1] / "output"
PREVIEW_SECONDS = 60
POLL_SECONDS = 0.1


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    argv = sys.argv[1:] if argv is None else argv
    own, options = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--game", metavar="NAME", help="a game of ppo/record_trajectories.py --game")
    source.add_argument(
        "--videos", metavar="FOLDER", help="videos with logs of the keys, see ppo/import_video.py"
    )
    source.add_argument("--recording", metavar="FILE", help="a trajectories.npz")
    parser.add_argument("--max-minutes", type=float, default=45.0, metavar="N",
                        help="time for everything until the window opens (default: %(default)g)")  # fmt: skip
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="(default: output/NAME)")
    parser.add_argument("--play", action=argparse.BooleanOptionalAction, default=True,
                        help="open the window at the end (default: --play)")  # fmt: skip
    args = parser.parse_args(own)
    if not args.max_minutes >= MIN_MINUTES:
        parser.error(f"--max-minutes {args.max_minutes:g}: must be at least {MIN_MINUTES:g}")
    if options and args.recording:
        parser.error("options after -- are for --game or --videos")
    if args.videos and not Path(args.videos).is_dir():
        parser.error(f"--videos {args.videos}: there is no such folder")
    if args.recording and not Path(args.recording).is_file():
        parser.error(f"--recording {args.recording}: there is no such file")
    args.source = Source(args.game, args.videos, args.recording, tuple(options))
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", args.source.name).strip("-.") or "game"
    args.output_dir = args.output_dir or OUTPUT_DIR / name
    return args


def main(args: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the script that runs is stopped as well
    folder = Folder(args.output_dir, args.source)
    with locked_folder(folder.path):
        state = RunState.load(folder.path, args.source)
        state.extend(args.max_minutes)
        print(f"{args.source.name}: {describe(args, state)}")
        window = ProgressWindow.open(f"{args.source.name}: training") if has_display() else None
        with tqdm(total=100, bar_format="{desc} {percentage:3.0f}%|{bar:20}| {postfix}") as bar:
            for name in stage_names(args.source, args.max_minutes):
                if name == "record" and not state.is_finished(name) and folder.recording.exists():
                    bar.write(
                        f"{folder.recording} was stopped early and is used as it is; remove it to record anew"
                    )
                elif not state.is_finished(name):
                    minutes = state.begin(name, args.max_minutes)
                    run_stage(
                        make_stage(name, folder, minutes, args.max_minutes), folder, state, args, bar, window
                    )
                state.finish(name)
        show_preview("finished", folder, state, args, window)
        if window:
            window.close()
    print(f"finished after {state.elapsed_s / 60:.0f} minutes: {summary(folder)}")
    print("play: " + command_line("sd/play_sd.py", "--model-path", folder.model / "final.pt"))
    if args.play:
        play(folder)


def describe(args: argparse.Namespace, state: RunState) -> str:
    """What will happen, for the first line."""
    left = max(0.0, args.max_minutes - state.elapsed_s / 60)
    gone = f"continued after {state.elapsed_s / 60:.0f} minutes, " if state.elapsed_s else ""
    return f"{gone}about {left:.0f} minutes until you can play; Ctrl-C stops, the same command continues"


def run_stage(
    stage: Stage,
    folder: Folder,
    state: RunState,
    args: argparse.Namespace,
    bar: tqdm,
    window: ProgressWindow | None,
) -> None:
    """Runs a stage's script to its end. Raises InputError if it fails, KeyboardInterrupt if it or this is stopped."""
    child = Child(stage.command, folder.path / "log.txt")
    next_preview = 0.0
    try:
        while child.is_running:
            time.sleep(POLL_SECONDS)
            state.tick()
            if window:
                window.update()
            while child.lines:
                bar.write(child.lines.popleft())
            show_bar(stage, folder, state, args, bar)
            if time.monotonic() >= next_preview:
                next_preview = time.monotonic() + PREVIEW_SECONDS
                show_preview(stage.title, folder, state, args, window)
                state.save()
    except BaseException as problem:
        if isinstance(problem, KeyboardInterrupt):
            bar.write("stopping: what is done is saved; the same command continues")
        child.stop()
        state.save()
        raise
    status = child.finish()
    while child.lines:
        bar.write(child.lines.popleft())
    if status:
        reason = shorten(child.last_line.removeprefix("error: "), 200) or f"exit status {status}"
        raise InputError(f"{stage.title}: {reason} (see {folder.path / 'log.txt'})")


def show_bar(stage: Stage, folder: Folder, state: RunState, args: argparse.Namespace, bar: tqdm) -> None:
    """Redraws the bar of the whole run: elapsed and remaining minutes, the stage, and how good the model is."""
    elapsed = state.elapsed_s / 60
    bar.n = min(100, 100 * elapsed / args.max_minutes)
    bar.set_description_str(f"{elapsed:.0f} of {args.max_minutes:g} minutes", refresh=False)
    bar.set_postfix_str(", ".join(filter(None, (stage.title, summary(folder)))), refresh=False)
    bar.update(0)


def show_preview(
    title: str, folder: Folder, state: RunState, args: argparse.Namespace, window: ProgressWindow | None
) -> None:
    """Writes preview.png, and shows it if there is a window."""
    from dream.window.progress_picture import draw_progress, save_progress

    elapsed, left = state.elapsed_s / 60, max(0.0, args.max_minutes - state.elapsed_s / 60)
    line = ", ".join(filter(None, (f"{elapsed:.0f} minutes, {left:.0f} left: {title}", summary(folder))))
    pictures = previews(folder, state.action_names(folder.recording))
    surface = draw_progress(args.source.name, line, elapsed / args.max_minutes, pictures)
    save_progress(surface, folder.path / "preview.png")
    if window:
        window.show(surface)


def play(folder: Folder) -> None:
    """Opens the window; without a display, writes a video of ten seconds."""
    video = None if has_display() else folder.path / "film.gif"
    if subprocess.run(play_command(folder, video)).returncode:
        raise InputError("the window could not be opened: see the message above")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
