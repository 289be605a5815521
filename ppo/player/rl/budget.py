"""When a PPO run ends: after a number of epochs, or when the script has taken its minutes, packing included."""

import time
from typing import Dict, Optional

PACK_COST = 2.0  # times as long as writing the recording did
FINISH_S = 2.0  # from the end of packing to the end of the process


class Budget:
    """At most `num_epochs`, and `max_minutes` (0 = no limit) of the whole script."""

    def __init__(
        self,
        num_epochs: int,
        max_minutes: float,
        began: Optional[float] = None,
        earlier: Optional[dict] = None,
    ) -> None:
        """began: `time.monotonic()` when the script began (default: now). earlier: `state_dict` of the run's earlier
        parts."""
        earlier = {"elapsed_s": 0.0, "trained_s": 0.0, "write_s": 0.0, "spent_s": 0.0, **(earlier or {})}
        self.num_epochs, self.max_s = num_epochs, max_minutes * 60
        self.began = (time.monotonic() if began is None else began) - earlier["elapsed_s"]
        self.trained_s, self.write_s = earlier["trained_s"], earlier["write_s"]
        self.earlier_s, self.spent_s = earlier["elapsed_s"], earlier["spent_s"]
        self.epoch_s = 0.0  # duration of the last epoch

    def elapsed_s(self) -> float:
        """Seconds since the run began, earlier parts included, but not the time between them."""
        return time.monotonic() - self.began

    def left_s(self) -> float:
        """Seconds that are left for training; infinity without a limit."""
        if not self.max_s:
            return float("inf")
        return max(0.0, self.max_s - self.elapsed_s() - PACK_COST * self.write_s - FINISH_S)

    def progress(self, epoch: int) -> float:
        """Fraction of the run that is done after `epoch` epochs, 0-1; the learning rate follows it."""
        left_s = self.left_s()
        by_clock = self.trained_s / (self.trained_s + left_s) if self.trained_s else 0.0
        return min(1.0, max(epoch / self.num_epochs, by_clock))

    def is_used_up(self, epoch: int) -> bool:
        """Whether a resumed run has had all of its epochs, or all of its time."""
        return epoch >= self.num_epochs or 0 < self.max_s <= max(self.earlier_s, self.spent_s)

    def is_over(self, epoch: int) -> bool:
        """Whether another epoch would be too many, or would not end in time."""
        return epoch >= self.num_epochs or self.left_s() < self.epoch_s

    def epoch_done(self, epoch_s: float, write_s: float) -> None:
        """epoch_s: duration of the epoch; write_s: that of writing its recording."""
        self.epoch_s = epoch_s
        self.trained_s += epoch_s
        self.write_s += write_s

    def expected_epochs(self, epoch: int) -> int:
        """Epochs of the whole run, estimated after `epoch` epochs."""
        if not self.epoch_s:
            return self.num_epochs
        return min(self.num_epochs, max(epoch, round(epoch + min(self.left_s() / self.epoch_s, 1e9))))

    def state_dict(self, epoch: int) -> Dict[str, float]:
        """The times so far, for last.pt."""
        times = {"elapsed_s": self.elapsed_s(), "trained_s": self.trained_s, "write_s": self.write_s}
        return {**times, "spent_s": self.max_s if self.is_over(epoch) else 0.0}

    def stop_reason(self, epoch: int) -> str:
        if epoch >= self.num_epochs:
            return f"all {epoch} epochs are done"
        return f"the {self.max_s / 60:g} minutes of --max-minutes are used up"
