"""Maps held keys to actions, reads key files, and holds the demo script. Needs neither pygame nor a game.

`action_keys[a]` holds the names of the keys that are held together for action a, as pygame spells them ("up",
"space", "z").
"""

from collections.abc import Collection, Sequence
from itertools import cycle, islice
from pathlib import Path

from dream.common.errors import InputError

OPPOSITES = (("left", "right"), ("up", "down"))
NO_KEY_WORDS = ("-", "nothing", "none")  # how a key file spells "no key is held"
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


def read_keys_file(
    path: Path, action_names: Sequence[str], action_keys: Sequence[Collection[str]]
) -> list[int]:
    """Reads a text file of actions and returns one action per frame. Each line is a run of frames:

        forward+left 30   # an action by its name, for 30 frames
        up+left 30        # or the keys that are held
        up                # without a number: one frame
        - 15              # no key (or: nothing 15)

    Raises InputError with the number of the line that cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not UTF-8"
        raise InputError(f"--keys {path} cannot be read as a text file ({reason})") from None
    actions = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"--keys {path}, line {number}"
        if len(words) > 2:
            raise InputError(f"{where}: {line.strip()!r} has too many words; expected e.g. 'up+left 30'")
        count = words[1] if len(words) == 2 else "1"
        if not (count.isascii() and count.isdigit()) or not 1 <= int(count) <= MAX_FRAMES - len(actions):
            raise InputError(f"{where}: {count!r} is not a number of frames from 1 to {MAX_FRAMES} in all")
        actions += [_parse_action(words[0], action_names, action_keys, where)] * int(count)
    if not actions:
        raise InputError(f"--keys {path} contains no actions; write lines such as 'up+left 30' or '- 15'")
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
    word: str, action_names: Sequence[str], action_keys: Sequence[Collection[str]], where: str
) -> int:
    if word in action_names:
        return list(action_names).index(word)
    if word in NO_KEY_WORDS:
        return noop_action(action_keys)
    keys, game_keys = word.split("+"), {key for keys in action_keys for key in keys}
    if not set(keys) <= game_keys:
        raise InputError(
            f"{where}: {word!r} is neither an action ({', '.join(action_names)}) "
            f"nor keys of this game ({', '.join(sorted(game_keys)) or 'none'}) joined by '+'"
        )
    return action_for_keys(keys, action_keys)
