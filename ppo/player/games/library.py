"""Where emulator games lie: the user's own data folder, beside this file what is ours, and Kart Cart, built on demand.

A ROM never lies in the repository or among the installed packages. DREAM_MARIO_KART_DATA names another data folder.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

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


def sha1_of(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def build_kart_cart() -> Path:
    """The folder of KartCart-Snes, with its cartridge and, since it keeps its race at the same addresses, Super Mario
    Kart's files around it. Built only where it is not there, or is of another version."""
    folder = data_folder() / KART_CART
    rom = folder / "rom.sfc"
    if not (rom.exists() and sha1_of(rom) == KART_CART_SHA1):
        from player.games import kart_cart

        folder.mkdir(parents=True, exist_ok=True)
        write_aside(rom, kart_cart.build())
        write_aside(folder / "rom.sha", (sha1_of(rom) + "\n").encode())
    for name in ("data.json", "scenario.json", "metadata.json"):
        ours = (INTEGRATIONS / MARIO_KART / name).read_bytes()
        there = folder / name
        if not (there.exists() and there.read_bytes() == ours):
            write_aside(there, ours)
    return folder


def write_aside(path: Path, content: bytes) -> None:
    """Whole or not at all: another process may be reading, or writing the same."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.writing")
    try:
        aside.write_bytes(content)
        os.replace(aside, path)
    finally:
        if aside.exists():
            aside.unlink()


def keep_rom(content: bytes, name: str, file_name: str) -> Path:
    """A ROM into the data folder, for the game `name`."""
    folder = data_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    if len(content) > shutil.disk_usage(folder).free:
        raise OSError(28, f"no room for {len(content):,} bytes", str(folder))
    write_aside(folder / file_name, content)
    return folder / file_name
