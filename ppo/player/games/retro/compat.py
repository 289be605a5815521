"""Which emulator package is there: stable-retro, or its forerunner gym-retro, on Python 3.8 and older (Windows, Intel
Macs, and the original project's set-up). Nothing else knows which; it is imported only when a game is asked for."""

from types import ModuleType
from typing import Any, Callable

import numpy as np

from player.common.errors import InputError


def emulator_package(name: str = "this") -> ModuleType:
    """Raises InputError that says what to install for the game `name`."""
    try:
        import stable_retro

        return stable_retro
    except ImportError:
        pass
    try:
        import retro

        return retro
    except ImportError:
        raise InputError(
            f"{name} needs an emulator: `pip install stable-retro` (Linux x86_64, macOS on Apple silicon; on Windows "
            "inside WSL), or, on Python 3.8, `pip install gym-retro==0.8.0 gym==0.17.2`; the built-in Mode7Kart-v0 "
            "needs nothing"
        ) from None


def is_new(package: ModuleType) -> bool:
    return package.__name__ == "stable_retro"


def name_there(package: ModuleType, name: str) -> str:
    """What the package calls a game: gym-retro's own have no version, a folder of the user's is called as it is. Behind
    `use_folders`."""
    if is_new(package) or not name.endswith("-v0"):
        return name
    folder = package.data.get_file_path(name, "", inttype=package.data.Integrations.CUSTOM)
    return name if folder else name[:-3]


def make(package: ModuleType, name: str, **settings: Any) -> Any:
    """Its RetroEnv, without a window."""
    if is_new(package):
        settings["render_mode"] = None
    return package.make(name_there(package, name), **settings)


def screen_of(package: ModuleType, env: Any) -> np.ndarray:
    """uint8 (H, W, 3), a copy."""
    return env.get_screen(apply_rotation=True) if is_new(package) else env.get_screen()


def rom_finder(package: ModuleType) -> Callable[..., str]:
    """find(name, inttype): a ROM's path; FileNotFoundError where there is none."""
    return getattr(package.data, "get_original_romfile_path", package.data.get_romfile_path)
