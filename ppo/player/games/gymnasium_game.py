"""Makes the Game of a Gymnasium environment: actions, frame skip, assumptions about its pictures, flicker."""

from functools import partial
from typing import Any, Dict, List, Optional, Tuple

import gymnasium
import numpy as np

from player.common.errors import InputError
from player.common.pictures import NEARLY_BLACK
from player.games.flicker import PROBE_FRAMES, flicker_period
from player.games.game import Action, Game, read_actions
from player.games.gymnasium_env import GymnasiumGame
from player.games.gymnasium_open import add_game_path, open_env, with_defaults
from player.games.timing import MAX_TURN_RATE, Timing, find_timing, own_frame_skip

KEYS = "0123456789abcdefghijklmno"  # keys of unnamed actions; the window itself uses p, q, r and t
# Environments whose actions have names: name and keys of each, in the environment's order.
NAMED_ACTIONS = {
    "CarRacing-v3": (("nothing",), ("right", "right"), ("left", "left"), ("gas", "up"), ("brake", "down")),
}


def split_steps(env: gymnasium.Env, settings: Dict[str, Any]) -> int:
    """Frames per step of an Atari environment (ALE) that skips a fixed number of frames itself; otherwise 1.

    Its own skip shows only every fourth frame, so what flickers is lost: it is opened with frameskip=1 instead, and
    its frames are run here.
    """
    skip = own_frame_skip(env, settings)
    is_ale = type(env.unwrapped).__module__.split(".")[0] == "ale_py"
    return skip if is_ale and isinstance(skip, int) else 1


def make_game(
    name: str,
    crop: Optional[Tuple[int, int, int, int]] = None,
    actions: Optional[str] = None,
    frame_skip: Optional[int] = None,
    max_frames: Optional[int] = None,
    game_settings: Optional[Dict[str, Any]] = None,
    game_path: Optional[str] = None,
) -> Game:
    """The Game of a Gymnasium environment.

    crop: x, y, width and height of the visible part of the picture. actions: path of a file for `read_actions`, whose
    buttons are the numbers of the environment's actions. frame_skip, max_frames: None chooses the game's default.
    game_settings: keyword arguments of the environment. game_path: folder to import it from.

    Raises InputError if the environment cannot be used.
    """
    add_game_path(game_path)
    settings = dict(game_settings or {})
    env, _ = open_env(name, settings)
    try:
        timing, substeps = find_timing(env, settings), split_steps(env, settings)
        first, number = int(env.action_space.start), int(env.action_space.n)
        is_atari = type(env.unwrapped).__module__.split(".")[0] == "ale_py"
    finally:
        env.close()
    chosen = choose_actions(name, [str(first + i) for i in range(number)], actions)
    env_actions = tuple(int(action.buttons[0]) for action in chosen)
    make_settings = {**settings, "frameskip": 1} if substeps > 1 else settings
    make = partial(
        GymnasiumGame, name, env_actions, crop, settings=make_settings, game_path=game_path, substeps=substeps
    )
    notes, period, picture_size = probe(make)
    frame_skip = frame_skip or timing.frame_skip
    if max_frames is None:
        # A slow or turn-based game repeats its pictures for other reasons: four turns to the left, for example.
        is_fast = timing.is_declared and timing.frame_rate * substeps > MAX_TURN_RATE
        needed = max(period if is_fast else 1, 2 if is_atari else 1)
        max_frames = needed if frame_skip * substeps > 1 else 1
    make = partial(make, known_notes=notes, picture_size=picture_size, max_frames=max_frames)
    environment = {
        "settings": with_defaults(name, make_settings),
        "actions": list(env_actions),
        "frame_skip": frame_skip * substeps,
        "max_frames": max_frames,
        "crop": crop and list(crop),
    }
    lines = describe_choices(timing, frame_skip, max_frames)
    if is_atari and substeps == 1 and timing.reason and max_frames == 1:
        lines.append(
            "note: what flickers is lost in its own frame skip; --game-settings frameskip=1 leaves it to here"
        )
    return Game(
        name, chosen, timing.frame_rate, make, shares_process=True, has_buttons=False, frame_skip=frame_skip,
        max_frames=max_frames, settings=settings, environment=environment, notes=(*lines, *notes),
    )  # fmt: skip


def choose_actions(name: str, numbers: List[str], file: Optional[str]) -> Tuple[Action, ...]:
    """The actions of `file`, or one per number of the environment's actions. Raises InputError if that fails."""
    if file is not None:
        chosen = read_actions(file, numbers)
        for action in chosen:
            if len(action.buttons) != 1:
                raise InputError(
                    f"{file}: {action.name} must have one button, the number of an action of {name}"
                )
        return chosen
    if name in NAMED_ACTIONS:
        return tuple(
            Action(action_name, (number,), tuple(keys))
            for number, (action_name, *keys) in zip(numbers, NAMED_ACTIONS[name])
        )
    if len(numbers) > len(KEYS):
        raise InputError(f"{name} has {len(numbers)} actions: choose some of them with --actions FILE")
    return tuple(Action(number, (number,), (key,)) for number, key in zip(numbers, KEYS))


def probe(make: Any) -> Tuple[List[str], int, Tuple[int, int]]:
    """Plays some frames with the first action. Returns assumptions about the pictures, the period of flicker, and
    height and width of the pictures.

    `make`: of a GymnasiumGame. Raises InputError if a picture cannot be used.
    """
    game = make(known_notes=None, frame_skip=1, max_frames=1)
    try:
        game.num_frames = 1  # every frame, also of an environment with substeps
        frames: List[np.ndarray] = []
        period = 1
        for _ in range(2 * PROBE_FRAMES):
            _, _, terminated, truncated, _ = game.step(0)
            frames.append(game.maximum.frames[-1])
            if len(frames) == PROBE_FRAMES:
                period = max(period, flicker_period(frames))
                frames = []
            if terminated or truncated:
                game.reset()
                frames = []
        notes = list(game.reader.notes)
        if 0 < game.reader.brightest < NEARLY_BLACK:
            notes.append(f"warning: nearly black: the brightest value is {game.reader.brightest} of 255; are "
                         "these numbers of cells, and not colors?")  # fmt: skip
        return notes, period, game.reader.shape
    finally:
        game.close()


def describe_choices(timing: Timing, frame_skip: int, max_frames: int) -> List[str]:
    """Why the frame skip and the number of merged frames are not the usual ones; one line each."""
    lines = []
    if timing.reason and frame_skip == timing.frame_skip:
        lines.append(f"chosen: frame skip {frame_skip}, because {timing.reason} (--frame-skip N changes it)")
    elif timing.reason:
        lines.append(f"note: frame skip {frame_skip} although {timing.reason}")
    if max_frames > 1:
        lines.append(
            f"chosen: each picture is the maximum of {max_frames} frames, against flicker (--max-frames 1 turns it off)"
        )
    return lines
