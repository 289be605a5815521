"""Which game? The options that scripts have in common."""

import argparse
from typing import Tuple


def add_game_options(parser: argparse.ArgumentParser, many_tracks: bool = False) -> None:
    """many_tracks: --track takes several, and is a list."""
    game = parser.add_argument_group("game")
    game.add_argument(
        "--game",
        default="Mode7Kart-v0",
        help="built in, an emulator game, or one of Gymnasium's (default: %(default)s)",
    )
    if many_tracks:
        game.add_argument("--track", type=int, nargs="+", default=[0], metavar="N", help="Mode7Kart: courses, from 0; "
                          "the games take them in turn (default: 0)")  # fmt: skip
    else:
        game.add_argument(
            "--track", type=int, default=0, help="Mode7Kart: course, from 0 (default: %(default)s)"
        )
    game.add_argument(
        "--rivals", type=int, default=0, help="Mode7Kart: other karts, 0-12 (default: %(default)s)"
    )
    add_emulator_options(game, many_tracks)


def add_emulator_options(group: argparse._ArgumentGroup, many_states: bool = False) -> None:
    """many_states: --state takes several."""
    group.add_argument("--integrations", help="folder of emulator integrations of your own")
    several = "; several with commas between them, or all: the games take them in turn" if many_states else ""
    group.add_argument("--state", help="emulator savestate to start from; power-on: the console is switched on "
                       f"(default: the game's own){several}")  # fmt: skip
    group.add_argument(
        "--scenario", metavar="NAME", help="emulator: which reward and end (default: the game's own)"
    )
    group.add_argument("--crop", type=crop, metavar="X,Y,W,H", help="what is seen of the screen, pixels "
                       "(default: the game's own, or all)")  # fmt: skip
    group.add_argument("--actions", metavar="FILE", help="emulator: choices, one a line: name, buttons, keys, such as "
                       "jump+right B+RIGHT space+right (default: the game's own)")  # fmt: skip


def crop(text: str) -> Tuple[int, ...]:
    numbers = tuple(int(part) if part.strip().isdecimal() else -1 for part in text.split(","))
    if len(numbers) != 4 or min(numbers) < 0 or min(numbers[2:]) < 16:
        raise argparse.ArgumentTypeError(f"{text}: wanted X,Y,WIDTH,HEIGHT, the last two at least 16")
    return numbers


def emulator_options(args: argparse.Namespace) -> dict:
    """What `find_game` wants of them beside the game, its course and its integrations."""
    return {"scenario": args.scenario, "crop": args.crop, "actions": args.actions}


def check_game_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the script with one line where they are out of range, or of another family of games."""
    if args.game == "Mode7Kart-v0":
        for name in ("integrations", "state", "scenario", "crop", "actions"):
            if getattr(args, name) is not None:
                parser.error(f"--{name} is of other games; Mode7Kart-v0 has --track and --rivals")
    tracks = args.track if isinstance(args.track, list) else [args.track]
    if len(tracks) > 1 and args.game != "Mode7Kart-v0":
        parser.error("several --track are for Mode7Kart-v0; an emulator game has --state A,B,C")
    if min(tracks) < 0 or not 0 <= args.rivals <= 12:
        parser.error("--track must be at least 0 and --rivals from 0 to 12")
