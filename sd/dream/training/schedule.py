"""How much of a training run is done, by steps or by the clock, and what follows for the learning rate."""

import math
import time


class Budget:
    """A run ends at `max_steps`, or after `max_minutes` (0 = no limit) where that comes first.

    Measured in steps, a run is the same bit for bit however often it is stopped; measured by the clock it only goes on.
    """

    def __init__(self, max_steps: int, max_minutes: float, spent_s: float = 0.0) -> None:
        self.max_steps, self.max_s = max_steps, max_minutes * 60
        self.began = time.monotonic() - spent_s

    def spent_s(self) -> float:
        return time.monotonic() - self.began

    def progress(self, step: int) -> float:
        """The share that is used, 0-1."""
        by_clock = self.spent_s() / self.max_s if self.max_s else 0.0
        return min(1.0, max(step / self.max_steps, by_clock))

    def expected_steps(self, step: int) -> int:
        """Of the whole run, judged by the `step` steps that are done."""
        return round(step / self.progress(step)) if step else self.max_steps

    def what_ended(self, step: int) -> str:
        return "all epochs are done" if step >= self.max_steps else "the time is up (--max-minutes)"

    def is_over(self, step: int) -> bool:
        return self.progress(step) >= 1.0


def learning_rate(peak: float, progress: float, step: int, warmup_steps: int = 100) -> float:
    """A linear warm-up, then half a cosine down to a hundredth of the peak at progress 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / warmup_steps) * (0.01 + 0.99 * cosine)
