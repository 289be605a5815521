r"""Plays the world model in a window: a network generates each frame from the keys you hold; no game runs.

    python sd/play_sd.py                                         # the pretrained world model
    python sd/play_sd.py --start 2                               # another start state
    python sd/play_sd.py --model-path output/my/sd/final.pt      # your own, with the files in its folder
    python sd/play_sd.py --headless --frames 150 --record output/dream.mp4          # no window: to a video
    python sd/play_sd.py --headless --keys my_keys.txt --record output/dream.gif    # each line: up+left 30
    python sd/play_sd.py --real player:Mode7Kart-v0 --real-path ppo                 # the real game next to it
    python sd/play_sd.py --headless --replay output/dream_001.npz                   # generate a recording again

In the window, H shows all keys. Without a display, ten seconds are recorded to output/dream.mp4 (or .gif, without
OpenCV).
"""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from dream.common.errors import InputError, run_script, shorten
from dream.common.files import check_no_file_above
from dream.common.limits import MAX_STEPS
from dream.common.startup import ArgumentParser
from dream.common.video import SUFFIXES, check_opencv, default_suffix
from dream.inference.export_folder import default_start_states
from dream.inference.input_files import WANTED, check_kind
from dream.inference.load_networks import find_agent, load_lap_probe, load_policy
from dream.inference.select_backend import BACKENDS, check_checkpoints, load_backend
from dream.inference.world_model_env import WorldModelEnv
from dream.play import keys
from dream.play.controllers import ScriptController, make_controllers
from dream.play.headless import play_headless, print_times, replay_all
from dream.play.lap_timer import LapTimer
from dream.play.real_env import RealEnv
from dream.play.recording import SAMPLER_SETTINGS, Replay
from dream.play.session import PlaySession
from dream.window.display import has_display

HERE = Path(__file__).resolve().parent
OUTPUT_DIR = HERE.parent / "output"
DRIVERS = ("person", "list", "agent")
HEADLESS_FRAMES = 150
FALLBACK_SECONDS = 10  # of the video that is recorded if there is no display


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    model = parser.add_argument_group("world model")
    model.add_argument("--decoder-path", type=Path, metavar="FILE", help="decoder of train_autoencoder.py "
                       "(default: decoder.pt in the model's folder)")  # fmt: skip
    model.add_argument("--model-path", type=Path, default=HERE / "pretrained" / "model.pt", metavar="FILE",
                       help="diffusion model of train_sd.py (default: %(default)s)")  # fmt: skip
    model.add_argument("--trajectory-path", type=Path, metavar="FILE", help="start states of train_sd.py "
                       "(default: initial_sequence.npz in the model's folder)")  # fmt: skip
    model.add_argument("--start", type=int, default=0, metavar="N",
                       help="number of the start state, from 0 (default: %(default)s)")  # fmt: skip
    model.add_argument("--steps", type=int, metavar="N", help="sampling steps per frame; more than it was trained "
                       "with make frames worse (default: the model's own)")  # fmt: skip
    model.add_argument("--seed", type=int, default=0,
                       help="of the sampling noise and of the agent (default: %(default)s)")  # fmt: skip
    model.add_argument("--backend", choices=BACKENDS, default="auto", help="what runs the networks: PyTorch (torch), "
                       "PyTorch as a CUDA graph (cuda), OpenVINO or ONNX Runtime; the last two export the model first "
                       "if there is no export (default: auto, the fastest one on this machine)")  # fmt: skip
    model.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="of the backend torch (default: %(default)s)",
    )
    driver = parser.add_argument_group("driver (Tab: you, the agent, and the list of --keys)")
    driver.add_argument("--driver", choices=DRIVERS, help="who drives first: you, the action list, or the agent "
                        "(default: list with --keys or --headless, else person)")  # fmt: skip
    driver.add_argument("--keys", type=Path, metavar="FILE",
                        help="action list: a text file of lines such as 'up+left 30', a name or keys (also "
                        "Key.up, ArrowUp ...) and frames; '-' and 'none' are no key, left+right cancel each other "
                        "(default: a demo)")  # fmt: skip
    driver.add_argument("--agent-path", type=Path, metavar="FILE", help="agent: best.pt of ppo/train_ppo.py, or an "
                        ".npz of sd/export_sd.py, which needs no PyTorch (default: agent.npz in the model's folder, "
                        "else the pretrained one)")  # fmt: skip
    driver.add_argument("--replay", type=Path, metavar="FILE", help="an .npz recorded by this script: with --headless, "
                        "generate it again and compare; in the window, play its first episode as the list")  # fmt: skip
    real = parser.add_argument_group("real game next to the world model (T switches the view)")
    real.add_argument("--real", metavar="PACKAGE:ENV", help="a Gymnasium environment with the same actions")
    real.add_argument("--real-path", metavar="DIR", help="folder from which the package is imported")
    real.add_argument(
        "--real-settings",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="arguments of the environment, such as track=1",
    )
    window = parser.add_argument_group("window")
    window.add_argument("--fps", type=float, help="frames per second (default: the game's own)")
    window.add_argument("--scale", type=int, default=4,
                        help="screen pixels per frame pixel, 1 to 16 (default: %(default)s)")  # fmt: skip
    record = parser.add_argument_group("recording")
    record.add_argument("--record", type=Path, metavar="FILE",
                        help="record all frames to an .mp4, .gif or .npz (in the window: keys V and C)")  # fmt: skip
    record.add_argument("--headless", action=argparse.BooleanOptionalAction, default=False,
                        help="no window: play as fast as possible and print the time per frame")  # fmt: skip
    record.add_argument("--frames", type=int, metavar="N", help="frames to play with --headless (default: those of "
                        f"--keys, else {HEADLESS_FRAMES})")  # fmt: skip
    args = parser.parse_args(argv)
    args.decoder_path = args.decoder_path or args.model_path.parent / "decoder.pt"
    args.trajectory_path = args.trajectory_path or default_start_states(args.model_path)
    check_args(parser, args)
    return args


def check_args(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for name in ("start", "seed", "steps", "frames"):
        value, minimum = getattr(args, name), 0 if name in ("start", "seed") else 1
        if value is not None and value < minimum:
            parser.error(f"--{name} {value}: must be {minimum} or more")
    if args.steps and args.steps > MAX_STEPS:
        parser.error(f"--steps {args.steps}: must be {MAX_STEPS} or fewer")
    if args.fps is not None and not 0.1 <= args.fps <= 1000:
        parser.error(f"--fps {args.fps}: must be 0.1 to 1000 frames per second")
    if not 1 <= args.scale <= 16:
        parser.error(f"--scale {args.scale}: must be 1 to 16 screen pixels")
    suffixes = (*SUFFIXES, ".npz")
    if args.record and args.record.suffix.lower() not in suffixes:
        parser.error(f"--record {args.record}: the name must end in {' or '.join(suffixes)}")
    if args.frames and not args.headless:
        parser.error("--frames plays without a window: add --headless")
    ignored = [
        name for name in ("record", "keys", "frames", "driver", "steps", "real") if getattr(args, name)
    ]
    if args.headless and args.replay and ignored:
        parser.error(f"--headless --replay repeats the recording unchanged: remove --{ignored[0]}")
    if args.headless and args.driver == "person":
        parser.error("--headless has no keyboard: use --driver list or agent")
    if args.headless and args.real and args.record and args.record.suffix.lower() == ".npz":
        parser.error(
            "--record FILE.npz holds the world model alone: for the game next to it, name an .mp4 or .gif"
        )
    if args.real is None and (args.real_path or args.real_settings):
        parser.error("--real-path and --real-settings need --real")


def check_inputs(args: argparse.Namespace) -> None:
    """Raises InputError if a file is missing or of another kind, before the model is loaded or exported, which takes
    seconds."""
    check_checkpoints(args.decoder_path, args.model_path)
    kinds = {"trajectory_path": "start states", "replay": "recording", "agent_path": "agent"}
    for option, kind in kinds.items():
        name, path = f"--{option.replace('_', '-')}", getattr(args, option)
        if path:
            check_kind(name, path, kind)
        if path and not path.is_file():
            raise InputError(f"{name} {path}: there is no such file; it takes {WANTED[kind]}")
    if args.record and args.record.is_dir():
        raise InputError(
            f"--record {args.record} is a folder: name a file in it, {args.record / 'dream.mp4'}"
        )
    if args.record:
        check_no_file_above(args.record)
    if args.record and args.record.suffix.lower() == ".mp4":
        check_opencv()


def load_env(args: argparse.Namespace) -> WorldModelEnv:
    """Loads the world model. Raises InputError if a file is invalid or the start state does not exist."""
    check_inputs(args)
    backend = load_backend(args.decoder_path, args.model_path, args.steps, args.backend, args.device)
    env = WorldModelEnv.load(backend, args.trajectory_path, args.seed)
    print(f"backend {backend.name}")
    if args.start >= env.num_starts:
        raise InputError(
            f"--start {args.start}: {args.trajectory_path} has the start states 0 to {env.num_starts - 1}"
        )
    return env


def make_session(args: argparse.Namespace, env: WorldModelEnv, fps: float) -> PlaySession:
    """Returns a session at the start state, with the controllers and, with --real, the real game."""
    start, replay, script = args.start, Replay.load(args.replay, env) if args.replay else None, None
    if replay:
        event = replay.events[0]
        if any(other["t"] < replay.first_episode_length for other in replay.events[1:]):
            print(
                "the recording changes the seed or the sampling steps; only --headless repeats these changes"
            )
        env.start_states.append(replay.start_latents[0], replay.start_actions[0], event["age"])
        start, actions = env.num_starts - 1, replay.actions[: replay.first_episode_length]
        for name in SAMPLER_SETTINGS:
            setattr(env, name, event[name])
        script = (args.replay.name, actions)
    elif args.keys:
        script = (args.keys.name, keys.read_keys_file(args.keys, env.action_names, env.action_keys))
    elif args.headless or args.driver == "list":
        num_frames = args.frames or round(FALLBACK_SECONDS * fps)
        script = ("action list", keys.demo_actions(env.action_keys, num_frames, env.fps))
    agent_path = args.agent_path or find_agent(args.model_path, env.action_names, HERE / "pretrained")
    if args.driver == "agent" and not agent_path:
        raise InputError("--driver agent: there is no agent of this game; --agent-path names one")
    load_agent = partial(load_policy, agent_path, env.action_names, env.backend)
    controllers = make_controllers(env, script, load_agent if agent_path else None, args.seed)
    real = None
    if args.real:
        real = RealEnv(args.real, len(env.action_names), args.real_path, args.real_settings, env.environment)
    probe = load_lap_probe(args.model_path, env.backend, "playing without laps")
    session = PlaySession(env, start, controllers, real, lap_timer=probe and LapTimer(probe, env.fps))
    driver = args.driver or ("list" if args.headless or script else "person")
    session.set_controller(controllers[{"person": 0, "list": 1, "agent": -1}[driver]])
    return session


def open_window(args: argparse.Namespace, session: PlaySession):
    """Returns a PlayWindow or, if none can be opened, the reason as a string."""
    if not has_display():
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    try:
        from dream.window.window import NoDisplay, PlayWindow
    except (ImportError, OSError) as problem:  # or a library that it needs is missing
        return f"pygame cannot be imported: {shorten(problem, 150)}"
    try:
        return PlayWindow(session, args.fps, args.scale, OUTPUT_DIR, args.record)
    except NoDisplay as problem:
        return shorten(problem, 150)


@contextmanager
def signals_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP (a closed terminal) raise KeyboardInterrupt, so that recordings are saved."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {name: signal.signal(getattr(signal, name), signal.default_int_handler) for name in names}
    try:
        yield
    finally:
        for name, handler in handlers.items():
            signal.signal(getattr(signal, name), handler)


@signals_like_ctrl_c()
def main(args: argparse.Namespace) -> None:
    print(f"seed {args.seed}")
    if args.keys:
        keys.parse_keys_file(args.keys)  # before the model is loaded
    env = load_env(args)
    fps = args.fps or env.fps
    if args.replay and args.headless:
        replay_all(args.replay, env)
        return
    session = make_session(args, env, fps)
    script = next((each for each in session.controllers if isinstance(each, ScriptController)), None)
    try:
        if args.headless:
            num_frames = args.frames or (len(script.actions) if args.keys else HEADLESS_FRAMES)
            play_headless(session, num_frames, fps, args.record)
            return
        window = open_window(args, session)
        if isinstance(window, str):
            print(f"no display ({window}): recording ten seconds instead")
            num_frames = len(script.actions) if script else round(FALLBACK_SECONDS * fps)
            if session.human_controls:
                demo = keys.demo_actions(
                    env.action_keys, num_frames, env.fps
                )  # if there is no agent for this game
                session.controllers.append(
                    ScriptController("action list", demo, keys.noop_action(env.action_keys))
                )
                print(session.cycle_controller())
            record_path = args.record or OUTPUT_DIR / f"dream{default_suffix()}"
            play_headless(session, num_frames, fps, record_path)
            return
        window.run()
        print_times(window.times, env.fps, None)
    finally:
        if session.real:
            session.real.close()


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
