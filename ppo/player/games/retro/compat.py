"""The differences between stable-retro and its predecessor gym-retro; no other file depends on them.

gym-retro is for Python 3.8 and older (Windows, Intel Macs, and the setup of the original project). The package is
imported only when an emulator game is requested.
"""

from types import ModuleType
from typing import Any, Callable

import numpy as np

from player.common.errors import InputError


def emulator_package(name: str = "this") -> ModuleType:
    """Imports stable_retro, or else retro (gym-retro). Raises InputError, which names the game, if both are missing."""
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


def is_stable_retro(package: ModuleType) -> bool:
    """Whether the package is stable-retro; otherwise it is gym-retro."""
    return package.__name__ == "stable_retro"


def package_game_name(package: ModuleType, name: str) -> str:
    """The emulator package's name of a game. gym-retro's own games have no version suffix such as -v0; integrations of
    the user are found by their full name. Call `register_integrations` first."""
    if is_stable_retro(package) or not name.endswith("-v0"):
        return name
    folder = package.data.get_file_path(name, "", inttype=package.data.Integrations.CUSTOM)
    return name if folder else name[:-3]


def make_retro_env(package: ModuleType, name: str, **settings: Any) -> Any:
    """The package's RetroEnv, without a window."""
    if is_stable_retro(package):
        settings["render_mode"] = None
    return package.make(package_game_name(package, name), **settings)


def nominal_frame_rate(emulator: Any) -> float:
    """Frames per second of a running emulator core: 60 (NTSC) or 50 (PAL) if it is within 1 % of that, as all consoles
    are; otherwise the core's own figure. `emulator`: a RetroEmulator. Raises ValueError if the core has no figure."""
    rate = float(emulator.get_screen_rate())
    if not 1 <= rate <= 1000:  # also for nan
        raise ValueError(f"the emulator's frame rate is {rate}")
    return next((nominal for nominal in (60.0, 50.0) if abs(rate - nominal) <= nominal / 100), rate)


def rom_frame_rate(package: ModuleType, rom: str) -> float:
    """Frames per second of a ROM; starts its core for a moment. Raises RuntimeError if another emulator is running in
    this process, or if the core does not accept the ROM."""
    emulator = package.RetroEmulator(rom)
    try:
        return nominal_frame_rate(emulator)
    finally:
        del emulator  # a process can hold only one


def get_screen(package: ModuleType, env: Any) -> np.ndarray:
    """A copy of the screen of a RetroEnv, uint8 (H, W, 3)."""
    return env.get_screen(apply_rotation=True) if is_stable_retro(package) else env.get_screen()


def rom_finder(package: ModuleType) -> Callable[..., str]:
    """The package's function (name, inttype) -> path of the ROM, which raises FileNotFoundError if there is none."""
    return getattr(package.data, "get_original_romfile_path", package.data.get_romfile_path)
