"""What a game is: a short description and how to make it. One file a family: mode7_kart.py, retro.py, registered.py.

A game's environment is a Gymnasium environment whose observation is the cropped RGB frame, uint8 (H, W, 3), whose
action is an index into `actions`, and whose step runs `frame_skip` frames of the game and adds up their rewards.
Two things are optional: `info["truth"]`, float32 (len(truth_names),), the game's true state at the frame that is
returned; and `get_state() -> bytes`, `set_state(bytes)`, by which a stopped training goes on where it was.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import gymnasium

from player.errors import BadInput


@dataclass(frozen=True)
class Action:
    """One choice of the agent: the console's buttons held down for it, and the keys that stand for it."""

    name: str
    buttons: Tuple[str, ...] = ()
    keys: Tuple[str, ...] = ()  # pygame key names, held together


DRIVING_ACTIONS = (
    Action("nothing"),
    Action("forward", ("B",), ("up",)),
    Action("left", ("LEFT",), ("left",)),
    Action("right", ("RIGHT",), ("right",)),
    Action("forward+left", ("B", "LEFT"), ("up", "left")),
    Action("forward+right", ("B", "RIGHT"), ("up", "right")),
)


@dataclass(frozen=True)
class Game:
    """A game as the rest of the project sees it."""

    name: str
    actions: Tuple[Action, ...]
    frame_rate: int  # frames a second of the game itself, before frame skip
    make: Callable[..., gymnasium.Env]  # make(frame_skip=4); picklable, so that worker processes can call it
    truth_names: Tuple[str, ...] = ()
    shares_process: bool = (
        False  # may several of its environments live in one process? An emulator's may not.
    )
    has_buttons: bool = True  # does `make` know `buttons_as_actions`, for a person to hold each by itself?

    def recording_meta(self, frame_skip: int, courses: list, drivers: List[str], seed: int) -> Dict[str, Any]:
        """What a recording says of itself. courses: of `find_courses`; drivers: who drives, a game each."""
        return {
            "game": self.name,
            "fps": self.frame_rate / frame_skip,
            "frame_skip": frame_skip,
            "action_keys": [list(action.keys) for action in self.actions],
            "courses": courses,
            "record_envs": len(drivers),
            "drivers": drivers,
            "seed": seed,
        }


def find_game(
    name: str,
    integrations: Optional[str] = None,
    state: Optional[str] = None,
    track: int = 0,
    rivals: int = 0,
    **emulator: Any,
) -> Game:
    """The game called `name`: `Mode7Kart-v0` is built in, names that Gymnasium knows and `package:Env-v0` are its
    own, every other one goes to the emulator, with the options of `retro.describe`.

    Raises BadInput where the emulator, the game, its ROM or the state is missing; the message says what to do.
    """
    if name == "Mode7Kart-v0":
        from player.games import mode7_kart

        return mode7_kart.describe(track=track, rivals=rivals)
    if name in gymnasium.registry or ":" in name:
        from player.games import registered

        if any(given is not None for given in (integrations, state, emulator.pop("scenario", None))):
            raise BadInput(f"--integrations, --state and --scenario are of emulators; {name} is Gymnasium's")
        return registered.describe(name, **emulator)
    from player.games import retro

    return retro.describe(name, integrations=integrations, state=state, **emulator)


def find_courses(
    name: str,
    integrations: Optional[str] = None,
    states: Optional[str] = None,
    tracks: Sequence[int] = (0,),
    rivals: int = 0,
    **emulator: Any,
) -> Tuple[Game, List[Dict[str, Any]]]:
    """The game on the first of several courses, and for each of them what its `make` wants: {"track": 2}, or {"state":
    "MarioCircuit_M"}. states: names with commas between them, or "all". Raises BadInput as `find_game`."""
    if name == "Mode7Kart-v0":
        return find_game(name, track=tracks[0], rivals=rivals), [{"track": track} for track in tracks]
    names = [states]
    if states == "all":
        from player.games import retro

        names = retro.states_of(name, integrations) or [None]
    elif states is not None:
        names = states.split(",")
    for state in names[::-1]:  # all of them are looked at, the first last
        game = find_game(name, integrations, state, **emulator)
    return game, [{"state": state} for state in names]
