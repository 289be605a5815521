r"""Play the dream: a window on a game that is only remembered. No game runs behind it.

    python sd/play_sd.py                                         # the dream that comes with the repository
    python sd/play_sd.py --steps 1 --start 2                     # fastest; another place to start from
    python sd/play_sd.py --model-path output/my/sd/best.pt       # your own, with what stands beside it
    python sd/play_sd.py --headless --frames 150 --record output/dream.mp4          # no window: to a video
    python sd/play_sd.py --headless --keys my_keys.txt --record output/dream.gif    # a line of it: up+left 30
    python sd/play_sd.py --real player:Mode7Kart-v0 --real-path ppo                 # the game beside its dream
    python sd/play_sd.py --headless --replay output/dream_001.npz                   # the same keys, the same frames?

H shows all keys of the window. Where there is no screen, ten seconds are recorded to output/dream.mp4
(or .gif, without OpenCV).
"""

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from dream.common.errors import InputError, run_script
from dream.common.video import SUFFIXES, usual_suffix
from dream.inference.onnx_backend import default_start_states
from dream.inference.select_backend import BACKENDS, load_backend
from dream.inference.world_model_env import WorldModelEnv
from dream.play import keys
from dream.play.controllers import drivers_of
from dream.play.real_env import Real
from dream.play.recorder import Recorder
from dream.play.recording import KNOBS, Replay
from dream.play.session import Ride
from dream.play.timing import FrameTimes, may_have_screen

HERE = Path(__file__).resolve().parent
OUTPUT_DIR = HERE.parent / "output"
AGENT = HERE.parent / "ppo" / "pretrained" / "agent.pt"
DRIVERS = ("person", "list", "agent")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    dream = parser.add_argument_group("the dream")
    dream.add_argument("--decoder-path", type=Path, metavar="FILE", help="latents to frames; train_autoencoder.py "
                       "makes it (default: decoder.pt beside the model)")  # fmt: skip
    dream.add_argument("--model-path", type=Path, default=HERE / "pretrained" / "model.pt", metavar="FILE",
                       help="the diffusion model; train_sd.py makes it (default: %(default)s)")  # fmt: skip
    dream.add_argument("--trajectory-path", type=Path, metavar="FILE", help="places to start from; train_sd.py makes "
                       "it (default: initial_sequence.npz beside the model)")  # fmt: skip
    dream.add_argument(
        "--start",
        type=int,
        default=0,
        metavar="N",
        help="place to start from, counted from 0 (default: %(default)s)",
    )
    dream.add_argument(
        "--steps", type=int, metavar="N", help="denoising steps a frame (default: the model's own)"
    )
    dream.add_argument("--seed", type=int, default=0, help="of the dream's noise (default: %(default)s)")
    dream.add_argument("--backend", choices=BACKENDS, default="auto", help="what dreams it: PyTorch, as it is or as a "
                       "CUDA graph; OpenVINO or ONNX Runtime, from an exported dream, which is made where there is "
                       "none (default: the fastest that this machine has)")  # fmt: skip
    dream.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="of PyTorch (default: %(default)s)"
    )
    driver = parser.add_argument_group("who drives (Tab changes it)")
    driver.add_argument("--driver", choices=DRIVERS, help="to begin with (default: list with --keys or --headless, "
                        "else person)")  # fmt: skip
    driver.add_argument("--keys", type=Path, metavar="FILE",
                        help="text file of keys to hold (default: a fixed drive)")  # fmt: skip
    driver.add_argument("--agent-path", type=Path, default=AGENT if AGENT.is_file() else None, metavar="FILE",
                        help="best.pt of ppo/train_ppo.py (default: %(default)s)")  # fmt: skip
    driver.add_argument("--replay", type=Path, metavar="FILE", help="an .npz that was recorded here: with --headless "
                        "all of it is dreamed again and compared; in the window its first episode drives")  # fmt: skip
    real = parser.add_argument_group("the game beside its dream (T changes the view)")
    real.add_argument("--real", metavar="PACKAGE:ENV", help="a Gymnasium environment with the same actions")
    real.add_argument("--real-path", metavar="DIR", help="folder to import it from")
    real.add_argument(
        "--real-settings", nargs="+", default=[], metavar="NAME=VALUE", help="of it, as track=1"
    )
    window = parser.add_argument_group("the window")
    window.add_argument(
        "--fps", type=float, help="frames a second to play and record at (default: the game's own)"
    )
    window.add_argument("--scale", type=int, default=4,
                        help="screen pixels for a pixel of the dream, 1 to 16 (default: %(default)s)")  # fmt: skip
    record = parser.add_argument_group("recording")
    record.add_argument("--record", type=Path, metavar="FILE",
                        help="record all to an .mp4, .gif or .npz (V, G and C record in the window)")  # fmt: skip
    record.add_argument("--headless", action=argparse.BooleanOptionalAction, default=False,
                        help="no window: play by --keys as fast as it goes, and say how fast that was")  # fmt: skip
    record.add_argument("--frames", type=int, metavar="N",
                        help="frames to play with --headless (default: as many as --keys has, else 150)")  # fmt: skip
    args = parser.parse_args(argv)
    args.decoder_path = args.decoder_path or args.model_path.parent / "decoder.pt"
    args.trajectory_path = args.trajectory_path or default_start_states(args.model_path)
    for name in ("start", "seed", "steps", "frames"):
        value, least = getattr(args, name), 0 if name in ("start", "seed") else 1
        if value is not None and value < least:
            parser.error(f"--{name} {value}: wanted {least} or more")
    if args.fps is not None and not 0.1 <= args.fps <= 1000:
        parser.error(f"--fps {args.fps}: wanted 0.1 to 1000 frames a second")
    if not 1 <= args.scale <= 16:
        parser.error(f"--scale {args.scale}: wanted 1 to 16 screen pixels")
    kinds = (*SUFFIXES, ".npz")
    if args.record and args.record.suffix.lower() not in kinds:
        parser.error(f"--record {args.record}: the name must end in {' or '.join(kinds)}")
    if args.frames and not args.headless:
        parser.error("--frames plays without a window: add --headless")
    beside = [name for name in ("record", "keys", "frames", "driver", "steps", "real") if getattr(args, name)]
    if args.headless and args.replay and beside:
        parser.error(f"--headless --replay dreams all of it again, as it was: without --{beside[0]}")
    if args.headless and args.driver == "person":
        parser.error("--headless has no keys for a person: --driver list or agent")
    if args.driver == "agent" and not args.agent_path:
        parser.error("--driver agent wants --agent-path")
    if args.real is None and (args.real_path or args.real_settings):
        parser.error("--real-path and --real-settings are of --real")
    return args


def load_dream(args: argparse.Namespace):
    engine = load_backend(args.decoder_path, args.model_path, args.steps, args.backend, args.device)
    dream = WorldModelEnv.load(engine, args.trajectory_path, args.seed)
    print(f"backend {engine.name}")
    if args.start >= dream.num_starts:
        raise InputError(
            f"--start {args.start}: {args.trajectory_path} has the places 0 to {dream.num_starts - 1}"
        )
    return dream


def open_ride(args: argparse.Namespace, dream, fps: float) -> Ride:
    """Who can drive, and the game itself where it was asked for."""
    start, replay = args.start, Replay.load(args.replay, dream) if args.replay else None
    if replay:
        mark = replay.marks[0]
        if any(other["t"] < replay.end_of_first for other in replay.marks[1:]):
            print("the knobs that were turned in it stay as they were at first (--headless turns them)")
        dream.places.add(replay.latents[0], replay.before[0], mark["age"])
        start, actions = dream.num_starts - 1, replay.actions[: replay.end_of_first]
        dream.seed, dream.steps = (mark[name] for name in KNOBS)
        listed = (args.replay.name, actions)
    elif args.keys:
        listed = (args.keys.name, keys.read_keys_file(args.keys, dream.action_names, dream.action_keys))
    else:
        drive = args.model_path.parent / "drive.txt"  # beside a model: keys that suit its own course
        if drive.is_file() and not args.headless:
            listed = ("a fixed drive", keys.read_keys_file(drive, dream.action_names, dream.action_keys))
        else:
            num_frames = args.frames or round(10 * fps)
            listed = ("a fixed drive", keys.drive_script(dream.action_keys, num_frames, dream.fps))
    drivers = drivers_of(dream, listed, args.agent_path, args.seed)
    real = None
    if args.real:
        real = Real(args.real, len(dream.action_names), args.real_path, args.real_settings)
    ride = Ride(dream, start, drivers, real)
    wanted = args.driver or ("list" if args.headless or args.keys or replay else "person")
    ride.put_at_the_wheel(drivers[DRIVERS.index(wanted)])
    return ride


def open_window(args: argparse.Namespace, ride: Ride):
    """A window on the ride, or, where there is no screen, the reason in words."""
    if not may_have_screen():
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    try:
        from dream.window.window import DreamWindow, NoScreen
    except ImportError as problem:
        return f"pygame is not installed ({problem})"
    try:
        return DreamWindow(ride, args.fps, args.scale, OUTPUT_DIR, args.record)
    except NoScreen as problem:
        return str(problem)


def play_headless(ride: Ride, num_frames: int, fps: float, record_path: Path | None) -> None:
    recorder = Recorder(ride, fps)
    if record_path:
        recorder.start(record_path)
    times = FrameTimes()
    try:
        for _ in range(num_frames):
            began = time.perf_counter()
            ride.step()
            done = time.perf_counter()
            times.add(done, done - began)
            times.key_to_frame_s.append(done - began)  # no key waits for its turn here, no screen shows it
            recorder.write()
    finally:  # after a Ctrl-C or on a full disk too: what was played is kept and reported
        for running in recorder.running():
            recorder.stop(running)
        report(times, ride.dream.fps, record_path)


def replay_all(path: Path, dream) -> None:
    """Dreams a recording again and says how many of its frames came out the same."""
    replay = Replay.load(path, dream)
    same = sum(
        np.array_equal(frame_u8.transpose(2, 0, 1), recorded)
        for frame_u8, recorded in zip(replay.drive(dream), replay.frames, strict=True)
    )
    print(f"{same} of {len(replay.frames)} frames are the same as recorded")
    if same < len(replay.frames):
        raise InputError(
            "another machine, backend or version rounds otherwise: the same keys, not the same frames"
        )


def report(times: FrameTimes, fps: float, record_path: Path | None) -> None:
    if times.num_frames:
        mean_ms, worst_ms, game_ms = 1000 * times.sum_s / times.num_frames, 1000 * times.worst_s, 1000 / fps
        print(f"{times.num_frames} frames, {mean_ms:.1f} ms a frame, worst {worst_ms:.1f} ms "
              f"(the game's pace is {game_ms:.1f} ms a frame)")  # fmt: skip
    if times.key_to_frame_s:
        median_ms, p95_ms = 1000 * np.quantile(times.key_to_frame_s, [0.5, 0.95])
        print(f"from taking a key to its frame {median_ms:.1f} ms in the median, 95 % within {p95_ms:.1f} ms")
    if times.num_frames and record_path:
        print(f"recorded {record_path}")


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """By a terminal that is closed too, so that what is recorded is kept."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), signal.default_int_handler) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@ended_like_ctrl_c()
def main(args: argparse.Namespace) -> None:
    print(f"seed {args.seed}")
    dream = load_dream(args)
    fps = args.fps or dream.fps
    if args.replay and args.headless:
        replay_all(args.replay, dream)
        return
    ride = open_ride(args, dream, fps)
    try:
        if args.headless:
            listed = len(ride.drivers[DRIVERS.index("list")].actions) if args.keys else 150
            play_headless(ride, args.frames or listed, fps, args.record)
            return
        window = open_window(args, ride)
        if isinstance(window, str):
            print(f"no screen to play on ({window}): recording ten seconds instead")
            if ride.person_drives:
                ride.put_at_the_wheel(ride.drivers[DRIVERS.index("list")])
            record_path = args.record or OUTPUT_DIR / f"dream{usual_suffix()}"
            play_headless(ride, len(ride.drivers[DRIVERS.index("list")].actions), fps, record_path)
            return
        window.run()
        report(window.times, dream.fps, None)
    finally:
        if ride.real:
            ride.real.close()


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
