"""Chooses the actions of a recording: the sets of keys that are held longest."""

from collections import Counter
from typing import Iterable, List

from player.common.errors import InputError
from player.video.log_names import Keys


def select_actions(held: Iterable[Keys], max_actions: int) -> List[Keys]:
    """The `max_actions` sets that occur most often among the keys held at each step; the first is always the empty set.

    Raises InputError if no key is ever held.
    """
    count: Counter = Counter(held)
    longest = [keys for keys, _ in count.most_common() if keys][: max_actions - 1]
    if not longest:
        raise InputError(
            "no key is held in any of the logs at the times of their videos: a world model learns the effect of keys"
        )
    return [frozenset(), *sorted(longest, key=lambda keys: (len(keys), sorted(keys)))]


def nearest_action(held: Keys, actions: List[Keys]) -> int:
    """Index of the largest action whose keys are all held; index 0, no keys, always matches."""
    matching = [i for i, keys in enumerate(actions) if keys <= held]
    return max(matching, key=lambda i: len(actions[i]))


def action_name(keys: Keys) -> str:
    """A name without spaces, such as "left_shift+up", so that it can be written in a list of actions."""
    return "+".join(key.replace(" ", "_") for key in sorted(keys)) or "nothing"
