"""Gamepads as keys: what is pushed on any of them, by the names of the keys that mean the same. No pygame.

Sticks and crosses are arrows. The buttons are the game's other keys in their order; of a game that has none but arrows
the first one is up, which drives. What most pads call start and back is for the window.
"""

from collections.abc import Collection, Sequence

DEAD_ZONE = 0.4  # of a stick, whose rest is seldom 0
AXES = (("left", "right"), ("up", "down"))  # of axis 0 and 1: pushed to below and to above 0
COMMANDS = {6: "restart", 7: "pause", 8: "restart", 9: "pause"}  # back and start, by two common numberings


class Gamepads:
    """`held`: all keys that are pushed now."""

    def __init__(self, action_keys: Sequence[Collection[str]]) -> None:
        game_keys = list(dict.fromkeys(key for keys in action_keys for key in keys))
        arrows = {key for pair in AXES for key in pair}
        others = [key for key in game_keys if key not in arrows]
        self.buttons = others or [key for key in ("up", "down") if key in game_keys]
        self.pushed: dict[tuple, str] = {}  # (pad, kind, number) -> key

    @property
    def held(self) -> set[str]:
        return set(self.pushed.values())

    def axis(self, pad: int, number: int, value: float, kind: str = "axis") -> None:
        """`value`: -1 to 1."""
        self.pushed.pop((pad, kind, number), None)
        if number < len(AXES) and abs(value) > DEAD_ZONE:
            self.pushed[pad, kind, number] = AXES[number][value > 0]

    def hat(self, pad: int, x: int, y: int) -> None:
        """A cross: x to the right, y upwards, -1, 0 or 1."""
        self.axis(pad, 0, x, "hat")
        self.axis(pad, 1, -y, "hat")

    def button(self, pad: int, number: int, down: bool) -> str | None:
        """The window's command that it means, if it is one."""
        self.pushed.pop((pad, "button", number), None)
        if down and number < len(self.buttons):
            self.pushed[pad, "button", number] = self.buttons[number]
        return COMMANDS.get(number) if down and number >= len(self.buttons) else None

    def unplugged(self, pad: int) -> None:
        self.pushed = {where: key for where, key in self.pushed.items() if where[0] != pad}
