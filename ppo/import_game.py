"""Imports the ROM of a game: checks it, and copies it to your data folder, where all scripts find it.

    python ppo/import_game.py "Super Mario Kart (USA).sfc"
    python ppo/import_game.py game.smc --integrations DIR      # with your own integration files in DIR/<game>/
    python ppo/import_game.py roms.zip                         # the first known ROM in the archive

A 512-byte copier header is removed. Known games are Super Mario Kart, the games of stable-retro, and those whose SHA-1
is in a rom.sha in --integrations. The environment variable DREAM_MARIO_KART_DATA selects another data folder.
"""

import argparse
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Iterator, Optional, Tuple

from player.common.errors import InputError, run_script
from player.common.startup import ArgumentParser
from player.games.retro.integration import known_hashes, list_states, rom_file_name
from player.games.retro.roms import MARIO_KART, MARIO_KART_BYTES, MARIO_KART_SHA1, save_rom, sha1_hex

HEADER_BYTES = 512  # size of the header that some copiers of SNES cartridges put in front of the ROM
MAX_BYTES = 64 * 2**20  # size limit of a file
# Exceptions of zipfile for a damaged archive; which one depends on where the wrong byte is.
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, LookupError),
)
REGIONS = {0: "Japan", 1: "USA", 2: "Europe"}
TITLE_OFFSETS = (0x7FC0, 0xFFC0)  # offset of the header in a SNES ROM: LoROM, HiROM


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rom", type=Path, metavar="ROM", help="the ROM, or a .zip that contains it")
    parser.add_argument(
        "--integrations", metavar="DIR", help="folder with your own integrations, DIR/<game>/"
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    games = {**known_hashes(args.integrations), MARIO_KART_SHA1: MARIO_KART}
    largest: Tuple[str, bytes] = ("", b"")
    for name, content in read_files(args.rom):
        content = remove_header(content)
        # The emulator package's SHA-1 of an .nes file is without its 16-byte header.
        game = games.get(sha1_hex(content)) or games.get(sha1_hex(content[16:]))
        if game:
            import_rom(content, game, Path(name).suffix.lower(), args.integrations)
            return
        largest = max(largest, (name, content), key=lambda file: len(file[1]))
    raise InputError(describe_unknown_rom(args.rom, *largest))


def read_files(path: Path) -> Iterator[Tuple[str, bytes]]:
    """Yields name and content of the file, or of each file in a zip archive. Raises InputError if it is unreadable."""
    if not path.is_file():
        raise InputError(f"no file {path}: give the path of your ROM")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes: too large for a cartridge")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: copy your ROM again")
    if not zipfile.is_zipfile(path):
        content = path.read_bytes()
        if content.startswith(b"PK\3\4"):  # a zip archive without the list of files at its end
            raise InputError(f"{path} is a zip file whose end is missing or damaged: copy it again")
        yield path.name, content
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir() and 0 < info.file_size <= MAX_BYTES:
                    yield info.filename, archive.read(info)
    except ZIP_ERRORS as problem:
        raise InputError(f"{path} cannot be unpacked ({problem}): copy it again") from None
    except RuntimeError as problem:  # a password, or an unknown compression method
        raise InputError(
            f"{path} cannot be unpacked ({problem}): unpack it yourself and give the ROM"
        ) from None


def remove_header(content: bytes) -> bytes:
    """Removes a copier's header, which is recognized by the file's size."""
    return content[HEADER_BYTES:] if len(content) % 1024 == HEADER_BYTES < len(content) else content


def import_rom(content: bytes, game: str, suffix: str, integrations: Optional[str]) -> None:
    """Saves the ROM of a known game in the data folder and prints the next command."""
    path = save_rom(content, game, rom_file_name(game, suffix))
    print(f"{game}: {len(content):,} bytes, SHA-1 as expected; saved as {path}")
    states = list_states(game, integrations)
    print(f"savestates: {', '.join(states) if states else 'none yet'}")
    if states:
        print(f"next: python ppo/train_ppo.py --game {game} --state {states[0]}")
    else:
        print(f"next: python ppo/make_state.py --game {game} --name NAME, which makes one")


def describe_unknown_rom(path: Path, name: str, content: bytes) -> str:
    """One line about why nothing was imported. `name`, `content`: of the largest file in `path`."""
    if not name:
        return f"{path} contains no files: give your ROM"
    title, sha1 = snes_title(content), sha1_hex(content)
    if title and title[0].startswith("SUPER MARIO KART"):
        _, region, revision = title
        return (
            f"{name} is Super Mario Kart, but {REGIONS.get(region, f'region {region}')}, revision 1.{revision}, "
            f"{len(content):,} bytes, SHA-1 {sha1}: a hack, an incomplete copy, or not the USA revision that is "
            f"supported ({MARIO_KART_BYTES:,} bytes, SHA-1 {MARIO_KART_SHA1})"
        )
    kind = f"a SNES cartridge called {title[0]!r}" if title else f"{len(content):,} bytes"
    return (
        f"{name} is {kind}, SHA-1 {sha1}, which is not a known game: write that SHA-1 into DIR/<game>/rom.sha of your "
        "own integration and add --integrations DIR"
    )


def snes_title(content: bytes) -> Optional[Tuple[str, int, int]]:
    """Title, region and revision from the header of a SNES cartridge, or None if there is no valid header."""
    for offset in TITLE_OFFSETS:
        header = content[offset : offset + 32]
        if len(header) < 32:
            continue
        checksums = int.from_bytes(header[28:30], "little"), int.from_bytes(header[30:32], "little")
        if sum(checksums) == 0xFFFF and all(32 <= byte < 127 for byte in header[:21]):
            return header[:21].decode("ascii").strip(), header[25], header[27]
    return None


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
