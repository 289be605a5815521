"""What playing needs besides a screen: what can be played, when its next frame is due, how long the last ones took."""

import os
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Playable(Protocol):
    action_names: tuple[str, ...]
    action_keys: tuple[tuple[str, ...], ...]
    fps: float
    num_starts: int
    frame_shape: tuple[int, int]  # H, W
    backend: str  # as it is shown
    fingerprint: str  # of whose latents
    age: int  # frames dreamed since a place of the game's, by which the noise is drawn
    seed: int  # the knobs, which may be turned between frames
    steps: int

    def reset(self, start: int = 0) -> np.ndarray: ...  # uint8 (H, W, 3), RGB
    def step(self, action: int) -> np.ndarray: ...
    def get_state(self) -> Any: ...  # where one stands
    def set_state(self, state: Any) -> np.ndarray: ...
    def game_state(self, start: int) -> dict[str, float] | None: ...  # the game's true state at a place
    def place(self) -> tuple[np.ndarray, np.ndarray]: ...  # where one stands, to be written into a file
    def save_start_state(self, path: Path) -> int: ...


def may_have_screen() -> bool:
    """False where no window can open, on Linux without a display server; asked before SDL, which complains aloud."""
    on_screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"))
    return on_screen or not sys.platform.startswith("linux")


class Pacer:
    """Says when the next frame is due, by a clock that never goes back.

    Frames keep to a fixed grid of periods. One that comes more than a period late starts a new grid: a dream slower
    than the game plays slowly, and is never followed by a burst of frames that makes up for it.
    """

    def __init__(self, fps: float, now: Callable[[], float]) -> None:
        self.period_s, self.now, self.due_at = 1 / fps, now, now()

    def wait_s(self) -> float:
        return max(0.0, self.due_at - self.now())

    def begin_frame(self) -> None:
        self.due_at += self.period_s
        if self.due_at < self.now():
            self.due_at = self.now() + self.period_s


class FrameTimes:
    """How long the dream took for each frame: of the last second, and of all. And from taking a key to its frame."""

    def __init__(self) -> None:
        self.num_frames, self.sum_s, self.worst_s = 0, 0.0, 0.0  # of all
        self.key_to_frame_s: list[float] = []
        self.recent_s: deque[float] = deque(maxlen=40)
        self.last_second: deque[tuple[float, float]] = deque()  # when it was done, seconds it took

    def add(self, done_at: float, took_s: float) -> None:
        self.num_frames += 1
        self.sum_s += took_s
        self.worst_s = max(self.worst_s, took_s)
        self.recent_s.append(took_s)
        self.last_second.append((done_at, took_s))
        while len(self.last_second) > 2 and done_at - self.last_second[0][0] > 1.0:
            self.last_second.popleft()

    def interrupt(self) -> None:
        """After a pause or a restart the gap is not the dream's: the last second begins anew."""
        self.last_second.clear()

    def fps(self) -> float | None:
        """Frames a second reached; None until there are two."""
        if len(self.last_second) < 2 or self.last_second[-1][0] <= self.last_second[0][0]:
            return None
        return (len(self.last_second) - 1) / (self.last_second[-1][0] - self.last_second[0][0])

    def mean_ms(self) -> float:
        return 1000 * sum(took_s for _, took_s in self.last_second) / max(1, len(self.last_second))

    def worst_ms(self) -> float:
        return 1000 * max((took_s for _, took_s in self.last_second), default=0.0)


def fit(picture: tuple[int, int], area: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a picture (width, height) stands in an area, as large as it can be: x, y, width, height.

    Its aspect is kept, and a scale just above a whole number becomes that number, for even pixels.
    """
    scale = min(area[0] / picture[0], area[1] / picture[1])
    if scale >= 1 and int(scale) / scale > 0.95:
        scale = int(scale)
    width, height = max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale))
    return (area[0] - width) // 2, (area[1] - height) // 2, width, height
