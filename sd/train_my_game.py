"""Makes a playable world model of your own game: records it, trains, and opens the window. One command, one budget.

    python sd/train_my_game.py --game LunarLander-v3                       # 45 minutes, then you play
    python sd/train_my_game.py --game ALE/Breakout-v5 --max-minutes 480    # a night: better
    python sd/train_my_game.py --videos FOLDER                             # videos with logs of the keys
    python sd/train_my_game.py --recording FILE.npz
    python sd/train_my_game.py --game Mode7Kart-v0 -- --track 2 --rivals 3     # options of the recorder after --
    python sd/train_my_game.py --game Mode7Kart-v0 --from-scratch --max-minutes 9 --evaluate      # on a large GPU

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
from dream.pipeline.progress import rollout_quality, summary
from dream.pipeline.recording_checks import check_recording, keep_or_remove
from dream.pipeline.run_state import RunState
from dream.pipeline.stages import (
    MAX_MINUTES,
    MIN_MINUTES,
    Folder,
    Source,
    Stage,
    evaluate_command,
    make_stage,
    play_command,
    stage_names,
)
from dream.window.display import has_display
from dream.window.progress_display import ProgressDisplay

OUTPUT_DIR = Path(__file__).resolve().parents[1] / "output"
POLL_SECONDS = 0.2


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
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="folder of all files (default: output/NAME)"
    )
    parser.add_argument("--from-scratch", action="store_true",
                        help="train all networks anew, not from the pretrained ones: needs hours on a CPU")  # fmt: skip
    parser.add_argument("--evaluate", action="store_true",
                        help="before the window opens, evaluate the model (sd/evaluate_sd.py --quick): on two CPU "
                        "cores an hour, which is not part of --max-minutes")  # fmt: skip
    parser.add_argument("--play", action=argparse.BooleanOptionalAction, default=True,
                        help="open the window at the end (default: --play)")  # fmt: skip
    args, unknown = parser.parse_known_args(own)
    if unknown:
        parser.error(
            f"unknown: {' '.join(unknown)}; options of the recorder go after --, as in --game NAME -- --track 2"
        )
    if not MIN_MINUTES <= args.max_minutes <= MAX_MINUTES:
        parser.error(f"--max-minutes {args.max_minutes:g}: must be from {MIN_MINUTES:g} to {MAX_MINUTES:g}")
    if options and args.recording:
        parser.error("options after -- are for --game or --videos")
    if args.videos and not Path(args.videos).is_dir():
        parser.error(f"--videos {args.videos}: there is no such folder (of videos with logs of the keys)")
    if args.recording and not Path(args.recording).is_file():
        parser.error(f"--recording {args.recording}: there is no such file (trajectories.npz of a recorder)")
    videos, recording = (path and str(Path(path).resolve()) for path in (args.videos, args.recording))
    args.source = Source(args.game, videos, recording, tuple(options), args.from_scratch)
    words = [args.source.name, *(word.strip("-") for word in options), *["from-scratch"] * args.from_scratch]
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(words)).strip("-.")[:80] or "game"
    args.output_dir = args.output_dir or OUTPUT_DIR / name
    return args


def main(args: argparse.Namespace) -> None:
    for name in ("SIGTERM", "SIGHUP"):  # the script that runs is stopped as well
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:  # as by nohup
            signal.signal(getattr(signal, name), signal.default_int_handler)
    folder = Folder(args.output_dir, args.source)
    with locked_folder(folder.path):
        state = RunState.load(folder.path, args.source)
        state.extend(args.max_minutes)
        if folder.source.recording:
            check_recording(folder)
        print(describe(folder, state))
        with ProgressDisplay(folder, state) as display:
            for name in stage_names(args.source, state.max_minutes, state.is_finished("record")):
                kept = "" if name != "record" or state.is_finished(name) else keep_or_remove(folder)
                if kept:
                    display.write(kept)
                elif not state.is_finished(name):
                    minutes = state.begin(name)
                    stage = make_stage(name, folder, minutes, state.max_minutes)
                    run_stage(stage, folder, state, display)
                if name == "record":
                    check_recording(folder)
                state.finish(name)
            display.show("finished")
    print(f"finished after {state.elapsed_s / 60:.0f} minutes: {summary(folder)}")
    quality = rollout_quality(folder)
    if quality is None or not quality.moves:
        what = (
            "no measurement fitted into this time"
            if quality is None
            else "hardly better than a still picture"
        )
        print(f"{what}: the same command with {max(45, round(4 * state.max_minutes))} minutes trains on")
    print("play: " + command_line("sd/play_sd.py", "--model-path", folder.model / "final.pt"))
    if args.evaluate and subprocess.run(evaluate_command(folder)).returncode:
        raise InputError("the model could not be evaluated: see the message above")
    if args.play:
        play(folder)


def describe(folder: Folder, state: RunState) -> str:
    """What will happen, for the first lines."""
    elapsed = state.elapsed_s / 60
    if state.is_finished("export"):
        return f"finished in {elapsed:.0f} minutes; the same command with more minutes trains on"
    begin = f"{elapsed:.0f} minutes are done, " if elapsed else ""
    left = max(0.0, state.max_minutes - elapsed)
    return (
        f"{begin}about {left:.0f} minutes until you can play; Ctrl-C stops, the same command continues\n"
        f"every minute, how far it is: {folder.path / 'preview.png'}"
    )


def run_stage(stage: Stage, folder: Folder, state: RunState, display: ProgressDisplay) -> None:
    """Runs a stage's script to its end. Raises InputError if it fails, KeyboardInterrupt if this is stopped."""
    script = Child(stage.command, folder.path / "log.txt")
    try:
        while script.is_running:
            time.sleep(POLL_SECONDS)
            state.tick(stage.name)
            display.update(stage.title, script.take_lines())
    except BaseException:
        print("\nstopping: what is done is saved; the same command continues", file=sys.stderr)
        raise
    finally:
        status = script.stop() if script.is_running else script.finish()
        state.tick(stage.name)
        state.save()
    display.update(stage.title, script.take_lines())
    if status and stage.name == "export":  # the trained model plays without
        display.write(f"note: not exported ({shorten(script.last_line, 200)}); it is played with PyTorch")
    elif status:
        reason = shorten(script.last_line.removeprefix("error: "), 200) or f"exit status {status}"
        raise InputError(f"{stage.title}: {reason} (see {folder.path / 'log.txt'})")


def play(folder: Folder) -> None:
    """Opens the window; without a display, writes a short video."""
    video = None if has_display() else folder.path / "film.gif"
    if subprocess.run(play_command(folder, video)).returncode:
        raise InputError("the window could not be opened: see the message above")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
