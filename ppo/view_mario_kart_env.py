"""Opens a window on the game: play with the keyboard, or watch a random policy or a trained agent.

python ppo/view_mario_kart_env.py                          # Mode7Kart against three rivals; H shows the keys
python ppo/view_mario_kart_env.py --track 2 --rivals 7                # another track, more rivals
python ppo/view_mario_kart_env.py --policy ppo/checkpoints/RUN/best.pt            # watch a trained agent
python ppo/view_mario_kart_env.py --policy random --headless --frames 600 --record output/random.mp4   # no window
python ppo/view_mario_kart_env.py --game SuperMarioKart-Snes --integrations DIR --state NAME           # your own ROM
"""

import argparse
import time
from pathlib import Path
from typing import Iterator, Optional

import player  # noqa: F401  first: it reports packages that are missing
import numpy as np
from player.common.disk_room import DiskFull
from player.common.errors import InputError, run_script
from player.common.frame_size import FULL_SIZE
from player.common.startup import ArgumentParser
from player.common.video import save_video
from player.games.cli import GAME_HELP, add_emulator_options, check_game_options, find_options
from player.games.game import BUILT_IN_GAME
from player.window.controllers import GameSession
from player.window.open_window import open_window


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    game = parser.add_argument_group("game")
    game.add_argument("--game", default=BUILT_IN_GAME, help=GAME_HELP)
    game.add_argument(
        "--track", type=int, default=0, help="Mode7Kart: track number, from 0 (default: %(default)s)"
    )
    game.add_argument(
        "--rivals",
        type=int,
        help="Mode7Kart: number of other karts, 0-12 (default: 3, or 0 with --policy, as in training)",
    )
    add_emulator_options(game)
    controller = parser.add_argument_group("controller")
    controller.add_argument(
        "--policy", help="'random', or a trained agent (best.pt), instead of the keyboard"
    )
    controller.add_argument(
        "--seed", type=int, default=0, help="seed of rivals and policy (default: %(default)s)"
    )
    window = parser.add_argument_group("window and video")
    window.add_argument(
        "--scale",
        type=int,
        default=4,
        help="screen pixels per pixel of the game, 1-16 (default: %(default)s)",
    )
    window.add_argument("--headless", action="store_true", help="no window; runs as fast as possible")
    window.add_argument(
        "--frames",
        type=int,
        default=600,
        help="with --headless: number of game frames (default: %(default)s)",
    )
    window.add_argument("--record", metavar="FILE.mp4", help="with --headless: video file to write")
    args = parser.parse_args(argv)
    if args.rivals is None:
        args.rivals = 0 if args.policy else 3
    check_game_options(parser, args)
    if not 1 <= args.scale <= 16 or args.frames < 1 or args.seed < 0:
        parser.error("--scale must be from 1 to 16, --frames at least 1 and --seed at least 0")
    if args.record and not (args.headless and args.record.lower().endswith(".mp4")):
        parser.error("--record needs --headless and a name that ends in .mp4")
    return args


def main(args: argparse.Namespace) -> None:
    print(f"seed {args.seed}")
    options = find_options(args)
    if args.policy in (None, "random"):  # an agent sees frames of the size of its training
        options["frame_size"] = options["frame_size"] or FULL_SIZE
    session = GameSession(
        args.game, args.integrations, args.state, args.track, args.rivals, args.policy, args.seed,
        options=options,
    )  # fmt: skip
    try:
        if args.headless:
            run_headless(session, args.frames, args.record)
        else:
            open_window(session, args.scale, "add --headless").run()
    finally:
        session.env.close()


def run_headless(session: GameSession, num_frames: int, record_path: Optional[str]) -> None:
    """Runs the session without a window and writes a video if `record_path` is given."""
    frames = play_frames(session, num_frames)
    if record_path is None:
        for _ in frames:
            pass
    else:
        try:
            save_video(frames, Path(record_path), session.game.frame_rate, num_frames=num_frames)
        except DiskFull as problem:
            raise InputError(f"{problem}: free some space, or record to another disk") from None
        except OSError as problem:
            if problem.errno is not None and not isinstance(problem, (PermissionError, FileExistsError)):
                raise
            reason = problem.strerror or problem
            raise InputError(f"--record {record_path}: {reason}: choose another path") from None
        print(f"recorded {record_path}")


def play_frames(session: GameSession, num_frames: int) -> Iterator[np.ndarray]:
    """Yields `num_frames` frames, uint8 (H, W, 3); starts a new episode after each one that ends; prints a summary."""
    num_ended, reward, started = 0, 0.0, time.perf_counter()
    for _ in range(num_frames):
        session.step()
        yield session.frame_u8
        if session.ended:
            num_ended, reward = num_ended + 1, reward + session.total_reward
            session.restart()
    elapsed_s = time.perf_counter() - started
    reward = round(reward + session.total_reward, 1) + 0.0  # + 0.0: there is no -0.0
    print(
        f"{session.name}: {num_frames} frames in {elapsed_s:.1f} s, reward {reward:.1f}, {num_ended} episodes ended"
    )


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
