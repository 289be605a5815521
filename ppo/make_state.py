"""Makes savestates: places of an emulator game where episodes begin. They go into your data folder.

    python ppo/make_state.py --game SuperMarioKart-Snes --name MarioCircuit      # a window, all buttons; F5 saves
    python ppo/make_state.py --game KartCart-Snes --name Coral --script boot.txt # no window: a list of buttons

Buttons in the window: arrows, Z and X are B and A, A and S are Y and X, D and F are L and R, Return is START,
Backspace SELECT. F5 saves NAME, again NAME-2, and so on. Lines of a script: `START 3` (frames), `none 60`,
`B+LEFT 30`, or, until a variable of data.json has a value, `START until getGameMode 28`.
"""

import argparse
import gzip
from pathlib import Path

from player.common.errors import InputError, run_script
from player.games.registry import find_game
from player.games.retro.compat import emulator_package, name_there
from player.games.retro.env import POWER_ON, use_folders
from player.games.retro.known_games import KNOWN_GAMES, UNKNOWN
from player.games.retro.roms import data_folder, write_aside
from player.window.controllers import PAD_KEYS, ButtonController, GameSession


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--game", required=True, help="an emulator game")
    parser.add_argument("--name", required=True, help="of the savestate, as --state wants it")
    parser.add_argument("--script", type=Path, metavar="FILE", help="buttons to press, in place of a window")
    parser.add_argument("--integrations", help="folder of emulator integrations of your own")
    parser.add_argument(
        "--state", default=POWER_ON, help="savestate to go on from (default: the console is switched on)"
    )
    parser.add_argument(
        "--scale", type=int, default=3, help="screen pixels a pixel, 1-16 (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if not args.name.replace("-", "").replace("_", "").isalnum() or args.name in (POWER_ON, "all"):
        parser.error(f"--name {args.name}: letters, digits, - and _, and neither {POWER_ON} nor all")
    if not 1 <= args.scale <= 16:
        parser.error("--scale must be from 1 to 16")
    if args.game == "Mode7Kart-v0":
        parser.error("Mode7Kart-v0 needs no savestates: it has --track")
    return args


def main(args: argparse.Namespace) -> None:
    if args.name in KNOWN_GAMES.get(args.game, UNKNOWN).boots:
        raise InputError(f"--name {args.name}: {args.game} has that one by itself; choose another")
    use_folders(args.integrations and str(Path(args.integrations).expanduser().absolute()))
    path = state_path(args.game, args.name)
    if path.exists():
        raise InputError(f"{path} is there already: choose another --name, or remove it")
    if args.script is None:
        make_by_hand(args)
    else:
        make_by_script(args, path)


def make_by_script(args: argparse.Namespace, path: Path) -> None:
    try:
        script = args.script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"--script {args.script} cannot be read: {problem}") from None
    env = find_game(args.game, args.integrations, args.state).make(frame_skip=1, **WITHOUT_RULES)
    try:
        env.run_script(script)
        save(env, args.game, path)
    finally:
        env.close()


# Menus are no race: nothing ends there. The whole screen, since menus fill it.
WITHOUT_RULES = {"endless": True, "crop": None}


class Console(GameSession):
    """A game with all its buttons, and a key that saves where it is."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.base, self.saved = args.name, 0
        super().__init__(args.game, args.integrations, args.state, settings=WITHOUT_RULES)
        self.driver = ButtonController(self.game, self.driver.buttons, {**PAD_KEYS, "d": "L", "f": "R"})
        self.hotkeys["f5"] = self.save
        self.note = f"F5 saves {self.base}"

    def save(self) -> None:
        while True:
            self.saved += 1
            name = self.base if self.saved == 1 else f"{self.base}-{self.saved}"
            if not state_path(self.game.name, name).exists():
                break
        save(self.env.unwrapped, self.game.name, state_path(self.game.name, name))
        self.note = f"saved {name}"


def make_by_hand(args: argparse.Namespace) -> None:
    try:
        from player.window.window import Window  # brings pygame
    except ImportError:
        raise InputError("no pygame for a window: `pip install pygame`, or give a --script") from None
    console = Console(args)
    try:
        Window(console, args.scale, "give a --script").run()
    finally:
        console.env.close()
    if not console.saved:
        raise InputError("nothing was saved: F5 saves")


def state_path(game: str, name: str) -> Path:
    return data_folder() / name_there(emulator_package(game), game) / f"{name}.state"


def save(env, game: str, path: Path) -> None:
    write_aside(path, gzip.compress(env.get_state(), mtime=0))
    print(f"saved {path}\nnext: python ppo/train_ppo.py --game {game} --state {path.stem}")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
