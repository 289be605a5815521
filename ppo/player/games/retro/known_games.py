"""Emulator games that the project knows by name: their buttons, what of the screen is seen, how they are rewarded."""

from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Dict, List, Optional, Tuple

from player.games.game import DRIVING_ACTIONS, Action
from player.games.retro.race_reward import RaceRules
from player.games.retro.roms import KART_CART, MARIO_KART

SHOOTER_ACTIONS = (
    Action("nothing"),
    Action("left", ("LEFT",), ("left",)),
    Action("right", ("RIGHT",), ("right",)),
    Action("fire", ("B",), ("space",)),  # one shot a press: held down it does not fire again
    Action("fire+left", ("B", "LEFT"), ("space", "left")),
    Action("fire+right", ("B", "RIGHT"), ("space", "right")),
)
RACE_VIEW = (0, 0, 256, 112)  # x, y, width, height: the upper half of the SNES screen; the lower one is a map
RACE_TRUTH = (
    *("kart1_X", "kart1_Y", "kart1_direction", "kart1_speed"),
    *("lap", "current_checkpoint", "surface", "isTurnedAround"),
)
RACE_RULES = {"checkpoints": RaceRules, "checkpoints+speed": partial(RaceRules, speed=True)}


@dataclass(frozen=True)
class KnownGame:
    """scenarios: reward and end by name, in place of a scenario.json; the first is the default. boots: savestates that
    a script of `boot.py` makes when the game is opened; the first is the default where there is no other."""

    actions: Optional[Tuple[Action, ...]] = None  # None: generic_actions
    crop: Optional[Tuple[int, int, int, int]] = None  # None: the whole screen
    truth: Tuple[str, ...] = ()  # variables of data.json that are recorded as the true state
    scenarios: Dict[str, Callable[[], RaceRules]] = field(default_factory=dict)
    boots: Dict[str, str] = field(default_factory=dict)


UNKNOWN = KnownGame()


def kart_cart_boot(course: int) -> str:
    return "none 20\n" + course * "RIGHT 3\nnone 10\n" + "START until getGameMode 28\nnone 5\n"


KNOWN_GAMES = {
    MARIO_KART: KnownGame(DRIVING_ACTIONS, RACE_VIEW, RACE_TRUTH, RACE_RULES),
    KART_CART: KnownGame(
        DRIVING_ACTIONS,
        RACE_VIEW,
        RACE_TRUTH,
        RACE_RULES,
        {name: kart_cart_boot(i) for i, name in enumerate(("MeadowCircuit", "CoralCove", "AuroraLake"))},
    ),
    "Airstriker-Genesis-v0": KnownGame(SHOOTER_ACTIONS, None, ("score", "lives")),
}


def generic_actions(buttons: List[Optional[str]]) -> Tuple[Action, ...]:
    """For a game nobody has described: the main button, left and right, as far as the console has them."""
    fire = next((button for button in ("B", "BUTTON", "I", "A") if button in buttons), "B")
    keys = {fire: "space", "LEFT": "left", "RIGHT": "right"}
    choices = ((), (fire,), ("LEFT",), ("RIGHT",), (fire, "LEFT"), (fire, "RIGHT"))
    return tuple(
        Action("+".join(held).lower() or "nothing", held, tuple(keys[button] for button in held))
        for held in choices
        if all(button in buttons for button in held)
    )
