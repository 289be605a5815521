"""Brings a game's ROM in: checks it, and keeps it in your own data folder, where all scripts find it.

    python ppo/import_game.py "Super Mario Kart (USA).sfc"
    python ppo/import_game.py game.smc --integrations DIR      # with integration files of your own, DIR/<game>/
    python ppo/import_game.py roms.zip                         # the first ROM in it that is known

A copier's header of 512 bytes is taken off. Known are Super Mario Kart, the games of stable-retro, and those whose
SHA-1 stands in a rom.sha in --integrations. DREAM_MARIO_KART_DATA names another data folder.
"""

import argparse
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Iterator, Optional, Tuple

from player.common.errors import InputError, run_script
from player.games.retro.integration import known_hashes, rom_name, states_of
from player.games.retro.roms import MARIO_KART, MARIO_KART_BYTES, MARIO_KART_SHA1, keep_rom, sha1_of

HEADER = 512  # bytes that some copiers of SNES cartridges put in front
LARGEST = 64 * 2**20  # bytes
# What zipfile raises, by where a byte is wrong: in the content, in a name, in a list of extra fields
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, LookupError),
)
REGIONS = {0: "Japan", 1: "USA", 2: "Europe"}
TITLES_AT = (0x7FC0, 0xFFC0)  # of a SNES cartridge, LoROM and HiROM; region and revision lie behind


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rom", type=Path, metavar="ROM", help="the file, or a .zip with it")
    parser.add_argument("--integrations", help="folder of emulator integrations of your own")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    known = {**known_hashes(args.integrations), MARIO_KART_SHA1: MARIO_KART}
    largest: Tuple[str, bytes] = ("", b"")
    for name, content in roms_in(args.rom):
        content = without_header(content)
        # The emulator's package counts an .nes file from behind its header.
        game = known.get(sha1_of(content)) or known.get(sha1_of(content[16:]))
        if game:
            keep(content, game, Path(name).suffix.lower(), args.integrations)
            return
        largest = max(largest, (name, content), key=lambda one: len(one[1]))
    raise InputError(what_else(args.rom, *largest))


def roms_in(path: Path) -> Iterator[Tuple[str, bytes]]:
    """Name and content. Raises InputError where there is nothing to read."""
    if not path.is_file():
        raise InputError(f"no file {path}: give the path of your ROM")
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes: too large for a cartridge")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: copy your ROM again")
    if not zipfile.is_zipfile(path):
        content = path.read_bytes()
        if content.startswith(b"PK\3\4"):  # the list of its files stands at its end
            raise InputError(f"{path} is a zip file whose end is missing or damaged: copy it again")
        yield path.name, content
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir() and 0 < info.file_size <= LARGEST:
                    yield info.filename, archive.read(info)
    except DAMAGED as problem:
        raise InputError(f"{path} cannot be unpacked ({problem}): copy it again") from None
    except RuntimeError as problem:  # a password, or a method that is not known
        raise InputError(
            f"{path} cannot be unpacked ({problem}): unpack it yourself and give the ROM"
        ) from None


def without_header(content: bytes) -> bytes:
    return content[HEADER:] if len(content) % 1024 == HEADER < len(content) else content


def keep(content: bytes, game: str, suffix: str, integrations: Optional[str]) -> None:
    path = keep_rom(content, game, rom_name(game, suffix))
    print(f"{game}: {len(content):,} bytes, SHA-1 as known; kept at {path}")
    states = states_of(game, integrations)
    print(f"savestates: {', '.join(states) if states else 'none yet'}")
    if states:
        print(f"next: python ppo/train_ppo.py --game {game} --state {states[0]}")
    else:
        print(f"next: python ppo/make_state.py --game {game} --name NAME, which makes one")


def what_else(path: Path, name: str, content: bytes) -> str:
    """Why nothing was brought in, in one line: what the largest file was, name and content."""
    if not name:
        return f"{path} has no files in it: give your ROM"
    title, sha1 = snes_title(content), sha1_of(content)
    if title and title[0].startswith("SUPER MARIO KART"):
        _, region, revision = title
        return (
            f"{name} is Super Mario Kart, but {REGIONS.get(region, f'region {region}')}, revision 1.{revision}, "
            f"{len(content):,} bytes, SHA-1 {sha1}: a hack, an incomplete copy, or not the USA revision that is "
            f"supported ({MARIO_KART_BYTES:,} bytes, SHA-1 {MARIO_KART_SHA1})"
        )
    what = f"a SNES cartridge called {title[0]!r}" if title else f"{len(content):,} bytes"
    return (
        f"{name} is {what}, SHA-1 {sha1}, which is of no game that is known here: put that SHA-1 into "
        "DIR/<game>/rom.sha of your own integration and add --integrations DIR"
    )


def snes_title(content: bytes) -> Optional[Tuple[str, int, int]]:
    """Title, region and revision of a SNES cartridge whose header is where it should be."""
    for at in TITLES_AT:
        header = content[at : at + 32]
        if len(header) < 32:
            continue
        checksums = int.from_bytes(header[28:30], "little"), int.from_bytes(header[30:32], "little")
        if sum(checksums) == 0xFFFF and all(32 <= byte < 127 for byte in header[:21]):
            return header[:21].decode("ascii").strip(), header[25], header[27]
    return None


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
