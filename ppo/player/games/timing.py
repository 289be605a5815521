"""Frame rate and frame skip of a Gymnasium environment, from what it declares about itself.

Skipping is right only in games that run in real time: where a step is a turn, four steps of "left" are a full turn.
"""

import inspect
import math
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple, Union

import gymnasium

FRAME_SKIP = 4  # frames per decision in a game of 60 frames per second
MAX_TURN_RATE = 15  # at so many frames per second or fewer, every frame is a decision
ASSUMED_RATE = 30  # frames per second of an environment that declares none
# Names under which environments and wrappers keep their own frame skip.
SKIP_NAMES = ("frameskip", "frame_skip", "_frameskip", "_frame_skip", "action_repeat", "_action_repeat")
WRAPPER_SKIP_NAMES = (*SKIP_NAMES, "skip", "_skip", "n_skip", "num_skip", "repeat", "_repeat")
# Base rates, frames per second, of packages whose render_fps does not depend on their own frame skip.
PACKAGE_RATES = {"ale_py": 60.0, "vizdoom": 35.0}

OwnSkip = Union[
    int, Tuple[int, int]
]  # frames per step of the environment itself, or from-to (exclusive), random


@dataclass(frozen=True)
class Timing:
    """`frame_rate`: steps of the environment per second; `is_declared`: whether it is not only assumed. `frame_skip`:
    the default for it. `reason`: why that is not FRAME_SKIP, for the user. `is_turn_based`: whether steps are
    taken for turns: at most MAX_TURN_RATE a second, or a number as the observation."""

    frame_rate: float
    frame_skip: int
    reason: str = ""
    is_declared: bool = True
    is_turn_based: bool = False


def find_timing(env: gymnasium.Env, settings: Dict[str, Any]) -> Timing:
    """The timing of an environment that was made with the keyword arguments `settings`."""
    skip = own_frame_skip(env, settings)
    outer_skip = wrapper_frame_skip(env)
    mean_skip = skip if isinstance(skip, int) else (skip[0] + skip[1] - 1) / 2
    declared = declared_frame_rate(env)
    if declared is not None and outer_skip > 1 and env.metadata is env.unwrapped.metadata:
        declared /= outer_skip  # the wrappers have left the rate of the frames unchanged
    package = type(env.unwrapped).__module__.split(".")[0]
    if package in PACKAGE_RATES:
        declared = PACKAGE_RATES[package] / mean_skip
    if mean_skip > 1:
        frames = skip if isinstance(skip, int) else f"{skip[0]} to {skip[1] - 1}"
        reason = f"each step of it runs {frames} frames already"
        return Timing(declared or ASSUMED_RATE, 1, reason, declared is not None)
    metadata = getattr(env, "metadata", None)
    if isinstance(metadata, dict) and type(metadata.get("frame_skip")) is int and metadata["frame_skip"] == 1:
        reason = "it declares that each step is a decision"
        return Timing(declared or ASSUMED_RATE, 1, reason, declared is not None)
    if declared is None:
        return Timing(ASSUMED_RATE, 1, f"it declares no frame rate; assumed: {ASSUMED_RATE}", False)
    if isinstance(env.observation_space, (gymnasium.spaces.Discrete, gymnasium.spaces.MultiDiscrete)):
        return Timing(declared, 1, "turn-based: its observation is a number", is_turn_based=True)
    if declared <= MAX_TURN_RATE:
        return Timing(declared, 1, f"it draws {declared:g} frames per second", is_turn_based=True)
    return Timing(declared, FRAME_SKIP)


def declared_frame_rate(env: gymnasium.Env) -> Optional[float]:
    """Frames per second according to the metadata, or None if there is no usable number."""
    metadata = getattr(env, "metadata", None)
    rate = metadata.get("render_fps") if isinstance(metadata, dict) else None
    try:
        rate = float(rate)
    except (TypeError, ValueError):
        return None
    return rate if 0.1 <= rate <= 1000 and math.isfinite(rate) else None


def own_frame_skip(env: gymnasium.Env, settings: Dict[str, Any]) -> OwnSkip:
    """How many frames one step of the environment runs, with all its wrappers; 1 if nothing says otherwise."""
    outer_skip = wrapper_frame_skip(env)
    for source in _skip_sources(env, settings, outer_skip > 1):
        skip = _find_skip(source, SKIP_NAMES)
        if skip is not None:
            return (
                skip * outer_skip
                if isinstance(skip, int)
                else (skip[0] * outer_skip, (skip[1] - 1) * outer_skip + 1)
            )
    return outer_skip


def wrapper_frame_skip(env: gymnasium.Env) -> int:
    """How many steps of the innermost environment one step of its wrappers runs, such as AtariPreprocessing or
    MaxAndSkipObservation; 1 if none of them skips."""
    outer_skip = 1
    while isinstance(env, gymnasium.Wrapper):
        skip = _find_skip(vars(env), WRAPPER_SKIP_NAMES)
        outer_skip *= skip if isinstance(skip, int) else 1
        env = env.env
    return outer_skip


def _find_skip(source: Dict[str, Any], names: Sequence[str]) -> Optional[OwnSkip]:
    for name in names:
        skip = source.get(name)
        if isinstance(skip, (list, tuple)) and len(skip) == 2 and all(type(end) is int for end in skip):
            return (skip[0], skip[1]) if skip[1] > skip[0] >= 1 else 1
        if type(skip) is int and skip >= 1:
            return skip
    return None


def _skip_sources(env: gymnasium.Env, settings: Dict[str, Any], is_wrapped: bool) -> Iterator[Dict[str, Any]]:
    """Where the innermost environment may say that it skips frames, the most specific first.

    `is_wrapped`: a wrapper skips frames, and what the settings say may be meant for it.
    """
    inner = env.unwrapped
    if not is_wrapped:
        yield settings
        yield dict(getattr(getattr(env, "spec", None), "kwargs", None) or {})
    yield vars(inner) if hasattr(inner, "__dict__") else {}
    metadata = getattr(inner, "metadata", None)
    yield metadata if isinstance(metadata, dict) else {}
    if is_wrapped:
        return
    try:
        parameters = inspect.signature(type(inner).__init__).parameters
    except (TypeError, ValueError):
        return
    yield {name: parameter.default for name, parameter in parameters.items()}
