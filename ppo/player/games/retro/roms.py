"""Where emulator games lie: the user's own data folder, beside this file what is ours, and Kart Cart, built on
demand.

A ROM never lies in the repository or among the installed packages. DREAM_MARIO_KART_DATA names another data folder.
"""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from player.common.errors import InputError

INTEGRATIONS = Path(__file__).with_name("integrations")
MARIO_KART, KART_CART = "SuperMarioKart-Snes", "KartCart-Snes"
MARIO_KART_SHA1 = "47e103d8398cf5b7cbb42b95df3a3c270691163b"
MARIO_KART_BYTES = 524_288
KART_CART_SHA1 = "55c1c51bbe27461b40d3d71e7f795257ec21a048"


def data_folder() -> Path:
    """ROMs and savestates of the user's own: <folder>/<game>/rom.sfc and *.state."""
    named = os.environ.get("DREAM_MARIO_KART_DATA")
    if named:
        return Path(named).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "dream-mario-kart"


def sha1_of(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def build_kart_cart() -> Path:
    """The folder of KartCart-Snes, with its cartridge and, since it keeps its race at the same addresses, Super Mario
    Kart's files around it. Built only where it is not there, or is of another version."""
    folder = data_folder() / KART_CART
    rom = folder / "rom.sfc"
    names = ("data.json", "scenario.json", "metadata.json")
    wanted = {name: (INTEGRATIONS / MARIO_KART / name).read_bytes() for name in names}
    wanted["rom.sha"] = f"{KART_CART_SHA1}\n".encode()
    for name, content in wanted.items():
        if not ((folder / name).exists() and (folder / name).read_bytes() == content):
            write_aside(folder / name, content)
    if not (rom.exists() and sha1_of(rom.read_bytes()) == KART_CART_SHA1):
        from player.games.kart_cart import build

        built = build.build()
        if sha1_of(built) != KART_CART_SHA1:
            print(
                f"warning: Kart Cart was built as {sha1_of(built)}, elsewhere it is {KART_CART_SHA1}",
                file=sys.stderr,
            )
            write_aside(folder / "rom.sha", f"{sha1_of(built)}\n".encode())
        write_aside(rom, built)
    return folder


def write_aside(path: Path, content: bytes) -> None:
    """Whole or not at all: another process may be reading, or writing the same. Raises InputError where it cannot
    be."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        os.replace(aside, path)
    except OSError as problem:
        raise InputError(
            f"{path} cannot be written ({problem.strerror}): DREAM_MARIO_KART_DATA names another folder"
        ) from None
    finally:
        with suppress(OSError):
            aside.unlink()


def keep_rom(content: bytes, name: str, file_name: str) -> Path:
    """A ROM into the data folder, for the game `name`."""
    path = data_folder() / name / file_name
    write_aside(path, content)
    return path
