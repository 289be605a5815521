"""Reads and checks the files of an integration folder: ROM, rom.sha, data.json, scenario.json, metadata.json, states.

The emulator package trusts these files: a wrong type in one of them is an exception of any kind, a reward of 0, or a
crash. Everything here raises InputError with one line that names the file.
"""

import gzip
import json
import re
import sys
import zlib
from typing import Any, Callable, Dict, List, Optional

from player.common.errors import InputError, first_line, shorten
from player.games.retro.rom_layouts import UNPACK, find_archive
from player.games.retro.roms import sha1_hex

MAX_TEXT_BYTES = 2**22  # of a JSON file, a script or rom.sha
MAX_STATE_BYTES = 2**26  # of a savestate, unpacked
MAX_DEPTH = 20  # of nested JSON
TYPE = re.compile("[<>=|]{1,2}[uidn][1-8]")  # of a variable: byte order, kind, bytes


def read_json(path: Optional[str], expected_path: str) -> Dict[str, Any]:
    """Reads a JSON object. `path` is None if the file was not found; the error then names `expected_path`."""
    if path is None:
        raise InputError(f"{expected_path} is missing: it is one of the game's integration files")
    text = _read(path, MAX_TEXT_BYTES)
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as problem:  # invalid JSON or invalid text
        raise InputError(f"{path} is not JSON: {first_line(problem, 100)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object")
    if _depth(content) > MAX_DEPTH:
        raise InputError(f"{path} is nested deeper than {MAX_DEPTH} levels")
    return content


def read_variables(path: Optional[str], expected_path: str) -> Dict[str, dict]:
    """The variables of data.json: name -> {"address": ..., "type": ...}."""
    variables = read_json(path, expected_path).get("info", {})
    if not isinstance(variables, dict):
        raise InputError(f"{path}: its info must be an object of variables by name")
    for name, variable in variables.items():
        problem = None
        if not isinstance(variable, dict):
            problem = "must be an object"
        elif type(variable.get("address")) is not int or not 0 <= variable["address"] < 2**32:
            problem = "needs an address, a number from 0 to 4294967295"
        elif not isinstance(variable.get("type"), str) or not TYPE.fullmatch(variable["type"]):
            problem = "needs a type, such as |u1 or <i2"
        elif type(variable.get("mask", 0)) is not int or not 0 <= variable.get("mask", 0) < 2**64:
            problem = "has a mask that is not a number"
        if problem:
            raise InputError(f"{path}: {shorten(name, 40)!r} {problem}")
    return variables


def check_scenario(path: Optional[str], expected_path: str, find: Callable[[str], Optional[str]]) -> None:
    """Checks the types in a scenario file, and that its scripts exist. `find`: file name -> path, or None."""
    scenario = read_json(path, expected_path)

    def require(condition: bool, problem: str) -> None:
        if not condition:
            raise InputError(f"{path}: {problem}")

    scripts = scenario.get("scripts", [])
    require(isinstance(scripts, list) and all(isinstance(one, str) for one in scripts), "scripts must be a list "
            "of file names")  # fmt: skip
    for script in scripts:
        inside = script not in ("", ".", "..") and not set(script) & set("/\\\0")
        require(inside, f"scripts must be names of files in its folder, not {shorten(script, 40)!r}")
        require(find(script) is not None, f"{shorten(script, 60)} is missing, a script that it names")
        text = _read(find(script), MAX_TEXT_BYTES)
        require(b"\0" not in text, f"its script {script} is damaged")
    for name in ("reward", "done"):
        part = scenario.get(name, {})
        require(isinstance(part, dict), f"{name} must be an object")
        _check_condition(part, name, require)
    # The emulator package reads these without any check, and crashes.
    crop = scenario.get("crop", [0, 0, 0, 0])
    require(isinstance(crop, list), "crop must be a list")
    boxes = crop if crop and isinstance(crop[0], list) else [crop]  # one for each player, or one
    for box in boxes:
        is_box = (
            isinstance(box, list) and len(box) == 4 and all(type(n) is int and 0 <= n < 2**16 for n in box)
        )
        require(is_box, "crop must be four numbers of pixels")
    rewards = scenario.get("rewards", [])
    require(isinstance(rewards, list) and all(isinstance(one, dict) for one in rewards), "rewards must be a list of "
            "objects")  # fmt: skip
    for part in rewards:
        _check_condition(part, "rewards", require)
    groups = scenario.get("actions", [])
    is_nested = isinstance(groups, list) and all(
        isinstance(group, list)
        and all(isinstance(held, list) and all(isinstance(button, str) for button in held) for held in group)
        for group in groups
    )
    require(is_nested, "actions must be a list of lists of lists of buttons")


def _check_condition(part: dict, name: str, require: Callable[[bool, str], None]) -> None:
    """Checks the reward or the end of an episode. `require`: (condition, problem) raises InputError if it is false."""
    variables, nodes = part.get("variables", {}), part.get("nodes", {})
    require(isinstance(variables, dict) and isinstance(nodes, dict), f"variables of {name} must be an object")
    script = part.get("script", "lua:")
    require(isinstance(script, str) and script.startswith("lua:"), f"script of {name} must be lua:FUNCTION")
    require(isinstance(part.get("condition", ""), str), f"condition of {name} must be a string")
    for variable, rule in variables.items():
        short = f"{name} of {shorten(variable, 40)!r}"
        require(isinstance(rule, dict), f"{short} must be an object")
        for key, value in rule.items():
            if key in ("op", "measurement"):
                require(isinstance(value, str), f"{key} in {short} must be a string")
            elif key in ("reward", "penalty", "reference"):
                is_number = type(value) in (int, float) and abs(value) < 2**63
                require(is_number, f"{key} in {short} must be a number")
    for node in nodes.values():
        require(isinstance(node, dict), f"nodes of {name} must be objects")
        _check_condition(node, name, require)


def default_state(path: str, expected_path: str) -> Optional[str]:
    """The name of the savestate that metadata.json makes the default, or None."""
    metadata = read_json(path, expected_path)
    states = metadata.get("default_player_state") or [metadata.get("default_state")]
    if not isinstance(states, list) or not all(isinstance(state, (str, type(None))) for state in states):
        raise InputError(f"{path}: its default state must be the name of a savestate")
    rom = metadata.get("original_rom_name", "")
    if not isinstance(rom, str) or set(rom) & set("/\\\0"):
        raise InputError(f"{path}: its original_rom_name must be the name of a file in its folder")
    return states[0] if states else None


def check_rom(rom: str, sha_path: Optional[str]) -> None:
    """Raises InputError for a ROM of an impossible size, or an archive, which the emulator would start without an
    error; warns if its SHA-1 is not in rom.sha."""
    with open(rom, "rb") as file:
        content = file.read()
    archive = find_archive(content)  # the emulator would take it for a ROM without an error
    if archive and not rom.endswith(".zip"):
        remedy = "`python ppo/import_game.py` unpacks it" if archive.is_unpacked else UNPACK
        raise InputError(f"{rom} is a {archive.kind}, not a ROM: {remedy}")
    if not content:
        raise InputError(f"{rom} is empty: copy it again")
    if rom.endswith(".sfc") and len(content) % 32768:
        remedy = "copy it again"
        if len(content) % 1024 == 512:
            remedy = f"`python ppo/import_game.py {rom}` removes its 512-byte header"
        raise InputError(f"{rom} has {len(content):,} bytes, not a multiple of 32,768: {remedy}")
    if sha_path is not None:
        sha1 = sha1_hex(content[16:] if rom.endswith(".nes") else content)
        if sha1 not in read_hashes(sha_path):
            print(f"warning: {rom} (SHA-1 {sha1}) is not the ROM of rom.sha (a hack?)", file=sys.stderr)


def read_hashes(path: str) -> List[str]:
    """The SHA-1 values in a rom.sha, lowercase hexadecimal; whatever else is in the file is left out."""
    words = _read(path, MAX_TEXT_BYTES).decode("ascii", "replace").lower().split()
    return [word for word in words if re.fullmatch("[0-9a-f]{40}", word)]


def check_state(state: Optional[str], source: str, folder: str, states: List[str], find: Callable) -> None:
    """Raises InputError if a savestate file is missing or damaged. `source`: where its name comes from."""
    if state is None:
        return
    inside = state not in ("", ".", "..") and not set(state) & set("/\\\0")
    path = find(state if state.endswith(".state") else state + ".state") if inside else None
    if path is None:
        available = shorten(", ".join(states), 120) or "none"
        raise InputError(f"{source} {shorten(state, 60)} is not in {folder}; the states there: {available}")
    try:
        with gzip.open(path) as file:
            if len(file.read(MAX_STATE_BYTES + 1)) > MAX_STATE_BYTES:
                raise EOFError(f"more than {MAX_STATE_BYTES} bytes")
    except (OSError, EOFError, zlib.error) as problem:
        raise InputError(
            f"{path} is not a savestate (gzip of the emulator's state): {first_line(problem, 100)}"
        ) from None


def _read(path: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror}") from None
    if len(content) > limit:
        raise InputError(f"{path} has more than {limit:,} bytes: it is damaged")
    return content


def _depth(value: Any) -> int:
    """The depth of nested lists and objects, at most MAX_DEPTH + 1."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        level = [one for inner in level if isinstance(inner, (list, dict))
                 for one in (inner.values() if isinstance(inner, dict) else inner)]  # fmt: skip
        depth += 1
    return depth
