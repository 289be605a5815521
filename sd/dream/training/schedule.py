"""How much of a training run is done, by steps or by the clock, and the learning rate that follows from it."""

import math
import time


class Schedule:
    """A run ends after `max_steps`, or after `max_minutes` (0 = no limit), whichever comes first.

    A run that is limited by steps alone is the same bit for bit however often it is stopped and resumed.
    """

    def __init__(self, max_steps: int, max_minutes: float, elapsed_s: float = 0.0) -> None:
        """elapsed_s: seconds that earlier parts of the run have taken."""
        self.max_steps, self.max_s = max_steps, max_minutes * 60
        self.began = time.monotonic() - elapsed_s

    def elapsed_s(self) -> float:
        """Seconds of training, earlier parts of the run included."""
        return time.monotonic() - self.began

    def progress(self, step: int) -> float:
        """Fraction of the run that is done, 0-1."""
        by_clock = self.elapsed_s() / self.max_s if self.max_s else 0.0
        return min(1.0, max(step / self.max_steps, by_clock))

    def expected_steps(self, step: int) -> int:
        """Steps of the whole run, estimated from the `step` that are done."""
        return round(step / self.progress(step)) if step else self.max_steps

    def stop_reason(self, step: int) -> str:
        return "all epochs are done" if step >= self.max_steps else "the time is up (--max-minutes)"


def learning_rate(peak: float, progress: float, step: int, warmup_steps: int = 100) -> float:
    """Linear warm-up, then half a cosine down to a hundredth of the peak at progress 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / warmup_steps) * (0.01 + 0.99 * cosine)
