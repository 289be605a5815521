"""A window on the game: play it by keys, or watch random or trained play.

python ppo/view_mario_kart_env.py                                     # Mode7Kart against three rivals; arrow keys
python ppo/view_mario_kart_env.py --track 2 --rivals 7                # another course, more company
python ppo/view_mario_kart_env.py --policy ppo/checkpoints/RUN/best.pt            # watch what was learned
python ppo/view_mario_kart_env.py --policy random --headless --frames 600 --record output/random.mp4   # no window
python ppo/view_mario_kart_env.py --game SuperMarioKart-Snes --integrations DIR --state NAME           # your own ROM
"""

import argparse
import time
from pathlib import Path
from typing import Iterator, Optional

import numpy as np
from player.common.errors import InputError, run_script
from player.common.video import save_video
from player.games.cli import add_emulator_options, check_game_options, emulator_options
from player.window.controllers import GameSession


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    game = parser.add_argument_group("game")
    game.add_argument(
        "--game",
        default="Mode7Kart-v0",
        help="built in, an emulator game, or one of Gymnasium's (default: %(default)s)",
    )
    game.add_argument("--track", type=int, default=0, help="Mode7Kart: course, from 0 (default: %(default)s)")
    game.add_argument(
        "--rivals", type=int, help="Mode7Kart: other karts, 0-12 (default: 3, with --policy 0 as in training)"
    )
    add_emulator_options(game)
    driver = parser.add_argument_group("who drives")
    driver.add_argument("--policy", help="'random', or an agent (best.pt), in place of your keys")
    driver.add_argument("--seed", type=int, default=0, help="of rivals and policy (default: %(default)s)")
    window = parser.add_argument_group("window and video")
    window.add_argument(
        "--scale", type=int, default=4, help="screen pixels a pixel, 1-16 (default: %(default)s)"
    )
    window.add_argument("--headless", action="store_true", help="no window: as fast as it goes")
    window.add_argument(
        "--frames", type=int, default=600, help="with --headless: game frames (default: %(default)s)"
    )
    window.add_argument("--record", help="with --headless: an .mp4 to write")
    args = parser.parse_args(argv)
    if args.rivals is None:
        args.rivals = 0 if args.policy else 3
    check_game_options(parser, args)
    if not 1 <= args.scale <= 16 or args.frames < 1 or args.seed < 0:
        parser.error("--scale must be from 1 to 16, --frames at least 1 and --seed at least 0")
    if args.record and not (args.headless and args.record.lower().endswith(".mp4")):
        parser.error("--record wants --headless and a name that ends in .mp4")
    return args


def main(args: argparse.Namespace) -> None:
    print(f"seed {args.seed}")
    race = GameSession(
        args.game, args.integrations, args.state, args.track, args.rivals, args.policy, args.seed,
        emulator=emulator_options(args),
    )  # fmt: skip
    try:
        if args.headless:
            run_headless(race, args.frames, args.record)
        else:
            open_window(race, args.scale).run()
    finally:
        race.env.close()


def open_window(race: GameSession, scale: int):
    try:
        from player.window.window import Window  # brings pygame, which nothing else here needs
    except ImportError:
        raise InputError("no pygame for a window: `pip install pygame`, or add --headless") from None
    return Window(race, scale)


def run_headless(race: GameSession, num_frames: int, record_path: Optional[str]) -> None:
    frames = play_frames(race, num_frames)
    if record_path is None:
        for _ in frames:
            pass
    else:
        try:
            save_video(frames, Path(record_path), race.game.frame_rate)
        except ImportError:
            raise InputError("--record needs OpenCV: `pip install opencv-python`") from None
        except OSError as problem:
            if problem.errno is not None and not isinstance(problem, (PermissionError, FileExistsError)):
                raise
            raise InputError(f"--record {record_path}: {problem}") from None
        print(f"recorded {record_path}")


def play_frames(race: GameSession, num_frames: int) -> Iterator[np.ndarray]:
    """A race that ends is followed by the next."""
    races, reward, started = 0, 0.0, time.perf_counter()
    for _ in range(num_frames):
        race.step()
        yield race.frame_u8
        if race.ended:
            races, reward = races + 1, reward + race.total_reward
            race.restart()
    took_s = time.perf_counter() - started
    reward += race.total_reward
    print(f"{race.name}: {num_frames} frames in {took_s:.1f} s, reward {reward:.1f}, {races} races ended")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
