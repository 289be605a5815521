"""Translates gamepad input to key names. Needs no pygame.

Sticks and D-pads are arrow keys. The buttons are the game's other keys, in order; in a game that uses only arrow keys,
the first button is up (the accelerator) and the second is down. The Back and Start buttons are commands of the window.
"""

from collections.abc import Collection, Sequence

DEAD_ZONE = 0.4  # of a stick, -1 to 1: a released stick is seldom at exactly 0
AXES = (("left", "right"), ("up", "down"))  # keys of axes 0 and 1: below and above 0
# Back and Start in two common numberings.
BUTTON_COMMANDS = {6: "restart", 7: "pause", 8: "restart", 9: "pause"}


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
        """Sets the position of an axis of gamepad `pad`; `value`: -1 to 1."""
        self.pressed.pop((pad, kind, number), None)
        if number < len(AXES) and abs(value) > DEAD_ZONE:
            self.pressed[pad, kind, number] = AXES[number][value > 0]

    def hat(self, pad: int, x: int, y: int) -> None:
        """Sets the position of the D-pad: x to the right, y upwards, each -1, 0 or 1."""
        self.axis(pad, 0, x, "hat")
        self.axis(pad, 1, -y, "hat")

    def button(self, pad: int, number: int, down: bool) -> str | None:
        """Sets whether a button is down; returns the name of the window command of a pressed button, if it has one."""
        self.pressed.pop((pad, "button", number), None)
        if down and number < len(self.button_keys):
            self.pressed[pad, "button", number] = self.button_keys[number]
        return BUTTON_COMMANDS.get(number) if down and number >= len(self.button_keys) else None

    def unplugged(self, pad: int) -> None:
        """Releases all keys of a gamepad."""
        self.pressed = {source: key for source, key in self.pressed.items() if source[0] != pad}
