"""Settings of the emulator games that the project knows by name: actions, crop, recorded variables and reward."""

from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Dict, List, Optional, Tuple

from player.games.game import DRIVING_ACTIONS, Action
from player.games.retro.race_reward import RaceReward
from player.games.retro.roms import KART_CART, MARIO_KART

SHOOTER_ACTIONS = (
    Action("nothing"),
    Action("left", ("LEFT",), ("left",)),
    Action("right", ("RIGHT",), ("right",)),
    Action("fire", ("B",), ("space",)),  # one shot per press: holding the button does not fire again
    Action("fire+left", ("B", "LEFT"), ("space", "left")),
    Action("fire+right", ("B", "RIGHT"), ("space", "right")),
)
RACE_CROP = (0, 0, 256, 112)  # the upper half of the SNES screen; the lower half shows a map
RACE_VARIABLES = (
    *("kart1_X", "kart1_Y", "kart1_direction", "kart1_speed"),
    *("lap", "current_checkpoint", "surface", "isTurnedAround"),
)
RACE_SCENARIOS = {"checkpoints": RaceReward, "checkpoints+speed": partial(RaceReward, speed=True)}


@dataclass(frozen=True)
class KnownGame:
    """Settings of one emulator game."""

    actions: Optional[Tuple[Action, ...]] = None  # None: generic_actions
    crop: Optional[Tuple[int, int, int, int]] = None  # x, y, width, height; None: the whole screen
    variables: Tuple[str, ...] = ()  # names in data.json, recorded as the game state
    # Name -> reward and episode end, as an alternative to a scenario.json; the first one is the default.
    scenarios: Dict[str, Callable[[], RaceReward]] = field(default_factory=dict)
    # Name of a savestate -> boot script that makes it when the game is opened; the first one is the default unless
    # metadata.json names another.
    boot_scripts: Dict[str, str] = field(default_factory=dict)


UNKNOWN_GAME = KnownGame()


def kart_cart_boot_script(track: int) -> str:
    """Boot script of Kart Cart: selects track 0, 1 or 2 in the menu and starts the race."""
    return "none 20\n" + track * "RIGHT 3\nnone 10\n" + "START until getGameMode 28\nnone 5\n"


KART_CART_TRACKS = ("MeadowCircuit", "CoralCove", "AuroraLake")
KNOWN_GAMES = {
    MARIO_KART: KnownGame(DRIVING_ACTIONS, RACE_CROP, RACE_VARIABLES, RACE_SCENARIOS),
    KART_CART: KnownGame(
        DRIVING_ACTIONS,
        RACE_CROP,
        RACE_VARIABLES,
        RACE_SCENARIOS,
        {name: kart_cart_boot_script(i) for i, name in enumerate(KART_CART_TRACKS)},
    ),
    "Airstriker-Genesis-v0": KnownGame(SHOOTER_ACTIONS, None, ("score", "lives")),
}


def generic_actions(buttons: List[Optional[str]]) -> Tuple[Action, ...]:
    """Actions of a game without settings: main button, left, right, and combinations, if the console has them."""
    fire = next((button for button in ("B", "BUTTON", "I", "A") if button in buttons), "B")
    keys = {fire: "space", "LEFT": "left", "RIGHT": "right"}
    combinations = ((), (fire,), ("LEFT",), ("RIGHT",), (fire, "LEFT"), (fire, "RIGHT"))
    return tuple(
        Action("+".join(held).lower() or "nothing", held, tuple(keys[button] for button in held))
        for held in combinations
        if all(button in buttons for button in held)
    )
