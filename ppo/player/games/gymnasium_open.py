"""Opens Gymnasium environments by name: packages that register them, the user's own folder, settings, refusals."""

import importlib
import inspect
import io
import re
import sys
import warnings
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import gymnasium
import numpy as np
from gymnasium.envs import registration

from player.common.errors import InputError, first_line, shorten
from player.common.startup import pip_install

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
CONTINUOUS = ("CarRacing", "LunarLander")  # these have Discrete actions only with continuous=False


def package_of(name: str) -> Optional[Tuple[str, str]]:
    """Module and package to install of a known environment that is not part of Gymnasium, or None."""
    if name.startswith("ALE/") or "NoFrameskip-v" in name or "Deterministic-v" in name:
        return PACKAGES[0][1:]
    return next((one[1:] for one in PACKAGES if name.startswith(one[0])), None)


def is_gymnasium_name(name: str) -> bool:
    """Whether a name is that of a Gymnasium environment: registered, MODULE:NAME, NAMESPACE/NAME, or known by name."""
    has_namespace = re.fullmatch(r"[A-Za-z][\w-]*/[\w.-]+", name) is not None
    if name in gymnasium.registry or ":" in name or has_namespace or package_of(name) is not None:
        return True
    if re.fullmatch(r"\w+-v[04]", name):  # such as Pong-v4, if ale-py is installed
        with suppress(Exception):
            importlib.import_module("ale_py")
    return name in gymnasium.registry


def add_game_path(folder: Optional[str]) -> None:
    """Adds --game-path to the folders that Python imports from. Raises InputError if it is not a folder."""
    if folder is None:
        return
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise InputError(f"--game-path {folder} is not a folder")
    if str(path) not in sys.path:
        sys.path.append(str(path))  # last, so that it hides nothing


def open_env(name: str, settings: Optional[Dict[str, Any]] = None) -> Tuple[gymnasium.Env, bool]:
    """Makes the Gymnasium environment `name`; `settings`: keyword arguments for it.

    Returns it, and whether it draws: if not, its observation must be a picture. Raises InputError if its package is
    missing, if it cannot be made, or if its actions are not Discrete.
    """
    _import_package(name)
    arguments = with_defaults(name, settings or {})
    env, mode = _make(name, _render_modes(_creator(name)), arguments)
    modes = _render_modes(env)
    if mode == "rgb_array" and "rgb_array" not in modes and "rgb_array_list" in modes:
        env.close()
        env, mode = _make(name, modes, arguments)
    problem = _describe_actions(name, env.action_space)
    if problem:
        env.close()
        raise InputError(problem)
    if mode is not None and not modes:
        return env, _draws_undeclared(env)
    return env, mode is not None and ("rgb_array" in modes or "rgb_array_list" in modes)


def _draws_undeclared(env: gymnasium.Env) -> bool:
    """Whether `render()` of an environment that declares no render modes, such as an old one, returns RGB."""
    try:
        if "mode" in inspect.signature(env.unwrapped.render).parameters:
            return False  # of the old interface: it would open a window
        env.unwrapped.reset()
        picture = env.unwrapped.render()
    except (Exception, SystemExit):
        return False
    return isinstance(picture, np.ndarray) and picture.ndim == 3 and picture.shape[2] in (3, 4)


def with_defaults(name: str, settings: Dict[str, Any]) -> Dict[str, Any]:
    """The keyword arguments of an environment: the user's, and those that give it Discrete actions."""
    return {**({"continuous": False} if name.startswith(CONTINUOUS) else {}), **settings}


def _import_package(name: str) -> None:
    """Imports the module that registers the environment. Raises InputError if that is not possible."""
    module, separator, env_name = name.partition(":")
    package = None
    if separator:
        printed = io.StringIO()
        try:
            with redirect_stderr(printed):  # argparse prints its usage
                importlib.import_module(module)
        except SystemExit as ending:
            lines = printed.getvalue().strip().splitlines()
            reason = (
                first_line(ending, 80)
                if not lines or isinstance(ending.code, str)
                else shorten(lines[-1], 80)
            )
            raise InputError(
                f"Gymnasium cannot make {name}: {module} fails: {reason} (it ends the process when it is imported: "
                "let it do that under `if __name__ == '__main__'`)"
            ) from None
        except ModuleNotFoundError as problem:
            where = "name the folder of its file with --game-path DIR, or install its package"
            if problem.name and not (module + ".").startswith(problem.name + "."):
                where = f"`pip install` what {module} imports"
            raise InputError(f"Gymnasium cannot make {name}: no module {problem.name}: {where}") from None
        except Exception as problem:  # the user's module may raise anything
            raise InputError(f"Gymnasium cannot make {name}: {module} fails: {first_line(problem)}") from None
        sys.stderr.write(printed.getvalue())
        name = env_name
    elif name not in gymnasium.registry:
        package = package_of(name)
    if package:
        try:
            registered = importlib.import_module(package[0])
            if package[0] == "minatar.gym" and name not in gymnasium.registry:
                registered.register_envs()
        except (Exception, SystemExit) as problem:
            missing = getattr(problem, "name", None) == package[0].split(".")[0]
            reason = "" if missing else f" ({first_line(problem)})"
            raise InputError(f"{name} needs another package: `{pip_install(package[1])}`{reason}") from None
    if "/" in name and name not in gymnasium.registry:
        namespace = name.split("/")[0] + "/"
        others = sorted(one for one in gymnasium.registry if one.startswith(namespace))
        hint = f"; there are {', '.join(others[:5])}, ..." if others else (
            f": give the module that registers it, --game MODULE:{name}, and its folder with --game-path"
        )  # fmt: skip
        raise InputError(f"no environment {name} in Gymnasium{hint}")


def _make(name: str, modes: Sequence[str], arguments: Dict[str, Any]) -> Tuple[gymnasium.Env, Optional[str]]:
    """gymnasium.make without its warnings. Returns the environment and the render mode that was asked for.

    `modes`: the render modes that it declares; () if they are unknown. Many environments raise an exception for any
    other mode: the next one is then tried, and at last none (its observations may be pictures).
    """
    problem = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for mode in modes_to_try(modes):
            keywords = arguments if mode is None else {"render_mode": mode, **arguments}
            try:
                try:
                    return gymnasium.make(name, disable_env_checker=True, **keywords), mode
                except TypeError as refusal:
                    if "render_mode" not in str(refusal):
                        raise
                    return gymnasium.make(name, disable_env_checker=True, **arguments), mode
            except (Exception, SystemExit) as error:  # an environment's constructor may raise anything
                problem = problem or error
                if isinstance(error, gymnasium.error.UnregisteredEnv):
                    break
    unknown = [one for one in arguments if f"argument '{one}'" in str(problem)]
    if unknown:
        raise InputError(f"--game-settings: {name} has no {unknown[0]}{_accepted(name)}")
    raise InputError(f"Gymnasium cannot make {name}: {first_line(problem)}")


def modes_to_try(modes: Sequence[str]) -> List[Optional[str]]:
    """Render modes in the order in which they are tried, of an environment that declares `modes` (() = unknown)."""
    known: List[Optional[str]] = [mode for mode in ("rgb_array", "rgb_array_list") if mode in modes]
    return [*(known if modes else ["rgb_array", "rgb_array_list"]), None]


def _render_modes(source: Any) -> Tuple[str, ...]:
    """The render modes that an environment, or its class, declares; () if it declares none."""
    metadata = getattr(source, "metadata", None)
    modes = metadata.get("render_modes") if isinstance(metadata, dict) else None
    return tuple(modes) if isinstance(modes, (list, tuple, set)) else ()


def _creator(name: str) -> Any:
    """The class or function that makes an environment; None if it is not found."""
    try:
        creator = registration.spec(name.partition(":")[2] or name).entry_point
        return registration.load_env_creator(creator) if isinstance(creator, str) else creator
    except Exception:  # any module may be behind it
        return None


def _accepted(name: str) -> str:
    """The settings that an environment accepts, as the end of a message; "" if they are unknown."""
    try:
        parameters = inspect.signature(_creator(name)).parameters.values()
    except (TypeError, ValueError):
        return ""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [one.name for one in parameters if one.kind in kinds and one.name != "render_mode"]
    return f"; it has {', '.join(names[:12])}" if names else "; it has none"


def _describe_actions(name: str, space: Any) -> Optional[str]:
    """Why an action space cannot be used, or None if it is Discrete."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return None
    remedy = "wrap it in an environment of your own that has Discrete actions (--game-path)"
    if isinstance(space, gymnasium.spaces.Box):
        remedy = f"if it has a setting for discrete ones, give it by --game-settings; or {remedy}"
    return f"{name} has actions {shorten(space, 80)}; only Discrete actions are supported: {remedy}"
