"""Finds out, while a recording is made, whether the actions change the picture: otherwise nothing can be learned."""

import zlib
from typing import Dict, List, Sequence

import numpy as np

MIN_USES = 10  # an action that was used less often is not judged
MAX_TRANSITIONS = 4096  # how many steps are compared with others from the same picture
MIN_REPEATED = 0.9  # fraction of these steps that must have others to be compared with


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

    def add(self, rows: Dict[str, np.ndarray]) -> None:
        """Adds rows: "frames" uint8 (K, T, 3, H, W), "actions" (K, T), "episode_starts" bool (K, T)."""
        for frames, actions, starts in zip(rows["frames"], rows["actions"], rows["episode_starts"]):
            for t in np.flatnonzero(~starts[1:]):
                action = int(actions[t])
                self.uses[action] += 1
                if not self.has_changed[action]:
                    self.has_changed[action] = bool((frames[t] != frames[t + 1]).any())
                if not self.actions_matter and self.num_compared < MAX_TRANSITIONS:
                    self._compare(zlib.crc32(frames[t].tobytes()), action, frames[t + 1])

    def _compare(self, picture: int, action: int, next_frame: np.ndarray) -> None:
        following = zlib.crc32(next_frame.tobytes())
        known = self.next_pictures.setdefault(picture, {})
        self.actions_matter = any(other != following for other in known.values())
        known[action] = following
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
        if not self.actions_matter:
            repeated = sum(self.num_seen[picture] for picture, by_action in self.next_pictures.items()
                           if len(by_action) > 1)  # fmt: skip
            if self.num_compared >= MIN_USES and repeated >= MIN_REPEATED * self.num_compared:
                lines.append(
                    "warning: the actions never change the picture: whatever the action, the same picture followed"
                )
        return lines
