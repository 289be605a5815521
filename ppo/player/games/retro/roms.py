"""Folders of emulator games: the user's data folder, and the project's integration files. Also builds Kart Cart.

ROMs are never stored in the repository or among the installed packages. The environment variable DREAM_MARIO_KART_DATA
selects another data folder.
"""

import hashlib
import os
import sys
from pathlib import Path

from player.common.errors import InputError
from player.common.files import atomic_write

INTEGRATIONS = Path(__file__).with_name("integrations")
MARIO_KART, KART_CART = "SuperMarioKart-Snes", "KartCart-Snes"
MARIO_KART_SHA1 = "47e103d8398cf5b7cbb42b95df3a3c270691163b"
MARIO_KART_BYTES = 524_288
KART_CART_SHA1 = "55c1c51bbe27461b40d3d71e7f795257ec21a048"


def data_folder() -> Path:
    """The folder of the user's ROMs and savestates: <folder>/<game>/rom.sfc and *.state."""
    chosen = os.environ.get("DREAM_MARIO_KART_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "dream-mario-kart"


def sha1_hex(content: bytes) -> str:
    """SHA-1 in lowercase hexadecimal."""
    return hashlib.sha1(content).hexdigest()


def build_kart_cart() -> Path:
    """Builds the cartridge and the integration files of KartCart-Snes, if they are missing or of another version.

    Returns their folder. The integration files are those of Super Mario Kart, because the cartridge stores its race at
    the same addresses. Raises InputError if the data folder cannot be written.
    """
    folder = data_folder() / KART_CART
    rom = folder / "rom.sfc"
    names = ("data.json", "scenario.json", "metadata.json")
    files = {name: (INTEGRATIONS / MARIO_KART / name).read_bytes() for name in names}
    files["rom.sha"] = f"{KART_CART_SHA1}\n".encode()
    for name, content in files.items():
        if not ((folder / name).exists() and (folder / name).read_bytes() == content):
            write_data_file(folder / name, content)
    if not (rom.exists() and sha1_hex(rom.read_bytes()) == KART_CART_SHA1):
        from player.games.kart_cart import build

        content = build.build()
        if sha1_hex(content) != KART_CART_SHA1:
            print(
                f"warning: Kart Cart was built with SHA-1 {sha1_hex(content)}; expected {KART_CART_SHA1}",
                file=sys.stderr,
            )
            write_data_file(folder / "rom.sha", f"{sha1_hex(content)}\n".encode())
        write_data_file(rom, content)
    return folder


def write_data_file(path: Path, content: bytes) -> None:
    """Writes a file of the data folder completely or not at all. Raises InputError if it cannot be written."""
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as problem:
        raise InputError(
            f"{path} cannot be written ({problem.strerror}): set DREAM_MARIO_KART_DATA to another folder"
        ) from None


def save_rom(content: bytes, name: str, file_name: str) -> Path:
    """Saves the ROM of the game `name` in the data folder and returns its path. Raises InputError if that fails."""
    path = data_folder() / name / file_name
    write_data_file(path, content)
    return path
