"""Finds a game by name: the built-in one, one of Gymnasium's, or one on an emulator."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import gymnasium

from player.common.errors import InputError
from player.games.game import Game


def find_game(
    name: str,
    integrations: Optional[str] = None,
    state: Optional[str] = None,
    track: int = 0,
    rivals: int = 0,
    **emulator: Any,
) -> Game:
    """The game called `name`: `Mode7Kart-v0` is built in, names that Gymnasium knows and `package:Env-v0` are its
    own, every other one goes to the emulator, with the options of `retro.integration.describe`.

    Raises InputError where the emulator, the game, its ROM or the state is missing; the message says what to do.
    """
    if name == "Mode7Kart-v0":
        from player.games.mode7 import env as mode7

        return mode7.describe(track=track, rivals=rivals)
    if name in gymnasium.registry or ":" in name:
        from player.games import gymnasium_env

        if any(given is not None for given in (integrations, state, emulator.pop("scenario", None))):
            raise InputError(
                f"--integrations, --state and --scenario are of emulators; {name} is Gymnasium's"
            )
        return gymnasium_env.describe(name, **emulator)
    from player.games.retro import integration

    return integration.describe(name, integrations=integrations, state=state, **emulator)


def find_tracks(
    name: str,
    integrations: Optional[str] = None,
    states: Optional[str] = None,
    tracks: Sequence[int] = (0,),
    rivals: int = 0,
    **emulator: Any,
) -> Tuple[Game, List[Dict[str, Any]]]:
    """The game on the first of several courses, and for each of them what its `make` wants: {"track": 2}, or {"state":
    "MarioCircuit_M"}. states: names with commas between them, or "all". Raises InputError as `find_game`."""
    if name == "Mode7Kart-v0":
        return find_game(name, track=tracks[0], rivals=rivals), [{"track": track} for track in tracks]
    names = [states]
    if states == "all":
        from player.games.retro import integration

        names = integration.states_of(name, integrations) or [None]
    elif states is not None:
        names = states.split(",")
    for state in names[::-1]:  # all of them are looked at, the first last
        game = find_game(name, integrations, state, **emulator)
    return game, [{"state": state} for state in names]
