"""Finds and checks emulator games, which run on stable-retro or gym-retro; the main one is Super Mario Kart.

The emulator package is optional and is imported only when an emulator game is requested. It reads a game from
integration folders, DIR/<game>/, which hold the ROM, data.json (memory addresses of the variables), scenario.json
(reward and end of an episode) and savestates. The files of one game may be spread over several such folders, which are
searched in this order: `--integrations DIR`, the user's data folder (games/retro/roms.py), the integrations of this
project, the integrations of the emulator package.
"""

import difflib
import functools
import gzip
import json
import os
import sys
import zlib
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import gymnasium

from player.common.errors import InputError
from player.games.game import Game, read_actions
from player.games.retro.compat import emulator_package, name_there, rom_finder
from player.games.retro.env import FRAME_RATE, POWER_ON, RetroGame, use_folders
from player.games.retro.known_games import KNOWN_GAMES, UNKNOWN, KnownGame, generic_actions
from player.games.retro.race_reward import READS
from player.games.retro.roms import (
    INTEGRATIONS,
    KART_CART,
    MARIO_KART,
    MARIO_KART_BYTES,
    MARIO_KART_SHA1,
    build_kart_cart,
    data_folder,
    sha1_of,
)

MARIO_KART_ROM = f"your own Super Mario Kart (USA; {MARIO_KART_BYTES:,} bytes, SHA-1 {MARIO_KART_SHA1})"

NO_SCENARIOS = ("data", "metadata")  # JSON files of an integration that are not scenarios


def describe(
    name: str,
    integrations: Optional[str] = None,
    state: Optional[str] = None,
    scenario: Optional[str] = None,
    crop: Optional[Tuple[int, int, int, int]] = None,
    actions: Optional[str] = None,
) -> Game:
    """Checks all files that an emulator game needs and returns its description, without opening an emulator.

    integrations: an integration folder that is searched first. state: the savestate at which episodes start. scenario:
    the name of the reward and end of an episode. crop: x, y, width and height in pixels of the visible part of the
    screen. actions: the path of an actions file (see `read_actions`). Each of them that is None takes the game's
    default. Raises InputError, whose message says what to do, where a file is missing or an option does not fit.
    """
    package = emulator_package(name)
    integrations = _checked(integrations)
    if name == KART_CART:
        build_kart_cart()
    folders = use_folders(integrations)
    there = name_there(package, name)
    find = functools.partial(package.data.get_file_path, there, inttype=folders)  # a file's path, or None
    folder = find("")
    if folder is None or name in ("", ".", "..") or os.path.basename(name) != name:
        raise InputError(_game_is_missing(name, integrations))

    try:
        rom = rom_finder(package)(there, folders)
    except FileNotFoundError:
        raise InputError(_rom_is_missing(name)) from None
    _check_rom(rom, find("rom.sha"))
    known = KNOWN_GAMES.get(name, UNKNOWN)
    variables = _read_json(find("data.json"), folder + "data.json").get("info", {})
    if not isinstance(variables, dict):
        raise InputError(f"{find('data.json')}: its info must be the variables by name")
    scenario = _find_scenario(scenario, known, folder, find)
    lacking = [one for one in READS if one not in variables]
    if scenario in known.scenarios and lacking:
        raise InputError(
            f"--scenario {scenario} reads {', '.join(lacking)}, which {find('data.json')} does not have"
        )
    state = _find_state(name, state, known, folder, find, folders)

    buttons = package.get_system_info(package.get_romfile_system(rom))["buttons"]
    choices = read_actions(actions, buttons) if actions else known.actions or generic_actions(buttons)
    truth_names = tuple(variable for variable in known.truth if variable in variables)
    make = functools.partial(
        RetroGame,
        name,
        choices,
        crop=crop or known.crop,
        truth_names=truth_names,
        integrations=integrations,
        state=state,
        scenario=scenario,
        known=known,
    )
    return Game(name, choices, FRAME_RATE, make, truth_names)


def _checked(integrations: Optional[str]) -> Optional[str]:
    """Returns the absolute path of the integration folder, or None for None. Raises InputError if it is no folder."""
    if integrations is None:
        return None
    integrations = os.path.abspath(os.path.expanduser(integrations))
    if not os.path.isdir(integrations):
        raise InputError(f"--integrations {integrations} is not a folder")
    return integrations


def states_of(name: str, integrations: Optional[str] = None) -> List[str]:
    """Returns the names of all savestates of a game: those that a boot script makes, then the files, sorted.

    Raises InputError if the emulator package or the integration folder is missing.
    """
    package = emulator_package(name)
    boots = KNOWN_GAMES.get(name, UNKNOWN).boots
    return [*boots, *sorted(list_states(package, name, use_folders(_checked(integrations))) - set(boots))]


def list_states(package: Any, name: str, folders: Any) -> Set[str]:
    """Returns the names of a game's savestate files. folders: the result of `use_folders`."""
    return set(package.data.list_states(name_there(package, name), folders))


def known_hashes(integrations: Optional[str] = None) -> Dict[str, str]:
    """Returns a dict from the SHA-1 of a ROM, in lowercase hexadecimal, to its game, for all games with a rom.sha."""
    data, found, folders = emulator_package().data, {}, use_folders(_checked(integrations))
    for name in data.list_games(folders):
        with open(data.get_file_path(name, "rom.sha", folders)) as file:
            found.update(dict.fromkeys(file.read().lower().split(), name))
    return found


def rom_name(game: str, suffix: str) -> str:
    """Returns the file name under which the emulator looks for a game's ROM: "rom." and an extension of its console.

    suffix: the extension of the user's file; it is kept if it is one of the console's, or if the console is unknown.
    """
    EMU_INFO = emulator_package().data.EMU_INFO
    console = next((part for part in game.split("-")[1:] if part in EMU_INFO), None)
    known = EMU_INFO[console]["ext"] if console else [suffix.lstrip(".")]
    return "rom." + (suffix.lstrip(".") if suffix.lstrip(".") in known else known[0])


def _find_scenario(scenario: Optional[str], known: KnownGame, folder: str, find: Callable) -> Optional[str]:
    """Returns a key of known.scenarios, or the name, without .json, of a scenario file.

    A scenario of None gives the game's default. Raises InputError if the file or one of its scripts is missing.
    """
    file = find("scenario.json")
    if scenario is None and file is not None and _is_ours(file):
        scenario = next(iter(known.scenarios), None)
    if scenario in known.scenarios:
        return scenario
    name = (scenario or "scenario").replace(".json", "")
    path = find(name + ".json") if name not in NO_SCENARIOS and os.path.basename(name) == name else None
    if path is None and scenario is not None:
        here = [one[:-5] for one in sorted(os.listdir(folder)) if one.endswith(".json")]
        here = [*known.scenarios, *(one for one in here if one not in NO_SCENARIOS)]
        raise InputError(f"--scenario {scenario} is not in {folder}; there: {', '.join(here) or 'none'}")
    for script in _read_json(path, folder + name + ".json").get("scripts", []):
        if find(script) is None:
            raise InputError(f"{folder}{script} is missing: {name}.json names it")
    return name


def _is_ours(path: str) -> bool:
    """Returns whether a file is in an integration of this project, rather than the user's or the package's."""
    ours = (INTEGRATIONS, data_folder() / KART_CART)  # everything else in the data folder belongs to the user
    return any(os.path.abspath(path).startswith(str(own) + os.sep) for own in ours)


def _find_state(
    name: str, state: Optional[str], known: KnownGame, folder: str, find: Callable, folders: Any
) -> Optional[str]:
    """Returns the name of a savestate whose file is readable, a key of known.boots, or `POWER_ON`.

    Returns None if none was requested and the game has no boot script: the emulator then uses the default state of
    metadata.json, or switches the console on. Raises InputError if the savestate is missing or damaged, or if Super
    Mario Kart has no default state.
    """
    states, default = sorted({*list_states(emulator_package(), name, folders), *known.boots}), None
    if state is None and find("metadata.json"):
        metadata = _read_json(find("metadata.json"), folder + "metadata.json")
        default = (metadata.get("default_player_state") or [metadata.get("default_state")])[0]
        if default is None and name == MARIO_KART:
            raise InputError(
                f"choose a savestate of {name} by --state: {', '.join(states)}"
                if states
                else f"{name} has no savestate yet: `python ppo/make_state.py --game {name} --name NAME` makes one"
            )
        _check_state(default, "the default state of metadata.json", folder, states, find)
    if state is None and known.boots and default is None:
        return next(iter(known.boots))
    if state != POWER_ON and state not in known.boots:
        _check_state(state, "--state", folder, states, find)
    return state


def _game_is_missing(name: str, integrations: Optional[str]) -> str:
    """Returns the error message for an unknown game, with up to three similar names."""
    list_games = emulator_package().data.list_games
    if integrations is not None and os.path.basename(integrations) == name:
        return f"--integrations wants the folder that holds {name}/: {os.path.dirname(integrations)}"
    own = [] if integrations is None else sorted(os.listdir(integrations))
    where = f"no game {name!r} in stable-retro; your own: --integrations DIR, which holds DIR/{name}/"
    if integrations is not None:
        where = f"no folder {name!r} in --integrations {integrations} (there: {', '.join(own[:20])})"
    near = difflib.get_close_matches(
        name, {*gymnasium.registry, *own, *list_games(use_folders(integrations))}, n=3
    )
    return where + (f"; did you mean {' or '.join(near)}?" if near else "")


def _rom_is_missing(name: str) -> str:
    """Returns the error message for a game without a ROM."""
    what = MARIO_KART_ROM if name == MARIO_KART else "your own (its SHA-1 is in rom.sha)"
    return f"no ROM of {name}: `python ppo/import_game.py FILE` brings in {what}"


def _check_rom(rom: str, sha_path: Optional[str]) -> None:
    """Checks a ROM file, since the emulator starts a wrong one without an error message.

    Raises InputError if the size of an .sfc file is zero or no multiple of 32,768 bytes. Prints a warning if the SHA-1
    is not in the rom.sha file at sha_path.
    """
    with open(rom, "rb") as file:
        content = file.read()
    if rom.endswith(".sfc") and (not content or len(content) % 32768):
        cure = "copy it again"
        if len(content) % 1024 == 512:
            cure = f"`python ppo/import_game.py {rom}` takes off its 512-byte header"
        raise InputError(f"{rom} has {len(content):,} bytes, which is no multiple of 32,768: {cure}")
    if sha_path is not None:
        with open(sha_path) as file:
            known = file.read().lower().split()
        sha1 = sha1_of(content[16:] if rom.endswith(".nes") else content)
        if sha1 not in known:
            print(f"warning: {rom} (SHA-1 {sha1}) is not the ROM of rom.sha (a hack?)", file=sys.stderr)


def _check_state(state: Optional[str], said: str, folder: str, states: List[str], find: Callable) -> None:
    """Raises InputError if a savestate has no file or its file is not valid gzip. A state of None is accepted.

    said: what the state was named by, for the message.
    """
    if state is None:
        return
    path = find(state if state.endswith(".state") else state + ".state")
    if path is None:
        raise InputError(
            f"{said} {state} is not in {folder}; the states there: {', '.join(states) or 'none'}"
        )
    try:
        with gzip.open(path) as file:
            file.read()
    except (OSError, EOFError, zlib.error) as problem:
        raise InputError(f"{path} is not a savestate (gzip of the emulator's state): {problem}") from None


def _read_json(path: Optional[str], wanted: str) -> Dict[str, Any]:
    """Returns the JSON object in a file. Raises InputError if the path is None or the file holds no JSON object.

    wanted: the path where the file should be, for the message.
    """
    if path is None:
        raise InputError(f"{wanted} is missing: it is one of the game's integration files")
    try:
        with open(path) as file:
            content = json.load(file)
    except ValueError as problem:  # invalid JSON or invalid UTF-8
        raise InputError(f"{path} is not JSON: {problem}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object")
    return content
