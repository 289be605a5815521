"""Boot scripts: button presses that take a console from power-on to the start of a race.

Each line holds buttons down for a number of frames, `RIGHT 3`, `B+LEFT 30`, `none 10`; or taps them repeatedly until a
variable of data.json has a value, `START until getGameMode 28`. `#` starts a comment.
"""

import re
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

from player.common.errors import InputError

TAP_FRAMES, PAUSE_FRAMES = 3, 12  # of a repeated tap: the button is down, then up
MAX_FRAMES = 3600  # maximum frames per line


@dataclass(frozen=True)
class Press:
    """One line of a boot script."""

    buttons: Tuple[str, ...]
    frames: int  # duration; with `until` the maximum
    until: Optional[Tuple[str, int]] = None  # variable and value


def read_script(text: str, buttons: Sequence[str]) -> List[Press]:
    """Parses a boot script. `buttons`: names of the console's buttons. Raises InputError that quotes a wrong line."""
    presses = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        held = () if words[0].lower() == "none" else tuple(words[0].upper().split("+"))
        unknown = [button for button in held if button not in buttons]
        if unknown:
            available = ", ".join(button for button in buttons if button)
            raise InputError(
                f"line {number}, {line.strip()!r}: no button {unknown[0]}; the console has {available}"
            )
        if len(words) == 2 and re.fullmatch("[0-9]{1,9}", words[1]) and 0 < int(words[1]) <= MAX_FRAMES:
            presses.append(Press(held, int(words[1])))
        elif len(words) == 4 and words[1] == "until" and re.fullmatch("-?[0-9]{1,19}", words[3]):
            presses.append(Press(held, MAX_FRAMES, (words[2], int(words[3]))))
        else:
            raise InputError(
                f"line {number}, {line.strip()!r}: expected BUTTONS FRAMES (1-{MAX_FRAMES}) or BUTTONS until NAME VALUE"
            )
    return presses


def run_script(
    presses: Sequence[Press],
    run_frame: Callable[[Tuple[str, ...]], None],
    read_variable: Callable[[str], int],
) -> None:
    """Runs a boot script. `run_frame`: runs one frame of the game with the given buttons held down.

    Raises InputError if a variable does not reach its value within MAX_FRAMES frames.
    """
    for press in presses:
        for i in range(press.frames):
            if press.until and read_variable(press.until[0]) == press.until[1]:
                break
            down = press.until is None or i % (TAP_FRAMES + PAUSE_FRAMES) < TAP_FRAMES
            run_frame(press.buttons if down else ())
        else:
            if press.until:
                name, value = press.until
                raise InputError(
                    f"{name} did not become {value} in {MAX_FRAMES} frames; it is {read_variable(name)}"
                )
