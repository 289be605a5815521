"""Makes savestates of an emulator game, in which episodes can start. They are saved in your data folder.

    python ppo/make_state.py --game SuperMarioKart-Snes --name MarioCircuit       # play in a window; F5 saves
    python ppo/make_state.py --game KartCart-Snes --name Coral --script boot.txt  # no window: a script presses buttons

Keys in the window: arrows; Z and X are B and A, A and S are Y and X, D and F are L and R, Return is START, Backspace is
SELECT. F5 saves NAME, the next F5 NAME-2, and so on. Lines of a script: `START 3` (frames), `none 60`, `B+LEFT 30`, or,
until a variable of data.json has a value, `START until getGameMode 28`.
"""

import argparse
import gzip
from pathlib import Path

from player.common.errors import InputError, run_script
from player.common.frame_size import FULL_SIZE
from player.common.startup import ArgumentParser, command_line
from player.games.game import BUILT_IN_GAME
from player.games.registry import find_game
from player.games.retro.compat import emulator_package, package_game_name
from player.games.retro.env import POWER_ON, register_integrations
from player.games.retro.known_games import KNOWN_GAMES, UNKNOWN_GAME
from player.games.retro.roms import data_folder, write_data_file
from player.window.controllers import PAD_KEYS, ButtonController, GameSession
from player.window.open_window import open_window

# No end of an episode, because menus are not a race, and the whole screen, because menus fill it.
MENU_SETTINGS = {"endless": True, "crop": None, "frame_size": FULL_SIZE}


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", required=True, help="name of an emulator game, such as SuperMarioKart-Snes")
    parser.add_argument(
        "--name", required=True, help="name of the new savestate, for --state of other scripts"
    )
    parser.add_argument(
        "--script", type=Path, metavar="FILE", help="file of button presses, instead of a window"
    )
    parser.add_argument(
        "--integrations", metavar="DIR", help="folder with your own integrations, DIR/<game>/"
    )
    parser.add_argument(
        "--state", default=POWER_ON, help="savestate to continue from (default: the console is switched on)"
    )
    parser.add_argument(
        "--scale",
        type=int,
        default=3,
        help="screen pixels per pixel of the game, 1-16 (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if not args.name.replace("-", "").replace("_", "").isalnum() or args.name in (POWER_ON, "all"):
        parser.error(f"--name {args.name}: use letters, digits, - and _, and neither {POWER_ON} nor all")
    if not 1 <= args.scale <= 16:
        parser.error("--scale must be from 1 to 16")
    if args.game == BUILT_IN_GAME:
        parser.error("Mode7Kart-v0 needs no savestates: it has --track")
    return args


def main(args: argparse.Namespace) -> None:
    if args.name in KNOWN_GAMES.get(args.game, UNKNOWN_GAME).boot_scripts:
        raise InputError(f"--name {args.name}: {args.game} already has a state of that name; choose another")
    register_integrations(args.integrations and str(Path(args.integrations).expanduser().absolute()))
    path = state_path(args.game, args.name)
    if path.exists():
        raise InputError(f"{path} already exists: choose another --name, or remove it")
    if args.script is None:
        make_by_hand(args)
    else:
        make_by_script(args, path)


def make_by_script(args: argparse.Namespace, path: Path) -> None:
    """Runs the script and saves the state at its end. Raises InputError if the script cannot be read or is wrong."""
    try:
        script = args.script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"--script {args.script} cannot be read: {problem}") from None
    env = find_game(args.game, args.integrations, args.state).make(frame_skip=1, **MENU_SETTINGS)
    try:
        env.run_script(script)
        save_state(env, args.game, path)
    finally:
        env.close()


class SavestateSession(GameSession):
    """A session with all buttons of the console, in which F5 saves the current state."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.base_name, self.num_saved = args.name, 0
        super().__init__(args.game, args.integrations, args.state, settings=MENU_SETTINGS)
        self.controller = ButtonController(
            self.game, self.controller.buttons, {**PAD_KEYS, "d": "L", "f": "R"}
        )
        self.hotkeys["f5"] = self.save
        self.waits_for_key = False  # the console shows its logo first
        self.status = f"F5 saves {self.base_name}"

    def save(self) -> None:
        """Saves the current state under the first free name: NAME, NAME-2, NAME-3, ..."""
        while True:
            self.num_saved += 1
            name = self.base_name if self.num_saved == 1 else f"{self.base_name}-{self.num_saved}"
            if not state_path(self.game.name, name).exists():
                break
        save_state(self.env.unwrapped, self.game.name, state_path(self.game.name, name))
        self.status = f"saved {name}"


def make_by_hand(args: argparse.Namespace) -> None:
    """Opens a window in which the user plays and saves. Raises InputError if nothing was saved."""
    session = SavestateSession(args)
    try:
        open_window(session, args.scale, "give a --script").run()
    finally:
        session.env.close()
    if not session.num_saved:
        raise InputError("nothing was saved: press F5 in the window to save")


def state_path(game: str, name: str) -> Path:
    """Path of a savestate in the user's data folder."""
    return data_folder() / package_game_name(emulator_package(), game) / f"{name}.state"


def save_state(env, game: str, path: Path) -> None:
    """Writes the emulator's state as a .state file (gzip) and prints the next command."""
    write_data_file(path, gzip.compress(env.get_state(), mtime=0))
    print(f"saved {path}\nnext: {command_line('ppo/train_ppo.py', '--game', game, '--state', path.stem)}")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
