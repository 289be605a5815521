"""Opens a Gymnasium environment by its name, in a render mode that it accepts."""

import importlib
import json
import warnings
from collections.abc import Sequence
from typing import Any

from dream.common.errors import InputError, first_line
from dream.common.game_info import OWN_GAME

# How names begin, the module that registers them, and the package to install.
PACKAGES = (
    (("ALE/",), "ale_py", "ale-py"),
    (("MiniGrid-", "BabyAI-"), "minigrid", "minigrid"),
    (("MinAtar/",), "minatar.gym", "minatar seaborn"),
    (("Vizdoom",), "vizdoom.gymnasium_wrapper", "vizdoom"),
    (("MiniWorld-",), "miniworld", "miniworld"),
    (("highway-", "merge-", "roundabout-", "parking-", "intersection-", "racetrack-"), "highway_env", "highway-env"),
    (("FlappyBird-",), "flappy_bird_gymnasium", "flappy-bird-gymnasium"),
    (("MiniHack-", "NetHack"), "minihack", "minihack"),
)  # fmt: skip
PYTHON_WORDS = {"True": True, "False": False, "None": None}


def open_env(name: str, settings: dict[str, Any]) -> tuple[Any, bool, bool]:
    """Makes the environment `name`; `settings`: keyword arguments for it.

    Returns it; whether it accepted a render mode, or has none to choose; and whether it also declares that it draws
    arrays. Many environments raise an exception for a render mode that they do not have: the next one is then tried,
    and at last none. Raises the first exception if all fail, InputError if there is no environment of that name.
    """
    import gymnasium

    register_known(name)

    problem: Exception | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for mode in modes_to_try(declared_modes(name)):
            keywords = settings if mode is None else {"render_mode": mode, **settings}
            try:
                try:
                    env = gymnasium.make(name, disable_env_checker=True, **keywords)
                except TypeError as refusal:
                    if "render_mode" not in str(refusal):
                        raise
                    env = gymnasium.make(
                        name, disable_env_checker=True, **settings
                    )  # it has no such argument
                return env, mode is not None, mode is not None and draws_arrays(env)
            except (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound) as error:
                if ":" in name:
                    raise
                raise InputError(f"--real {name}: {unknown_name(name)}") from error
            except Exception as error:  # its constructor may raise anything
                problem = problem or error
                if isinstance(error, (ImportError, gymnasium.error.UnregisteredEnv)):
                    break
    raise problem


def register_known(name: str) -> None:
    """Imports the module that registers a well-known environment. Raises InputError if its package is missing."""
    package = next((one[1:] for one in PACKAGES if name.startswith(one[0])), None)
    if package is None:
        return
    module, wanted = package
    try:
        registered = importlib.import_module(module)
        if module == "minatar.gym":
            registered.register_envs()
    except Exception as problem:  # any module may be behind it
        is_missing = getattr(problem, "name", None) == module.split(".")[0]
        reason = "" if is_missing else f" ({first_line(problem)})"
        raise InputError(f"--real {name} needs another package: pip install {wanted}{reason}") from None


def unknown_name(name: str) -> str:
    """What to type instead of a name that Gymnasium does not know."""
    if name == OWN_GAME:
        return f"its code is in the folder ppo: type --real player:{OWN_GAME} --real-path ppo"
    return (
        "Gymnasium has no environment of this name: if a module of yours registers it, type "
        f"--real MODULE:{name} --real-path FOLDER; emulator games cannot be shown next to the model"
    )


def modes_to_try(modes: Sequence[str]) -> list[str | None]:
    """Render modes in the order in which they are tried, of an environment that declares `modes` (() = unknown)."""
    known = [mode for mode in ("rgb_array", "rgb_array_list") if mode in modes]
    return [*(known if modes else ["rgb_array", "rgb_array_list"]), None]


def declared_modes(name: str) -> tuple[str, ...]:
    """The render modes that the class of an environment declares; () if that is unknown."""
    from gymnasium.envs import registration

    try:
        module, _, env_name = name.rpartition(":")
        if module:
            importlib.import_module(module)
        creator = registration.spec(env_name).entry_point
        return render_modes(registration.load_env_creator(creator) if isinstance(creator, str) else creator)
    except Exception:  # any module may be behind it; gymnasium.make says what is wrong
        return ()


def draws_arrays(env: Any) -> bool:
    """Whether an environment declares that it draws arrays."""
    return bool({"rgb_array", "rgb_array_list"} & set(render_modes(env)))


def render_modes(source: Any) -> tuple[str, ...]:
    """The render modes that an environment, or its class, declares; () if it declares none."""
    metadata = getattr(source, "metadata", None)
    modes = metadata.get("render_modes") if isinstance(metadata, dict) else None
    return tuple(modes) if isinstance(modes, (list, tuple, set)) else ()


def import_problem(problem: ImportError, game: str) -> str:
    """What is missing, and what to do about it. gymnasium raises its own ImportError for the package of a game."""
    cause = problem.__cause__ if isinstance(problem.__cause__, ImportError) else problem
    name = (cause.name or "").split(".")[0]
    if not isinstance(cause, ModuleNotFoundError) or not name:
        return f"its package cannot be imported ({first_line(cause)})"
    if game == f"player:{OWN_GAME}" and name == "player":
        return unknown_name(OWN_GAME)
    if name == game.partition(":")[0]:
        return f"there is no package {name} here: name the folder that holds it with --real-path"
    return f"it needs the package {name}: " + (
        "make setup installs it" if name == "gymnasium" else f"pip install {name}"
    )


def parse_setting(text: str) -> tuple[str, Any]:
    """Splits NAME=VALUE; the value is JSON (numbers, true, false, null, lists), Python's True, False or None, or a
    string. Raises InputError."""
    name, equals, value = text.partition("=")
    if not name.isidentifier() or not equals:
        raise InputError(f"--real-settings {text!r}: expected NAME=VALUE, such as track=1")
    if value in PYTHON_WORDS:
        return name, PYTHON_WORDS[value]
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):  # RecursionError: [[[[...
        return name, value
