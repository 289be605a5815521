"""Makes the Game of an emulator game, such as Super Mario Kart with your own ROM, through stable-retro or gym-retro.

The emulator package reads a game from integration folders, DIR/<game>/: the ROM, data.json (addresses of variables in
memory), scenario.json (reward and end of an episode) and savestates. The files may lie in several folders, which are
searched in this order: `--integrations DIR`, the user's data folder (roms.py), the project's own, the package's.
"""

import difflib
import functools
import os
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import gymnasium

from player.common.errors import InputError
from player.games.flicker import FLICKERING_SYSTEMS
from player.games.game import Game, read_actions
from player.games.retro.compat import emulator_package, package_game_name, rom_finder, rom_frame_rate
from player.games.retro.env import POWER_ON, RetroGame, register_integrations
from player.games.retro.integration_files import (
    check_rom,
    check_scenario,
    check_state,
    default_state,
    read_hashes,
    read_variables,
)
from player.games.retro.known_games import KNOWN_GAMES, UNKNOWN_GAME, KnownGame, generic_actions
from player.games.retro.race_reward import VARIABLES
from player.games.retro.roms import (
    INTEGRATIONS,
    KART_CART,
    MARIO_KART,
    MARIO_KART_BYTES,
    MARIO_KART_SHA1,
    build_kart_cart,
    data_folder,
)
from player.games.retro.trial import try_game

MARIO_KART_ROM = f"your own Super Mario Kart (USA; {MARIO_KART_BYTES:,} bytes, SHA-1 {MARIO_KART_SHA1})"
OTHER_JSON_FILES = ("data", "metadata")  # JSON files of an integration that are not scenarios
FRAME_SKIP = 4
_frame_rates: Dict[Tuple[str, int, int], float] = {}  # path, size and time of a ROM -> frames per second


def make_game(
    name: str,
    integrations: Optional[str] = None,
    state: Optional[str] = None,
    scenario: Optional[str] = None,
    crop: Optional[Tuple[int, int, int, int]] = None,
    actions: Optional[str] = None,
    frame_skip: Optional[int] = None,
    max_frames: Optional[int] = None,
    frame_size: Optional[Tuple[int, int]] = None,
) -> Game:
    """Checks that everything the game needs exists and returns its Game.

    integrations: folder with the user's integrations. state: savestate from which episodes start. The others override
    the game's settings: scenario: name of the reward and episode end; crop: x, y, width and height of the visible part
    of the screen, in pixels; actions: path of a file for `read_actions`; frame_skip; max_frames: each picture is the
    maximum of so many frames, by default 2 on consoles whose games flicker; frame_size: see `resolve_frame_size`.

    Raises InputError if something is missing or wrong; the message says what to do.
    """
    package = emulator_package(name)
    integrations = _check_folder(integrations)
    if name == KART_CART:
        build_kart_cart()
    folders = register_integrations(integrations)
    package_name = package_game_name(package, name)
    # find(file name) -> path in the first folder that has it, or None
    find = functools.partial(package.data.get_file_path, package_name, inttype=folders)
    folder = find("")
    if folder is None or name in ("", ".", "..") or os.path.basename(name) != name:
        raise InputError(_missing_game_message(name, integrations))

    if find("metadata.json"):
        default_state(
            find("metadata.json"), folder + "metadata.json"
        )  # checks the file; the package reads it too
    try:
        rom = rom_finder(package)(package_name, folders)
    except FileNotFoundError:
        raise InputError(_missing_rom_message(name)) from None
    check_rom(rom, find("rom.sha"))
    known = KNOWN_GAMES.get(name, UNKNOWN_GAME)
    variables = read_variables(find("data.json"), folder + "data.json")
    scenario = _find_scenario(scenario, known, folder, find)
    missing = [variable for variable in VARIABLES if variable not in variables]
    if scenario in known.scenarios and missing:
        raise InputError(
            f"--scenario {scenario} reads {', '.join(missing)}, which {find('data.json')} does not have"
        )
    state = _find_state(name, state, known, folder, find, folders)

    system = package.get_romfile_system(rom)
    buttons = package.get_system_info(system)["buttons"]
    chosen = read_actions(actions, buttons) if actions else known.actions or generic_actions(buttons)
    truth_names = tuple(variable for variable in known.variables if variable in variables)
    make = functools.partial(
        RetroGame,
        name,
        chosen,
        crop=crop or known.crop,
        truth_names=truth_names,
        integrations=integrations,
        state=state,
        scenario=scenario,
        known=known,
        frame_size=frame_size,
    )
    if not all(
        _is_trusted(package, path) for path in (rom, find("data.json"), find("scenario.json"), folder)
    ):
        try_game(name, make)
    frame_rate, notes = _frame_rate(package, rom)
    frame_skip = frame_skip or FRAME_SKIP
    if max_frames is None:
        max_frames = 2 if system in FLICKERING_SYSTEMS and frame_skip > 1 else 1
    if max_frames > 1:
        notes.append(f"chosen: each picture is the maximum of {max_frames} frames, against flicker (--max-frames 1 "
                     "turns it off)")  # fmt: skip
        make = functools.partial(make, max_frames=max_frames)
    return Game(
        name, chosen, frame_rate, make, truth_names, frame_skip=frame_skip, max_frames=max_frames, notes=tuple(notes)
    )  # fmt: skip


def _is_trusted(package: Any, path: Optional[str]) -> bool:
    """Whether a file or folder of an integration comes with the emulator package or with the project."""
    return path is None or _belongs_to_project(path) or package.data.path() in os.path.abspath(path)


def _frame_rate(package: Any, rom: str) -> Tuple[float, List[str]]:
    """Frames per second of a ROM, as the emulator says, and notes for the user."""
    status = os.stat(rom)
    key = (rom, status.st_size, status.st_mtime_ns)
    try:
        if key not in _frame_rates:
            _frame_rates[key] = rom_frame_rate(package, rom)
    except Exception as problem:  # another emulator is running in this process, or the core has no figure
        return 60.0, [f"assumed: 60 frames per second (the emulator says: {problem})"]
    rate = _frame_rates[key]
    return rate, [] if rate == 60 else [f"the emulator runs this cartridge at {rate:g} frames per second"]


def _check_folder(integrations: Optional[str]) -> Optional[str]:
    """The absolute path of --integrations. Raises InputError if it is not a folder."""
    if integrations is None:
        return None
    integrations = os.path.abspath(os.path.expanduser(integrations))
    if not os.path.isdir(integrations):
        raise InputError(f"--integrations {integrations} is not a folder")
    return integrations


def list_states(name: str, integrations: Optional[str] = None) -> List[str]:
    """Names of all savestates of a game: those that a boot script makes, then those in files, sorted.

    Raises InputError if the emulator package or the integrations folder is missing.
    """
    package = emulator_package(name)
    boot_scripts = KNOWN_GAMES.get(name, UNKNOWN_GAME).boot_scripts
    folders = register_integrations(_check_folder(integrations))
    return [*boot_scripts, *sorted(_state_files(package, name, folders) - set(boot_scripts))]


def _state_files(package: Any, name: str, folders: Any) -> Set[str]:
    """Names of the savestate files of a game. folders: result of `register_integrations`."""
    return set(package.data.list_states(package_game_name(package, name), folders))


def known_hashes(integrations: Optional[str] = None) -> Dict[str, str]:
    """SHA-1 of a ROM, lowercase hexadecimal -> name of its game, for all games that have a rom.sha."""
    hashes: Dict[str, str] = {}
    data, folders = emulator_package().data, register_integrations(_check_folder(integrations))
    for name in data.list_games(folders):
        hashes.update(dict.fromkeys(read_hashes(data.get_file_path(name, "rom.sha", folders)), name))
    return hashes


def rom_file_name(game: str, suffix: str) -> str:
    """The file name that the emulator expects for a game's ROM: "rom" and an extension of the game's console.

    `suffix`: the extension of the user's file, such as ".sfc"; it is kept if the console has it.
    """
    EMU_INFO = emulator_package().data.EMU_INFO
    console = next((part for part in game.split("-")[1:] if part in EMU_INFO), None)
    extensions = EMU_INFO[console]["ext"] if console else [suffix.lstrip(".")]
    return "rom." + (suffix.lstrip(".") if suffix.lstrip(".") in extensions else extensions[0])


def _find_scenario(scenario: Optional[str], known: KnownGame, folder: str, find: Callable) -> Optional[str]:
    """A key of known.scenarios, or the name, without .json, of a scenario file; None gives the game's default.

    Raises InputError if the scenario file or one of its scripts is missing.
    """
    file = find("scenario.json")
    if scenario is None and file is not None and _belongs_to_project(file):
        scenario = next(iter(known.scenarios), None)
    if scenario in known.scenarios:
        return scenario
    name = (scenario or "scenario").replace(".json", "")
    path = find(name + ".json") if name not in OTHER_JSON_FILES and os.path.basename(name) == name else None
    if path is None and scenario is not None:
        files = [file[:-5] for file in sorted(os.listdir(folder)) if file.endswith(".json")]
        available = [*known.scenarios, *(file for file in files if file not in OTHER_JSON_FILES)]
        raise InputError(
            f"--scenario {scenario} is not in {folder}; available: {', '.join(available) or 'none'}"
        )
    check_scenario(path, folder + name + ".json", find)
    return name


def _belongs_to_project(path: str) -> bool:
    """Whether an integration file is the project's own. Other files in the data folder are the user's."""
    folders = (INTEGRATIONS, data_folder() / KART_CART)
    return any(os.path.abspath(path).startswith(str(folder) + os.sep) for folder in folders)


def _find_state(
    name: str, state: Optional[str], known: KnownGame, folder: str, find: Callable, folders: Any
) -> Optional[str]:
    """The name of an undamaged savestate file, a key of known.boot_scripts, or POWER_ON.

    Returns None if no state was requested and the game has no boot script: the emulator then uses the default state of
    metadata.json, or power-on. Raises InputError if the savestate is missing or damaged, or if Super Mario Kart has no
    default state.
    """
    states, default = sorted({*_state_files(emulator_package(), name, folders), *known.boot_scripts}), None
    if state is None and find("metadata.json"):
        default = default_state(find("metadata.json"), folder + "metadata.json")
        if default is None and name == MARIO_KART:
            raise InputError(
                f"choose a savestate of {name} by --state: {', '.join(states)}"
                if states
                else f"{name} has no savestate yet: `python ppo/make_state.py --game {name} --name NAME` makes one"
            )
        check_state(default, "the default state of metadata.json", folder, states, find)
    if state is None and known.boot_scripts and default is None:
        return next(iter(known.boot_scripts))
    if state != POWER_ON and state not in known.boot_scripts:
        check_state(state, "--state", folder, states, find)
    return state


def _missing_game_message(name: str, integrations: Optional[str]) -> str:
    """Error message for a game that no folder has; suggests similar names."""
    list_games = emulator_package().data.list_games
    if integrations is not None and os.path.basename(integrations) == name:
        return f"--integrations must be the folder that contains {name}/: {os.path.dirname(integrations)}"
    own = [] if integrations is None else sorted(os.listdir(integrations))
    message = f"no game {name!r} in Gymnasium or stable-retro; for your own ROM: --integrations DIR (with DIR/{name}/)"
    if integrations is not None:
        message = f"no folder {name!r} in --integrations {integrations} (it contains: {', '.join(own[:20])})"
    similar = difflib.get_close_matches(
        name, {*gymnasium.registry, *own, *list_games(register_integrations(integrations))}, n=3
    )
    return message + (f"; did you mean {' or '.join(similar)}?" if similar else "")


def _missing_rom_message(name: str) -> str:
    """Error message for a game without a ROM."""
    rom = MARIO_KART_ROM if name == MARIO_KART else "your own (its SHA-1 is in rom.sha)"
    return f"no ROM of {name}: `python ppo/import_game.py FILE` imports {rom}"
