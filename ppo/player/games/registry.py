"""Finds a game by its name: the built-in game, a Gymnasium environment, or an emulator game."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import gymnasium

from player.common.errors import InputError
from player.games.game import BUILT_IN_GAME, Game


def find_game(
    name: str,
    integrations: Optional[str] = None,
    state: Optional[str] = None,
    track: int = 0,
    rivals: int = 0,
    **emulator: Any,
) -> Game:
    """Returns the game called `name`.

    "Mode7Kart-v0" is the built-in game; it uses `track` and `rivals`. A name in Gymnasium's registry, or of the form
    `package:Env-v0`, is a Gymnasium environment. Any other name is an emulator game; it uses `integrations`, `state`
    and the options of `retro.integration.make_game`.

    Raises InputError if the emulator, the game, its ROM or the savestate is missing; the message says what to do.
    """
    if name == BUILT_IN_GAME:
        from player.games.mode7 import env as mode7

        return mode7.make_game(track=track, rivals=rivals)
    if name in gymnasium.registry or ":" in name:
        from player.games import gymnasium_env

        if any(option is not None for option in (integrations, state, emulator.pop("scenario", None))):
            raise InputError(
                f"--integrations, --state and --scenario are for emulator games; {name} is a Gymnasium environment"
            )
        return gymnasium_env.make_game(name, **emulator)
    from player.games.retro import integration

    return integration.make_game(name, integrations=integrations, state=state, **emulator)


def find_tracks(
    name: str,
    integrations: Optional[str] = None,
    states: Optional[str] = None,
    tracks: Sequence[int] = (0,),
    rivals: int = 0,
    **emulator: Any,
) -> Tuple[Game, List[Dict[str, Any]]]:
    """Returns the game on its first track, and for each track the keyword arguments of `Game.make` that select it.

    Tracks are given by `tracks` for Mode7Kart-v0 ([{"track": 2}, ...]) and by `states` for emulator games
    ([{"state": "MarioCircuit_M"}, ...]): names of savestates separated by commas, or "all". Raises InputError like
    `find_game`.
    """
    if name == BUILT_IN_GAME:
        return find_game(name, track=tracks[0], rivals=rivals), [{"track": track} for track in tracks]
    names = [states]
    if states == "all":
        from player.games.retro import integration

        names = integration.list_states(name, integrations) or [None]
    elif states is not None:
        names = states.split(",")
    for state in reversed(names):  # checks all of them, and ends with the game of the first one
        game = find_game(name, integrations, state, **emulator)
    return game, [{"state": state} for state in names]
