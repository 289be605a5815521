"""The frame limiter of a play session, and frame time statistics."""

from collections import deque
from collections.abc import Callable


class FrameLimiter:
    """Tells when the next frame is due, by a monotonic clock. fps: frames per second; now: returns seconds.

    Frames keep to a fixed grid of periods. A frame that is more than a period late starts a new grid, so an
    environment that is slower than the game plays slowly, without a burst of frames that catches up.
    """

    def __init__(self, fps: float, now: Callable[[], float]) -> None:
        self.period_s, self.now, self.due_at = 1 / fps, now, now()

    def wait_s(self) -> float:
        """Seconds until the next frame is due; 0 if it is due."""
        return max(0.0, self.due_at - self.now())

    def begin_frame(self) -> None:
        """Call it when a frame begins: sets when the next one is due."""
        self.due_at += self.period_s
        if self.due_at < self.now():
            self.due_at = self.now() + self.period_s


class FrameTimes:
    """Time per frame over the last second and over the session, and latency from key press to frame."""

    def __init__(self) -> None:
        self.num_frames, self.sum_s, self.worst_s = 0, 0.0, 0.0  # of the whole session
        self.key_to_frame_s: list[float] = []
        self.recent_s: deque[float] = deque(maxlen=40)
        self.last_second: deque[tuple[float, float]] = deque()  # (time at its end, duration in s) per frame

    def add(self, done_at: float, duration_s: float) -> None:
        """Adds a frame that was done at the clock time `done_at`, in seconds, and took `duration_s`."""
        self.num_frames += 1
        self.sum_s += duration_s
        self.worst_s = max(self.worst_s, duration_s)
        self.recent_s.append(duration_s)
        self.last_second.append((done_at, duration_s))
        while len(self.last_second) > 2 and done_at - self.last_second[0][0] > 1.0:
            self.last_second.popleft()

    def reset_window(self) -> None:
        """Empties the last second. Call it at a pause or restart, so that the gap does not count as frame time."""
        self.last_second.clear()

    def fps(self) -> float | None:
        """Frames per second over the last second; None before the second frame."""
        if len(self.last_second) < 2 or self.last_second[-1][0] <= self.last_second[0][0]:
            return None
        return (len(self.last_second) - 1) / (self.last_second[-1][0] - self.last_second[0][0])

    def mean_ms(self) -> float:
        """Mean time per frame over the last second, in ms; 0 without a frame."""
        return 1000 * sum(duration_s for _, duration_s in self.last_second) / max(1, len(self.last_second))

    def worst_ms(self) -> float:
        """Longest time of a frame within the last second, in ms; 0 without a frame."""
        return 1000 * max((duration_s for _, duration_s in self.last_second), default=0.0)
