"""Makes the Game of a Gymnasium environment: actions, frame skip, assumptions about its pictures, flicker."""

import os
from contextlib import suppress
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import gymnasium
import numpy as np

from player.common.errors import InputError
from player.common.frame_size import FULL_SIZE, Size, describe_frame_size, resolve_frame_size
from player.common.pictures import NEARLY_BLACK
from player.games.closing import close_in_time
from player.games.flicker import PROBE_FRAMES, flicker_period
from player.games.game import Game
from player.games.gymnasium_actions import ale_actions, choose_actions, declared_actions, is_ale
from player.games.gymnasium_env import GymnasiumEnv
from player.games.gymnasium_open import add_game_path, open_env, with_defaults
from player.games.timing import (
    MAX_TURN_RATE,
    PACKAGE_RATES,
    Timing,
    find_timing,
    own_frame_skip,
    wrapper_frame_skip,
)

THREADED: Set[str] = set()  # names of environments that start native threads


def split_steps(
    name: str, env: gymnasium.Env, settings: Dict[str, Any]
) -> Tuple[int, Optional[Tuple[gymnasium.Env, bool]]]:
    """Frames per step of an Atari environment (ALE) that skips a fixed number of frames itself, and the environment
    opened again with frameskip=1; otherwise 1 and None.

    Its own skip shows only every fourth frame, so what flickers is lost: its frames are run here instead. That is not
    done if a wrapper skips frames, or if frameskip=1 does not reach ALE: they would then be skipped twice.
    """
    skip = own_frame_skip(env, settings)
    if not is_ale(env) or not isinstance(skip, int) or skip == 1 or wrapper_frame_skip(env) != 1:
        return 1, None
    try:
        opened = open_env(name, {**settings, "frameskip": 1})
    except InputError:  # the user's function that makes it has no such argument
        return 1, None
    if is_ale(opened[0]) and vars(opened[0].unwrapped).get("_frameskip") == 1:
        return skip, opened
    opened[0].close()
    return 1, None


def count_ale_frames(env: gymnasium.Env, action: int) -> Optional[int]:
    """Frames that one step of an ALE environment with all its wrappers runs, by ALE's own counter; None if it has none.

    Wrappers may skip frames without an attribute that says so.
    """
    try:
        env.reset(seed=0)
        before = env.unwrapped.ale.getEpisodeFrameNumber()
        env.step(action)
        return int(env.unwrapped.ale.getEpisodeFrameNumber() - before)
    except Exception:  # the probe says what is wrong
        return None


def make_game(
    name: str,
    crop: Optional[Tuple[int, int, int, int]] = None,
    actions: Optional[str] = None,
    frame_skip: Optional[int] = None,
    max_frames: Optional[int] = None,
    game_settings: Optional[Dict[str, Any]] = None,
    game_path: Optional[str] = None,
    frame_size: Optional[Size] = None,
) -> Game:
    """The Game of a Gymnasium environment.

    crop: x, y, width and height of the visible part of the picture. actions: path of a file for `read_actions`, whose
    buttons are the numbers of the environment's actions. frame_skip, max_frames: None chooses the game's default.
    game_settings: keyword arguments of the environment. game_path: folder to import it from. frame_size: of the frames,
    see `resolve_frame_size`.

    Raises InputError if the environment cannot be used.
    """
    add_game_path(game_path)
    settings = dict(game_settings or {})
    num_threads = count_threads()
    opened = open_env(name, settings)
    env = opened[0]
    try:
        timing, is_atari = find_timing(env, settings), is_ale(env)
        brings_batch, has_rewards = is_batched(env), getattr(env.unwrapped, "has_rewards", True) is not False
        first, number = int(env.action_space.start), int(env.action_space.n)
        chosen = choose_actions(
            name, [str(first + i) for i in range(number)], actions, ale_actions(env) or declared_actions(env)
        )
        skip = own_frame_skip(env, settings)
        has_random_skip = isinstance(skip, tuple)
        counted = count_ale_frames(env, first) if is_atari and isinstance(skip, int) else None
        if counted and counted > skip:  # in wrappers
            timing = Timing(
                PACKAGE_RATES["ale_py"] / counted, 1, f"each step of it runs {counted} frames already"
            )
            substeps, split = 1, None
        else:
            substeps, split = split_steps(name, env, settings)
    except BaseException:
        with suppress(Exception):
            close_in_time(env)
        raise
    if split:
        close_in_time(env)
    env_actions = tuple(int(action.buttons[0]) for action in chosen)
    make_settings = {**settings, "frameskip": 1} if substeps > 1 else settings
    make = partial(
        GymnasiumEnv, name, env_actions, crop, settings=make_settings, game_path=game_path, substeps=substeps
    )
    notes, period, picture_size, action_space = probe(partial(make, frame_size=frame_size), split or opened)
    frame_skip = frame_skip or timing.frame_skip
    if max_frames is None:
        # A slow or turn-based game repeats its pictures for other reasons: four turns to the left, for example.
        is_fast = timing.is_declared and timing.frame_rate * substeps > MAX_TURN_RATE
        needed = max(period if is_fast else 1, 2 if is_atari else 1)
        max_frames = needed if frame_skip * substeps > 1 else 1
    height, width = crop[:1:-1] if crop else picture_size
    if brings_batch and not crop:
        frame_size = frame_size or FULL_SIZE  # as it generates them
    size = resolve_frame_size(frame_size, height, width, timing.is_turn_based)
    spaces = gymnasium.spaces.Box(0, 255, (*size, 3), np.uint8), action_space
    make = partial(
        make, printed_notes=notes, picture_size=picture_size, frame_size=size, max_frames=max_frames
    )
    environment = {
        "settings": with_defaults(name, make_settings),
        "actions": list(env_actions),
        "frame_skip": frame_skip * substeps,
        "max_frames": max_frames,
        "crop": crop and list(crop),
        "frame_size": list(size),
    }
    has_batch = (
        brings_batch
        and tuple(size) == tuple(picture_size)
        and not crop
        and frame_skip * substeps == max_frames == 1
        and env_actions == tuple(range(number))
    )
    make_batch = partial(gymnasium.make_vec, name, vectorization_mode="vector_entry_point", **settings)
    lines = describe_choices(timing, frame_skip, max_frames)
    lines.append(describe_frame_size(height, width, size))
    if is_atari and substeps == 1 and timing.reason and max_frames == 1:
        remedy = "make it with frameskip=1 in your own code, and its wrappers without frame skip"
        if has_random_skip:
            remedy = "--game-settings frameskip=1 leaves it to here"
        lines.append(
            f"note: what flickers is lost in its own frame skip, unless its wrappers merge frames; {remedy}"
        )
    if brings_batch:
        changed = "one by one, because of --crop, --frame-size, --frame-skip, --max-frames or --actions"
        lines.append("environments: " + ("in one batch" if has_batch else changed))
    if not has_rewards:
        lines.append("note: it has no rewards: it can be recorded, but no agent can learn in it")
    return Game(
        name, chosen, timing.frame_rate, make, shares_process=True, has_buttons=False, frame_skip=frame_skip,
        max_frames=max_frames, settings=settings, environment=environment, notes=(*lines, *notes), spaces=spaces,
        make_batch=make_batch if has_batch else None, has_rewards=has_rewards,
        starts_threads=starts_threads(name, num_threads),
    )  # fmt: skip


def probe(
    make: Callable[..., GymnasiumEnv], opened: Tuple[gymnasium.Env, bool]
) -> Tuple[List[str], int, Tuple[int, int], gymnasium.Space]:
    """Plays some frames with the first action. Returns assumptions about the pictures, the period of flicker, height
    and width of the pictures, and the space of actions.

    `opened`: of `open_env`; it is closed. Raises InputError if a picture cannot be used.
    """
    game = make(opened=opened, prints_notes=False, frame_skip=1, max_frames=1)
    try:
        game.num_frames = 1  # every frame, also of an environment with substeps
        frames: List[np.ndarray] = []
        period, ends = 1, 0
        for _ in range(2 * PROBE_FRAMES):
            _, _, terminated, truncated, _ = game.step(0)
            frames.append(game.maximum.frames[-1])
            if len(frames) == PROBE_FRAMES:
                period = max(period, flicker_period(frames))
                frames = []
            if terminated or truncated:
                ends += 1
                game.reset()
                frames = []
        notes = list(game.reader.notes)
        if ends == 2 * PROBE_FRAMES:
            notes.append("warning: each episode ends after one step: no motion can be learned from that; does step() "
                         "return terminated too early?")  # fmt: skip
        if game.reader.brightest == 1:
            raise InputError(f"{game.name}: its picture has only the values 0 and 1 of 255, black on black: return "
                             "True and False, or multiply it by 255")  # fmt: skip
        if 0 < game.reader.brightest < NEARLY_BLACK:
            notes.append(f"warning: nearly black: the brightest value is {game.reader.brightest} of 255; are "
                         "these numbers of cells, and not colors?")  # fmt: skip
        return notes, period, game.reader.shape, game.action_space
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


def is_batched(env: gymnasium.Env) -> bool:
    """Whether Gymnasium makes several environments of this kind as one batch whose observations are pictures."""
    space = env.observation_space
    is_picture = (
        isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8 and space.shape[2:] == (3,)
    )
    return is_picture and getattr(env.spec, "vector_entry_point", None) is not None


def starts_threads(name: str, num_before: int) -> bool:
    """Whether making an environment has started native threads, now or earlier in this process, where the next one may
    use those of the first. num_before: `count_threads` before."""
    if count_threads() > num_before:
        THREADED.add(name)
    return name in THREADED


def count_threads() -> int:
    """Native threads of this process; 0 where the system does not say."""
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
