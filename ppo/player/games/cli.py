"""Command-line options that choose the game, shared by the scripts."""

import argparse
from typing import Tuple

from player.games.game import BUILT_IN_GAME

GAME_HELP = (
    "Mode7Kart-v0: the built-in kart race, which needs nothing else; NAME-CONSOLE, such as SuperMarioKart-Snes or "
    "KartCart-Snes: a console game on the stable-retro or gym-retro emulator; any other name that is registered "
    "with Gymnasium, or package:Env-v0: that environment (default: %(default)s)"
)


def add_game_options(parser: argparse.ArgumentParser, many_tracks: bool = False) -> None:
    """Adds --game and its options. many_tracks: --track accepts several numbers and is a list."""
    game = parser.add_argument_group("game")
    game.add_argument("--game", default=BUILT_IN_GAME, help=GAME_HELP)
    if many_tracks:
        game.add_argument("--track", type=int, nargs="+", default=[0], metavar="N", help="Mode7Kart: track numbers, "
                          "from 0; distributed over the environments (default: 0)")  # fmt: skip
    else:
        game.add_argument(
            "--track", type=int, default=0, help="Mode7Kart: track number, from 0 (default: %(default)s)"
        )
    game.add_argument(
        "--rivals", type=int, default=0, help="Mode7Kart: number of other karts, 0-12 (default: %(default)s)"
    )
    add_emulator_options(game, many_tracks)


def add_emulator_options(group: argparse._ArgumentGroup, many_states: bool = False) -> None:
    """Adds the options of emulator games. many_states: --state accepts several names."""
    group.add_argument(
        "--integrations", metavar="DIR", help="emulator: folder with your own integrations, DIR/<game>/"
    )
    several = (
        "; several, separated by commas, or all: distributed over the environments" if many_states else ""
    )
    group.add_argument("--state", help="emulator: savestate from which episodes start; power-on: the console is "
                       f"switched on (default: the game's own){several}")  # fmt: skip
    group.add_argument(
        "--scenario",
        metavar="NAME",
        help="emulator: definition of reward and episode end (default: the game's own)",
    )
    group.add_argument("--crop", type=crop_box, metavar="X,Y,W,H", help="emulator and Gymnasium: visible part of the "
                       "screen, in pixels (default: the game's own, or all)")  # fmt: skip
    group.add_argument("--actions", metavar="FILE", help="emulator and Gymnasium: the agent's actions, one per line: "
                       "name, buttons, keys, such as jump+right B+RIGHT space+right "
                       "(default: the game's own)")  # fmt: skip


def crop_box(text: str) -> Tuple[int, ...]:
    """Parses "X,Y,WIDTH,HEIGHT", in pixels. Raises ArgumentTypeError; width and height must be at least 16."""
    numbers = tuple(int(part) if part.strip().isdecimal() else -1 for part in text.split(","))
    if len(numbers) != 4 or min(numbers) < 0 or min(numbers[2:]) < 16:
        raise argparse.ArgumentTypeError(
            f"{text}: expected X,Y,WIDTH,HEIGHT, with a size of at least 16 x 16"
        )
    return numbers


def emulator_options(args: argparse.Namespace) -> dict:
    """The options that `find_game` accepts as further keyword arguments."""
    return {"scenario": args.scenario, "crop": args.crop, "actions": args.actions}


def check_game_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Exits with one line if an option is out of range or does not apply to the chosen game."""
    if args.game == BUILT_IN_GAME:
        for name in ("integrations", "state", "scenario", "crop", "actions"):
            if getattr(args, name) is not None:
                parser.error(f"--{name} does not apply to Mode7Kart-v0, which has --track and --rivals")
    tracks = args.track if isinstance(args.track, list) else [args.track]
    if len(tracks) > 1 and args.game != BUILT_IN_GAME:
        parser.error("several --track are for Mode7Kart-v0; an emulator game has --state A,B,C")
    if min(tracks) < 0 or not 0 <= args.rivals <= 12:
        parser.error("--track must be at least 0 and --rivals from 0 to 12")
