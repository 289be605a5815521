"""Command-line options that choose the game, shared by the scripts."""

import argparse
import json
from typing import Any, Dict, Tuple

from player.common.frame_size import FRAME_SIZE_HELP, frame_side
from player.games.flicker import MAX_MERGED
from player.games.game import BUILT_IN_GAME

MAX_FRAME_SKIP = 1000

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


def add_frame_skip(parser: argparse.ArgumentParser) -> None:
    """Adds --frame-skip; None stands for the game's default."""
    parser.add_argument("--frame-skip", type=int, metavar="N", help="game frames per step (default: the game's own: 4, "
                        "or 1 where it is turn-based, slow, or skips frames itself)")  # fmt: skip


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
    group.add_argument("--frame-size", type=frame_side, nargs=2, metavar=("HEIGHT", "WIDTH"),
                       help=FRAME_SIZE_HELP)  # fmt: skip
    group.add_argument("--actions", metavar="FILE", help="emulator and Gymnasium: the agent's actions, one per line: "
                       "name, buttons, keys, such as jump+right B+RIGHT space+right "
                       "(default: the game's own)")  # fmt: skip
    group.add_argument("--max-frames", type=int, metavar="N", help="emulator and Gymnasium: each picture is the "
                       "maximum of the last N frames, against flicker (1 = off; default: 2 for Atari and NES, or as "
                       "measured; otherwise 1)")  # fmt: skip
    group.add_argument("--game-settings", type=game_setting, nargs="+", action="extend", metavar="NAME=VALUE",
                       help="Gymnasium: keyword arguments of the environment, such as difficulty=2 "
                       "continuous=false")  # fmt: skip
    group.add_argument(
        "--game-path", metavar="DIR", help="Gymnasium: folder from which MODULE of MODULE:NAME is imported"
    )


def game_setting(text: str) -> Tuple[str, Any]:
    """Parses NAME=VALUE; the value is JSON (numbers, true, false, null, lists), Python's True, False or None, or a
    string. Raises ArgumentTypeError."""
    name, equals, value = text.partition("=")
    if not name.isidentifier() or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE, such as difficulty=2")
    if value in ("True", "False", "None"):
        return name, {"True": True, "False": False, "None": None}[value]
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def crop_box(text: str) -> Tuple[int, ...]:
    """Parses "X,Y,WIDTH,HEIGHT", in pixels. Raises ArgumentTypeError; width and height must be at least 16."""
    numbers = tuple(int(part) if part.strip().isdecimal() else -1 for part in text.split(","))
    if len(numbers) != 4 or min(numbers) < 0 or min(numbers[2:]) < 16:
        raise argparse.ArgumentTypeError(
            f"{text}: expected X,Y,WIDTH,HEIGHT, with a size of at least 16 x 16"
        )
    return numbers


def find_options(args: argparse.Namespace) -> Dict[str, Any]:
    """The options that `find_game` accepts as further keyword arguments."""
    return {
        "scenario": args.scenario,
        "crop": args.crop,
        "frame_size": args.frame_size and tuple(args.frame_size),
        "actions": args.actions,
        "frame_skip": getattr(args, "frame_skip", None),
        "max_frames": args.max_frames,
        "game_settings": dict(args.game_settings) if args.game_settings else None,
        "game_path": args.game_path,
    }


def check_game_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Exits with one line if an option is out of range or does not apply to the chosen game."""
    if args.game == BUILT_IN_GAME:
        names = (
            "integrations",
            "state",
            "scenario",
            "crop",
            "actions",
            "max_frames",
            "game_settings",
            "game_path",
        )
        for name in names:
            if getattr(args, name) is not None:
                option = "--" + name.replace("_", "-")
                parser.error(
                    f"{option} does not apply to Mode7Kart-v0, which has --track, --rivals and --frame-size"
                )
    tracks = args.track if isinstance(args.track, list) else [args.track]
    if len(tracks) > 1 and args.game != BUILT_IN_GAME:
        parser.error("several --track are for Mode7Kart-v0; an emulator game has --state A,B,C")
    if args.max_frames is not None and not 1 <= args.max_frames <= MAX_MERGED:
        parser.error(f"--max-frames must be from 1 to {MAX_MERGED}")
    if getattr(args, "frame_skip", None) is not None and not 1 <= args.frame_skip <= MAX_FRAME_SKIP:
        parser.error(f"--frame-skip must be from 1 to {MAX_FRAME_SKIP}")
    if min(tracks) < 0 or not 0 <= args.rivals <= 12:
        parser.error("--track must be at least 0 and --rivals from 0 to 12")
