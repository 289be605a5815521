"""Manoeuvres: the world model and the real game are driven side by side, under the same actions from the same start
state. No PyTorch, no pygame."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dream.common.errors import InputError, shorten
from dream.common.game_info import OWN_GAME
from dream.play import keys
from dream.play.controllers import ScriptController
from dream.play.playable_env import PlayableEnv
from dream.play.real_env import same_game
from dream.play.session import PlaySession

LIST_FPS = 15  # frames per second of the lists below; for models with another rate their lengths are scaled
NOTHING, GAS, LEFT, RIGHT = (), ("up",), ("left",), ("right",)
GAS_LEFT, GAS_RIGHT = ("up", "left"), ("up", "right")
# Of the built-in kart game, by name: keys held, and for how many frames. What the kart does, tests/test_manoeuvres.py
# checks on the game's own state.
KART_MANOEUVRES: dict[str, tuple[tuple[tuple[str, ...], int], ...]] = {
    "straight": ((GAS, 30),),
    # slows down, since the turning circle grows with the speed; turns by 360 degrees in 3.5 s at a third of the top
    # speed, on the road; then looks at the road that it came from
    "turn": ((GAS, 5), (NOTHING, 22), *((GAS_LEFT, 1), (LEFT, 1)) * 26, (NOTHING, 15)),
    "stop": ((GAS, 30), (NOTHING, 60)),
    "grass": ((GAS_LEFT, 8), (GAS, 8), (GAS_RIGHT, 18), (GAS, 15)),
    "fence": ((GAS_LEFT, 10), (GAS, 25), (GAS_RIGHT, 35), (GAS, 15)),
    "weave": ((GAS_LEFT, 5), (GAS_RIGHT, 10), (GAS_LEFT, 10), (GAS_RIGHT, 5)),
}


@dataclass(frozen=True)
class Manoeuvre:
    """A name and one action per frame (F,)."""

    name: str
    actions: tuple[int, ...]


@dataclass(frozen=True)
class Drive:
    """A manoeuvre of F frames as the world model and the game have shown it. Frame 0 is that of the start state."""

    start: int  # number of the start state
    model_frames: np.ndarray  # uint8 (F + 1, H, W, 3)
    game_frames: np.ndarray  # uint8 (F + 1, H, W, 3)
    game_states: list[dict[str, float]]  # (F + 1,), see RealEnv.game_state


def kart_manoeuvres(env: PlayableEnv) -> list[Manoeuvre]:
    """KART_MANOEUVRES as actions of `env`."""
    manoeuvres = []
    for name, runs in KART_MANOEUVRES.items():
        actions = []
        for held, num_frames in runs:
            action = keys.action_for_keys(held, env.action_keys)
            actions += [action] * max(1, round(num_frames * env.fps / LIST_FPS))
        manoeuvres.append(Manoeuvre(name, tuple(actions)))
    return manoeuvres


def has_kart_manoeuvres(env: PlayableEnv, game: str) -> bool:
    """Whether `game`, a Gymnasium id, is the built-in kart game and the actions of `env` are those of a kart."""
    return same_game(game, OWN_GAME) and keys.has_gas(env.action_keys)


def read_manoeuvres(paths: Sequence[Path], env: PlayableEnv) -> list[Manoeuvre]:
    """Key files (see keys.read_keys_file) as manoeuvres with the names of the files.

    Raises InputError if a file cannot be read, or if two have the same name."""
    manoeuvres: dict[str, Manoeuvre] = {}
    for path in paths:
        name = shorten(path.stem, 40)
        if name in manoeuvres:
            raise InputError(f"--keys {path}: there are two files named {name}; their pictures would be one")
        actions = keys.read_keys_file(path, env.action_names, env.action_keys)
        manoeuvres[name] = Manoeuvre(name, tuple(actions))
    return [*manoeuvres.values()]


def drive(session: PlaySession, manoeuvre: Manoeuvre, start: int) -> Drive | None:
    """Drives a manoeuvre from start state number `start` in a session with a real game.

    Returns None if the game cannot be set to the start state, or ends or fails before the manoeuvre is over. Raises
    InputError if the frames of the two have different sizes."""
    noop = keys.noop_action(session.env.action_keys)
    session.set_controller(ScriptController(manoeuvre.name, manoeuvre.actions, noop))
    session.start = start
    session.restart()
    model_frames, game_frames, game_states = [], [], []
    for step in range(len(manoeuvre.actions) + 1):
        if step:
            session.step()
        if not session.real.in_sync:
            return None
        model_frames.append(session.frame_u8.copy())
        game_frames.append(session.real.frame_u8.copy())
        game_states.append(session.real.game_state())
    if model_frames[0].shape != game_frames[0].shape:
        sizes = [f"{frames[0].shape[0]} x {frames[0].shape[1]}" for frames in (game_frames, model_frames)]
        raise InputError(
            f"the game's frames have {sizes[0]} pixels and the model's {sizes[1]}: choose the game and the settings "
            "that the model was trained on"
        )
    return Drive(start, np.stack(model_frames), np.stack(game_frames), game_states)
