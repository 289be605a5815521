"""Maps held keys to actions, reads key files, and holds the demo script. Needs neither pygame nor a game.

`action_keys[a]` holds the names of the keys that are held together for action a, as pygame spells them ("up",
"space", "z").
"""

import re
from collections.abc import Collection, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from dream.common.errors import InputError
from dream.common.key_names import is_no_key, split_keys, to_pygame_key

OPPOSITES = (("left", "right"), ("up", "down"))
WASD = {"w": "up", "a": "left", "s": "down", "d": "right"}
MAX_TEXT = 200  # characters of an action's name or of keys in a key file
MAX_LISTED = 80  # characters of a list of names in a message
MAX_BYTES = 16 * 2**20  # of a key file
MAX_FRAMES = 1_000_000  # of a key file: 18 hours at 15 frames/s, and the list fits into memory

# About ten seconds of driving: keys held, seconds. The run without keys lets the kart coast to a stop.
DEMO_SCRIPT = (
    (("up",), 2.0),
    (("up", "left"), 1.0),
    (("up",), 1.5),
    (("up", "right"), 1.0),
    (("up",), 1.0),
    ((), 2.0),
    (("up",), 1.5),
)


def noop_action(action_keys: Sequence[Collection[str]]) -> int:
    """Returns the action that holds no key, or action 0 if there is none."""
    return next((action for action, keys in enumerate(action_keys) if not keys), 0)


def has_gas(action_keys: Sequence[Collection[str]]) -> bool:
    """Whether the keys are those of a car: up alone, and up together with left or right."""
    combinations = [set(keys) for keys in action_keys]
    return {"up"} in combinations and any(
        {"up", side} <= keys for keys in combinations for side in OPPOSITES[0]
    )


def lacks_brake(action_keys: Sequence[Collection[str]]) -> bool:
    """Whether a game with gas has no key that could be a brake or a reverse gear: arrow keys without down."""
    keys = {key for keys in action_keys for key in keys}
    return has_gas(action_keys) and keys <= {"up", "left", "right"}


def key_aliases(action_keys: Sequence[Collection[str]]) -> dict[str, str]:
    """Arrow keys by the letters that can be held in their place; none if an action uses one of the letters."""
    game_keys = {key for keys in action_keys for key in keys}
    uses_arrows = bool(game_keys & set(WASD.values()))
    return dict(WASD) if uses_arrows and not game_keys & WASD.keys() else {}


def action_for_keys(held: Collection[str], action_keys: Sequence[Collection[str]]) -> int:
    """Returns the action with the most keys among the actions whose keys are all held; ties go to the lowest index.

    Left and right (or up and down) held together cancel each other, unless an action uses both.
    """
    held = set(held)
    for pair in map(set, OPPOSITES):
        if pair <= held and not any(pair <= set(keys) for keys in action_keys):
            held -= pair
    matches = [action for action, keys in enumerate(action_keys) if set(keys) <= held]
    return max(matches, key=lambda action: len(action_keys[action]), default=noop_action(action_keys))


class KeyRun(NamedTuple):
    """A line of a key file: an action or keys, for a number of frames."""

    line: int  # number in the file, from 1
    text: str  # such as "up+left"
    num_frames: int


def parse_keys_file(path: Path) -> list[KeyRun]:
    """Reads the lines of a key file, whatever the game; see `read_keys_file`.

    Raises InputError, with the number of the line, if the file cannot be read or a number of frames is wrong.
    """
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise InputError(
                f"--keys {path} has more than {MAX_BYTES / 2**20:.0f} MB: use longer runs of frames"
            )
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not UTF-8"
        raise InputError(f"--keys {path} cannot be read as a text file ({reason})") from None
    runs, total = [], 0
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        count = words.pop() if len(words) > 1 and re.fullmatch(r"-?\d+", words[-1]) else "1"
        if not (count.isascii() and count.isdigit()) or not 1 <= int(count[:10]) <= MAX_FRAMES - total:
            raise InputError(
                f"--keys {path}, line {number}: {count[:20]!r} is not a number of frames from 1 to {MAX_FRAMES} in all"
            )
        text = " ".join(words)
        if len(text) > MAX_TEXT or not text.isprintable():
            raise InputError(
                f"--keys {path}, line {number}: not an action or keys but {text[:20]!r}; expected e.g. 'up+left 30'"
            )
        runs.append(KeyRun(number, text, int(count)))
        total += int(count)
    if not runs:
        raise InputError(f"--keys {path} contains no actions; write lines such as 'up+left 30' or '- 15'")
    return runs


def read_keys_file(
    path: Path, action_names: Sequence[str], action_keys: Sequence[Collection[str]]
) -> list[int]:
    """Reads a text file of actions and returns one action per frame. Each line is a run of frames:

        forward+left 30   # an action by its name, for 30 frames
        up+left 30        # or the keys that are held; names of other programs too, such as Key.up or ArrowUp
        up                # without a number: one frame
        - 15              # no key (or: none, nothing); the minus key is called minus

    Keys that no action has, or none together, are as in the window: the largest action whose keys are all held, and
    left with right cancel each other. Raises InputError with the number of the line that cannot be read.
    """
    actions = []
    for run in parse_keys_file(path):
        where = f"--keys {path}, line {run.line}"
        actions += [_parse_action(run.text, action_names, action_keys, where)] * run.num_frames
    return actions


def demo_actions(action_keys: Sequence[Collection[str]], num_frames: int, fps: float) -> list[int]:
    """Returns a fixed list of actions, one per frame: DEMO_SCRIPT if the game has the actions of a kart, otherwise
    each action in turn for a second."""
    action_by_keys = {frozenset(keys): action for action, keys in reversed(list(enumerate(action_keys)))}
    if all(frozenset(keys) in action_by_keys for keys, _ in DEMO_SCRIPT):
        runs = [(action_by_keys[frozenset(keys)], seconds) for keys, seconds in DEMO_SCRIPT]
    else:
        runs = [(action, 1.0) for action in range(len(action_keys))]
    actions = [action for action, seconds in runs for _ in range(max(1, round(seconds * fps)))]
    return list(islice(cycle(actions), num_frames))


def _parse_action(
    text: str, action_names: Sequence[str], action_keys: Sequence[Collection[str]], where: str
) -> int:
    if text in action_names:
        return list(action_names).index(text)
    if text == "-" or is_no_key(text):
        return noop_action(action_keys)
    game_keys = {key for keys in action_keys for key in keys}
    try:
        names = split_keys(text)
    except ValueError:
        names = []
    # A key that no keyboard has is known by the recording's own name.
    keys = [name if name in game_keys else to_pygame_key(name, foreign=True) for name in names]
    if not keys or not game_keys.issuperset(keys):
        raise InputError(
            f"{where}: {text[:40]!r} is neither an action ({_listed(action_names)}) "
            f"nor keys of this game ({_listed(sorted(game_keys)) or 'none'}) joined by '+', and then a number of frames"
        )
    return action_for_keys(keys, action_keys)


def _listed(names: Sequence[str]) -> str:
    """The names with commas between them, in at most MAX_LISTED characters."""
    text = ", ".join(names)
    return text if len(text) <= MAX_LISTED else f"{text[: MAX_LISTED - 4]} ..."
