"""Imports the ROM of a game: checks it, and copies it to your data folder, where all scripts find it.

    python ppo/import_game.py "Super Mario Kart (USA).sfc"
    python ppo/import_game.py game.smc --integrations DIR      # with your own integration files in DIR/<game>/
    python ppo/import_game.py roms.zip                         # the first known ROM in the archive

A 512-byte copier header is removed, an interleaved ROM (.smd) restored, a zip, gz, xz or bz2 file unpacked. Known games
are Super Mario Kart, the games of stable-retro, and those whose SHA-1 is in a rom.sha in --integrations. The
environment variable DREAM_MARIO_KART_DATA selects another data folder.
"""

import argparse
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from player.common.errors import InputError, run_script, shorten
from player.common.startup import ArgumentParser, command_line
from player.games.retro.integration import known_hashes, list_states, rom_file_name
from player.games.retro.rom_archives import is_rom_name, read_roms
from player.games.retro.rom_layouts import (
    describe_no_rom,
    find_archive,
    find_snes_header,
    is_mega_drive,
    rom_variants,
)
from player.games.retro.rom_padding import known_length
from player.games.retro.roms import MARIO_KART, MARIO_KART_BYTES, MARIO_KART_SHA1, save_rom, sha1_hex

REGIONS = {0: "Japan", 1: "USA", 2: "Europe"}


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rom", type=Path, metavar="ROM", help="the ROM, or a .zip that contains it")
    parser.add_argument(
        "--integrations", metavar="DIR", help="folder with your own integrations, DIR/<game>/"
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    games = {**known_hashes(args.integrations), MARIO_KART_SHA1: MARIO_KART}
    files: List[Tuple[str, bytes]] = []
    for name, content in read_roms(args.rom):
        for variant in rom_variants(content):
            game = games.get(sha1_hex(variant.content))
            if (
                game and "-Nes-" in f"{game}-"
            ):  # the emulator package's SHA-1 is that of the file without its header
                raise InputError(f"{name} is {game} without the 16 bytes of its iNES header (NES, 1A): give a ROM "
                                 "that has them")  # fmt: skip
            if variant.content.startswith(b"NES\x1a"):
                game = game or games.get(sha1_hex(variant.content[16:]))
            if game:
                if variant.change:
                    print(f"{name}: {variant.change}")
                import_rom(variant.content, game, Path(name).suffix.lower(), args.integrations)
                return
        files.append((name, content))
    for name, content in files:
        if import_padded(name, content, games, args.integrations):
            return
    if not files:
        raise InputError(f"{args.rom} contains no files: give your ROM")
    raise InputError(describe_unknown_rom(args.rom, *choose_rom(files)))


def import_padded(name: str, content: bytes, games: Dict[str, str], integrations: Optional[str]) -> bool:
    """Imports a known ROM (`games`: SHA-1 -> name) that is followed by padding; returns whether it is one."""
    for variant in rom_variants(content):
        for skipped in (0, 16) if variant.content.startswith(b"NES\x1a") else (0,):
            length = known_length(variant.content[skipped:], games)
            if length is None:
                continue
            rom = variant.content[: skipped + length]
            change = f"{len(variant.content) - len(rom):,} bytes after its end removed"
            print(f"{name}: {', '.join(filter(None, (variant.change, change)))}")
            import_rom(rom, games[sha1_hex(rom[skipped:])], Path(name).suffix.lower(), integrations)
            return True
    return False


def choose_rom(files: List[Tuple[str, bytes]]) -> Tuple[str, bytes]:
    """The file that is most likely the ROM: by its suffix, then by what it contains, then the largest."""

    def rank(file: Tuple[str, bytes]) -> Tuple[bool, bool, bool, int]:
        name, content = file
        is_archive = find_archive(content) is not None  # the ROM may be in it
        return is_rom_name(name), describe_no_rom(content) is None, is_archive, len(content)

    return max(files, key=rank)


def import_rom(content: bytes, game: str, suffix: str, integrations: Optional[str]) -> None:
    """Saves the ROM of a known game in the data folder and prints the next command."""
    path = save_rom(content, game, rom_file_name(game, suffix))
    print(f"{game}: {len(content):,} bytes, SHA-1 as expected; saved as {path}")
    states = list_states(game, integrations)
    print(f"savestates: {', '.join(states) if states else 'none yet'}")
    if states:
        print("next: " + command_line("ppo/train_ppo.py", "--game", game, "--state", states[0]))
    else:
        print(f"next: {command_line('ppo/make_state.py', '--game', game, '--name', 'NAME')}, which makes one")


def describe_unknown_rom(path: Path, name: str, content: bytes) -> str:
    """One line about why nothing was imported. `name`, `content`: of the file in `path` that is the ROM."""
    shown = shorten(name, 60)
    no_rom = describe_no_rom(content)
    if no_rom:
        return f"{shown} is {no_rom}"
    variant = next(rom_variants(content))
    header, sha1 = find_snes_header(variant.content), sha1_hex(variant.content)
    if header and header.title.startswith("SUPER MARIO KART"):
        region = REGIONS.get(header.region, f"region {header.region}")
        return (
            f"{shown} is Super Mario Kart, but {region}, revision 1.{header.revision}, "
            f"{len(variant.content):,} bytes, SHA-1 {sha1}; supported is the unchanged USA one, "
            f"{MARIO_KART_BYTES:,} bytes, SHA-1 {MARIO_KART_SHA1}"
        )
    kind = f"a SNES cartridge called {header.title!r}" if header else f"{len(variant.content):,} bytes"
    if is_mega_drive(variant.content):
        title = shorten(variant.content[0x120:0x150].decode("ascii", "replace"), 48)
        kind = f"a Mega Drive cartridge called {title!r}"
    kind += f" ({variant.change})" if variant.change else ""
    if not header and not is_mega_drive(variant.content) and not is_rom_name(name):
        return f"{shown} is {kind}, and its name is not that of a ROM, such as .sfc or .md: give your ROM"
    return (
        f"{shown} is {kind}, SHA-1 {sha1}, no known game: write that SHA-1 into DIR/<game>/rom.sha of your own "
        "integration and add --integrations DIR"
    )


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
