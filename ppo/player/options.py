"""Which game? The options that scripts have in common."""

import argparse


def add_game_options(parser: argparse.ArgumentParser, many_tracks: bool = False) -> None:
    """many_tracks: --track takes several, and is a list."""
    game = parser.add_argument_group("game")
    game.add_argument(
        "--game", default="Mode7Kart-v0", help="built in, or an emulator game (default: %(default)s)"
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
    game.add_argument("--integrations", help="folder of emulator integrations of your own")
    game.add_argument(
        "--scenario", help="emulator game: which reward and end (default: checkpoints, or the game's own)"
    )
    several = "; several with commas between them, or all: the games take them in turn" if many_tracks else ""
    game.add_argument("--state", help=f"emulator savestate to start from (default: the game's own){several}")


def check_game_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the script with one line where they are out of range."""
    tracks = args.track if isinstance(args.track, list) else [args.track]
    if len(tracks) > 1 and args.game != "Mode7Kart-v0":
        parser.error("several --track are for Mode7Kart-v0; an emulator game has --state A,B,C")
    if min(tracks) < 0 or not 0 <= args.rivals <= 12:
        parser.error("--track must be at least 0 and --rivals from 0 to 12")
