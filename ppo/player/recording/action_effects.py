"""Finds out, while a recording is made, whether the actions change the picture: otherwise nothing can be learned."""

import zlib
from typing import Dict, List, Sequence, Tuple

import numpy as np

MIN_USES = 10  # an action that was used less often is not judged
MAX_TRANSITIONS = 4096  # how many steps are compared with others from the same picture
MIN_REPEATED = 0.9  # fraction of these steps that must have others to be compared with
MIN_TESTED = 200  # steps from repeated pictures that a statement about chance needs
SHUFFLES = 20
MIN_DEVIATIONS = 4.0  # standard deviations from chance that count as evidence for an effect


class ActionEffects:
    """Collects evidence from rows of a recording; `problems` says what it shows."""

    def __init__(self, action_names: Sequence[str]) -> None:
        self.names = list(action_names)
        self.uses = np.zeros(len(self.names), np.int64)
        self.has_changed = np.zeros(
            len(self.names), bool
        )  # whether the picture ever changed after the action
        self.num_compared = 0
        self.next_pictures: Dict[int, Dict[int, int]] = {}  # picture -> action -> next picture, as checksums
        self.num_seen: Dict[int, int] = {}  # picture -> steps from it
        self.actions_matter = False  # whether one picture was followed by different ones
        self.steps: List[Tuple[int, int, int, int]] = []  # picture, action, next picture, the one after that

    def add(self, rows: Dict[str, np.ndarray]) -> None:
        """Adds rows: "frames" uint8 (K, T, 3, H, W), "actions" (K, T), "episode_starts" bool (K, T)."""
        for frames, actions, starts in zip(rows["frames"], rows["actions"], rows["episode_starts"]):
            for t in np.flatnonzero(~starts[1:]):
                action = int(actions[t])
                self.uses[action] += 1
                if not self.has_changed[action]:
                    self.has_changed[action] = bool((frames[t] != frames[t + 1]).any())
                if self.num_compared < MAX_TRANSITIONS:
                    has_second = t + 2 < len(starts) and not starts[t + 2]
                    second = zlib.crc32(frames[t + 2].tobytes()) if has_second else 0
                    self._compare(zlib.crc32(frames[t].tobytes()), action, frames[t + 1], second)

    def _compare(self, picture: int, action: int, next_frame: np.ndarray, second: int) -> None:
        following = zlib.crc32(next_frame.tobytes())
        known = self.next_pictures.setdefault(picture, {})
        self.actions_matter = self.actions_matter or any(other != following for other in known.values())
        known[action] = following
        self.steps.append((picture, action, following, second))
        self.num_compared += 1
        self.num_seen[picture] = self.num_seen.get(picture, 0) + 1

    @property
    def is_frozen(self) -> bool:
        """Whether the picture has never changed although several actions were used."""
        several = self.uses.sum() >= MIN_USES and np.count_nonzero(self.uses) > 1
        return bool(several and not self.has_changed.any())

    def problems(self) -> List[str]:
        """One line for each reason why the actions cannot be learned; an empty list if there is none."""
        if self.is_frozen:
            return [
                f"the picture never changed in {self.uses.sum()} steps: nothing can be learned from this recording"
            ]
        used = np.flatnonzero(self.uses)
        if self.uses.sum() >= MIN_USES and used.size == 1:
            return [
                f"warning: {self.names[used[0]]} is the action of every step: what actions do cannot be learned from "
                "this recording"
            ]
        without = np.flatnonzero((self.uses >= MIN_USES) & ~self.has_changed)
        lines = []
        if without.size:
            names = ", ".join(self.names[i] for i in without[:12])
            lines.append(
                f"warning: the picture never changed after {names} ({self.uses[without].sum()} steps)"
            )
        repeated = sum(self.num_seen[picture] for picture, by_action in self.next_pictures.items()
                       if len(by_action) > 1)  # fmt: skip
        if self.num_compared < MIN_USES or repeated < MIN_REPEATED * self.num_compared:
            return lines
        if not self.actions_matter:
            lines.append(
                "warning: the actions never change the picture: whatever the action, the same picture followed"
            )
        elif repeated >= MIN_TESTED and not has_effect(np.array(self.steps, np.int64)):
            lines.append(
                f"warning: no sign that the actions change the picture: in {repeated} steps from repeated pictures, "
                "what followed did not depend on the action (a title screen or a menu?)"
            )
        return lines


def has_effect(steps: np.ndarray) -> bool:
    """Whether what follows a picture depends on the action more than by chance.

    `steps`: int64 (N, 4), numbers of the picture, of the action, and of the two pictures that follow; games may react
    one picture late. Compares sum(n log n) over the counts n of equal steps, which grows with the dependence, with its
    values after the actions have been shuffled among the steps from the same picture.
    """
    generator = np.random.default_rng(0)
    pictures, actions, *followers = (np.unique(column, return_inverse=True)[1] for column in steps.T)
    order = np.argsort(pictures, kind="stable")
    shuffled = []
    for _ in range(SHUFFLES):
        mixed = np.empty_like(actions)
        mixed[order] = actions[np.lexsort((generator.random(len(steps)), pictures))]
        shuffled.append(mixed)
    for following in followers:

        def dependence(chosen: np.ndarray, following: np.ndarray = following) -> float:
            _, counts = np.unique(np.stack((pictures, chosen, following)), axis=1, return_counts=True)
            return float((counts * np.log(counts)).sum())

        by_chance = [dependence(mixed) for mixed in shuffled]
        spread = max(float(np.std(by_chance)), 1e-6)
        if dependence(actions) > np.mean(by_chance) + MIN_DEVIATIONS * spread + 1e-6:
            return True
    return False
