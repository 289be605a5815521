"""From switching a console on to where a race begins, without a person: buttons pressed by a script.

A line is the buttons held down and for how many frames, `RIGHT 3`, `B+LEFT 30`, `none 10`; or buttons that are tapped
again and again until a variable of data.json has a value: `START until getGameMode 28`. `#` begins a comment.
"""

import re
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

from player.common.errors import InputError

TAP, PAUSE = 3, 12  # frames
PATIENCE = 3600  # frames that a script waits for a value


@dataclass(frozen=True)
class Press:
    buttons: Tuple[str, ...]
    frames: int  # or, with `until`, at most
    until: Optional[Tuple[str, int]] = None  # a variable and its value


def read_script(text: str, buttons: Sequence[str]) -> List[Press]:
    """buttons: those that the console has. Raises InputError with the line that is wrong."""
    presses = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        held = () if words[0].lower() == "none" else tuple(words[0].upper().split("+"))
        unknown = [button for button in held if button not in buttons]
        if unknown:
            known = ", ".join(button for button in buttons if button)
            raise InputError(
                f"line {number}, {line.strip()!r}: no button {unknown[0]}; the console has {known}"
            )
        if len(words) == 2 and re.fullmatch("[0-9]{1,9}", words[1]) and 0 < int(words[1]) <= PATIENCE:
            presses.append(Press(held, int(words[1])))
        elif len(words) == 4 and words[1] == "until" and re.fullmatch("-?[0-9]{1,19}", words[3]):
            presses.append(Press(held, PATIENCE, (words[2], int(words[3]))))
        else:
            raise InputError(
                f"line {number}, {line.strip()!r}: wanted BUTTONS FRAMES (1-{PATIENCE}) or BUTTONS until NAME VALUE"
            )
    return presses


def run_script(
    presses: Sequence[Press], frame: Callable[[Tuple[str, ...]], None], read: Callable[[str], int]
) -> None:
    """frame: runs one of the game with those buttons held. read: a variable's value. Raises InputError where a
    value does not come."""
    for press in presses:
        for i in range(press.frames):
            if press.until and read(press.until[0]) == press.until[1]:
                break
            tapped = press.until is None or i % (TAP + PAUSE) < TAP
            frame(press.buttons if tapped else ())
        else:
            if press.until:
                name, value = press.until
                raise InputError(f"{name} did not become {value} in {PATIENCE} frames; it is {read(name)}")
