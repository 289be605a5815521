"""Translates gamepad input to the key names that mean the same. No pygame.

Sticks and D-pads are arrow keys. The buttons are the game's other keys in their order; in a game that uses arrow keys
only, the first button is up (the accelerator) and the second is down. The next buttons, usually Back and Start, are
commands of the window.
"""

from collections.abc import Collection, Sequence

DEAD_ZONE = 0.4  # of a stick, -1 to 1: a released stick is seldom at exactly 0
AXES = (("left", "right"), ("up", "down"))  # keys of axes 0 and 1: below and above 0
BUTTON_COMMANDS = {
    6: "restart",
    7: "pause",
    8: "restart",
    9: "pause",
}  # Back and Start in two common numberings


class Gamepads:
    """The state of all connected gamepads; `held` is the set of keys that are pressed on any of them."""

    def __init__(self, action_keys: Sequence[Collection[str]]) -> None:
        game_keys = list(dict.fromkeys(key for keys in action_keys for key in keys))
        arrows = {key for pair in AXES for key in pair}
        others = [key for key in game_keys if key not in arrows]
        self.button_keys = others or [key for key in ("up", "down") if key in game_keys]
        self.pressed: dict[tuple, str] = {}  # (gamepad id, kind, number) -> key

    @property
    def held(self) -> set[str]:
        return set(self.pressed.values())

    def axis(self, pad: int, number: int, value: float, kind: str = "axis") -> None:
        """`value`: -1 to 1."""
        self.pressed.pop((pad, kind, number), None)
        if number < len(AXES) and abs(value) > DEAD_ZONE:
            self.pressed[pad, kind, number] = AXES[number][value > 0]

    def hat(self, pad: int, x: int, y: int) -> None:
        """A D-pad: x to the right, y upwards, each -1, 0 or 1."""
        self.axis(pad, 0, x, "hat")
        self.axis(pad, 1, -y, "hat")

    def button(self, pad: int, number: int, down: bool) -> str | None:
        """Returns the window command of a button that is pressed, or None where it is a key of the game or nothing."""
        self.pressed.pop((pad, "button", number), None)
        if down and number < len(self.button_keys):
            self.pressed[pad, "button", number] = self.button_keys[number]
        return BUTTON_COMMANDS.get(number) if down and number >= len(self.button_keys) else None

    def unplugged(self, pad: int) -> None:
        self.pressed = {source: key for source, key in self.pressed.items() if source[0] != pad}
