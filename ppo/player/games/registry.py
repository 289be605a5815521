"""Finds a game by its name: the built-in game, a Gymnasium environment, or an emulator game."""

from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

from player.common.errors import InputError
from player.common.frame_size import FULL_SIZE
from player.games.game import BUILT_IN_GAME, Game
from player.games.gymnasium_open import add_game_path, is_gymnasium_name


def find_game(
    name: str,
    integrations: Optional[str] = None,
    state: Optional[str] = None,
    track: int = 0,
    rivals: int = 0,
    frame_skip: Optional[int] = None,
    **options: Any,
) -> Game:
    """Returns the game called `name`.

    "Mode7Kart-v0" is the built-in game; it uses `track`, `rivals` and the option `frame_size`. A name in Gymnasium's
    registry, or of the form `package:Env-v0` or `NAMESPACE/Env-v0`, is a Gymnasium environment. Any other name is an
    emulator game; it uses `integrations`, `state` and the options of `retro.integration.make_game`. `frame_skip`:
    frames per decision; None: the game's default. `options`: see `cli.find_options`.

    Raises InputError if the emulator, the game, its ROM or the savestate is missing; the message says what to do.
    """
    if name == BUILT_IN_GAME:
        from player.games.mode7 import env as mode7

        size = options.get("frame_size")
        size = None if size == FULL_SIZE else size
        game = mode7.make_game(track=track, rivals=rivals, frame_size=size)
        frame_skip = frame_skip or game.frame_skip
        settings = {"track": track, "rivals": rivals, "frame_skip": frame_skip}
        if size:
            settings["frame_size"] = list(size)
        environment = {
            "settings": settings,
            "actions": [*range(len(game.actions))],
            "frame_skip": 1,
            "max_frames": 1,
        }
        return replace(game, frame_skip=frame_skip, environment=environment)
    add_game_path(options.get("game_path"))
    if is_gymnasium_name(name):
        from player.games import gymnasium_game

        if any(option is not None for option in (integrations, state, options.pop("scenario", None))):
            raise InputError(
                f"--integrations, --state and --scenario are for emulator games; {name} is a Gymnasium environment"
            )
        return gymnasium_game.make_game(name, frame_skip=frame_skip, **options)
    from player.games.retro import integration

    for option in ("game_settings", "game_path"):
        if options.pop(option, None):
            raise InputError(f"--{option.replace('_', '-')} is for Gymnasium environments, and no environment {name} "
                             "is registered; MODULE:NAME names one in a module")  # fmt: skip
    return integration.make_game(
        name, integrations=integrations, state=state, frame_skip=frame_skip, **options
    )


def same_game(name: str, other: str) -> bool:
    """Whether two names are of the same game: with and without the module that registers it."""
    return name.rpartition(":")[2] == other.rpartition(":")[2]


def find_tracks(
    name: str,
    integrations: Optional[str] = None,
    states: Optional[str] = None,
    tracks: Sequence[int] = (0,),
    rivals: int = 0,
    frame_skip: Optional[int] = None,
    **options: Any,
) -> Tuple[Game, List[Dict[str, Any]]]:
    """Returns the game on its first track, and for each track the keyword arguments of `Game.make` that select it.

    Tracks are given by `tracks` for Mode7Kart-v0 ([{"track": 2}, ...]) and by `states` for emulator games
    ([{"state": "MarioCircuit_M"}, ...]): names of savestates separated by commas, or "all". Raises InputError like
    `find_game`.
    """
    if name == BUILT_IN_GAME:
        size = options.get("frame_size")
        game = find_game(name, track=tracks[0], rivals=rivals, frame_skip=frame_skip, frame_size=size)
        if len(tracks) > 1:
            del game.environment["settings"]["track"]
        return game, [{"track": track} for track in tracks]
    names = [states]
    if states == "all":
        from player.games.retro import integration

        names = integration.list_states(name, integrations) or [None]
    elif states is not None:
        names = states.split(",")
    for state in reversed(names):  # checks all of them, and ends with the game of the first one
        game = find_game(name, integrations, state, frame_skip=frame_skip, **options)
    return game, [{"state": state} for state in names]
