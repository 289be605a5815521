"""Which action do these keys mean? Held keys, the window's own keys, files of keys. No pygame, no game.

`action_keys[a]` are the names of the keys held together for action a, as pygame spells them ("up", "space", "z").
"""

from collections.abc import Collection, Sequence
from itertools import cycle, islice
from pathlib import Path

from dream.common.errors import InputError

OPPOSITES = (("left", "right"), ("up", "down"))
NOTHING = ("-", "nothing", "none")  # how a keys file spells "no key is held"
MOST_FRAMES = 1_000_000  # of a keys file: far more than anybody watches, and a list that fits any memory

# About ten seconds at the wheel: keys held, seconds. The last but one lets go, so that the kart coasts to a stop.
DRIVE = (
    (("up",), 2.0),
    (("up", "left"), 1.0),
    (("up",), 1.5),
    (("up", "right"), 1.0),
    (("up",), 1.0),
    ((), 2.0),
    (("up",), 1.5),
)

# What the window's own keys do: a command, its keys, its line of help; commands.py has a function of each name. A key
# that the game uses is the game's; each command shows the first one left to it.
COMMANDS = {
    "help": (("h", "f1"), "all keys"),
    "restart": (("r", "return"), "this place again"),
    "next place": (("n",), "next place"),
    "previous place": (("b",), "place before"),
    "keep place": (("k",), "keep this place, to start from"),
    "pause": (("p", "space"), "pause"),
    "one step": ((".",), "one frame on"),
    "go back": (("z", "backspace"), "go back, as long as held"),
    "driver": (("tab",), "who drives: you, a list, the agent"),
    "view": (("t",), "dream, game, both, difference"),
    "slower": (("-",), "slower"),
    "faster": (("=", "+"), "faster"),
    "other seed": (("x",), "another seed"),
    "picture": (("f12", "s"), "save a picture"),
    "video": (("v",), "record a video, once more to end it"),
    "gif": (("g",), "record a gif"),
    "recording": (("c",), "record .npz, to train on"),
    "hide this": (("i", "f2"), "hide the bar"),
    "full screen": (("f11", "f"), "full screen"),
    "quit": (("q", "escape"), "quit"),
}


def command_keys(action_keys: Sequence[Collection[str]]) -> dict[str, list[str]]:
    """The keys that are left to each command of the window."""
    game_keys = {key for keys in action_keys for key in keys}
    return {command: [key for key in keys if key not in game_keys] for command, (keys, _) in COMMANDS.items()}


def nothing_action(action_keys: Sequence[Collection[str]]) -> int:
    """The action that holds no key; a game without one gives action 0."""
    return next((action for action, keys in enumerate(action_keys) if not keys), 0)


def action_for_keys(held: Collection[str], action_keys: Sequence[Collection[str]]) -> int:
    """The action with most keys of those whose keys are all held; ties go to the lowest index.

    Left and right (up and down) held together cancel, unless some action wants both.
    """
    held = set(held)
    for pair in map(set, OPPOSITES):
        if pair <= held and not any(pair <= set(keys) for keys in action_keys):
            held -= pair
    matches = [action for action, keys in enumerate(action_keys) if set(keys) <= held]
    return max(matches, key=lambda action: len(action_keys[action]), default=nothing_action(action_keys))


def read_keys_file(
    path: Path, action_names: Sequence[str], action_keys: Sequence[Collection[str]]
) -> list[int]:
    """The actions, one a frame, of a text file with a line for each run of frames:

        forward+left 30   # an action by its name, for 30 frames
        up+left 30        # or the keys that are held
        up                # without a number: one frame
        - 15              # no key (or: nothing 15)

    Raises BadInput with the number of the line that cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "not UTF-8"
        raise InputError(f"--keys {path} cannot be read as a text file ({why})") from None
    actions = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"--keys {path}, line {number}"
        if len(words) > 2:
            raise InputError(f"{where}: {line.strip()!r} has too many words; wanted e.g. 'up+left 30'")
        count = words[1] if len(words) == 2 else "1"
        if not (count.isascii() and count.isdigit()) or not 1 <= int(count) <= MOST_FRAMES - len(actions):
            raise InputError(f"{where}: {count!r} is not a number of frames from 1 to {MOST_FRAMES} in all")
        actions += [_action_of_word(words[0], action_names, action_keys, where)] * int(count)
    if not actions:
        raise InputError(f"--keys {path} holds no keys; a line is e.g. 'up+left 30' or '- 15'")
    return actions


def drive_script(action_keys: Sequence[Collection[str]], num_frames: int, fps: float) -> list[int]:
    """A fixed list of actions, one a frame: a drive where the actions are a kart's, else each in turn for a second."""
    wanted = {frozenset(keys): action for action, keys in reversed(list(enumerate(action_keys)))}
    if all(frozenset(keys) in wanted for keys, _ in DRIVE):
        runs = [(wanted[frozenset(keys)], seconds) for keys, seconds in DRIVE]
    else:
        runs = [(action, 1.0) for action in range(len(action_keys))]
    actions = [action for action, seconds in runs for _ in range(max(1, round(seconds * fps)))]
    return list(islice(cycle(actions), num_frames))


def _action_of_word(
    word: str, action_names: Sequence[str], action_keys: Sequence[Collection[str]], where: str
) -> int:
    if word in action_names:
        return list(action_names).index(word)
    if word in NOTHING:
        return nothing_action(action_keys)
    keys, known = word.split("+"), {key for keys in action_keys for key in keys}
    if not set(keys) <= known:
        raise InputError(
            f"{where}: {word!r} is neither an action ({', '.join(action_names)}) "
            f"nor keys of this game ({', '.join(sorted(known)) or 'none'}) joined by '+'"
        )
    return action_for_keys(keys, action_keys)
