"""What both training scripts do after every step: progress, progress bar, the end of an epoch and its mean metrics."""

import math

from torch import Tensor

from dream.common.distributed import Distributed
from dream.common.errors import InputError
from dream.common.progress import progress_bar
from dream.training.schedule import ALMOST_DONE, EpochClock, Schedule

SAVE_MARGIN_S = 2.0  # of training left, which is not worth another measurement
SPEED_AFTER_S = 10.0  # seconds of training after which a run without a time budget says how long it will take


class TrainingLoop:
    """`while loop.progress < 1: ...; if loop.end_step(step, metrics): (measure; save with loop.times());
    loop.begin_epoch()`."""

    def __init__(
        self,
        schedule: Schedule,
        epoch_steps: int | None,
        dist: Distributed,
        step: int,
        measure_steps: float = 0,
        always_measure: bool = False,
    ) -> None:
        """step: how many are done already, where a run is resumed. The others: see `EpochClock`."""
        self.schedule, self.dist, self.step = schedule, dist, step
        self.clock = EpochClock(schedule, epoch_steps, measure_steps, always_measure)
        self.measure_is_due = self.ended = False
        self.history: list[dict[str, Tensor]] = []
        self.said_speed = bool(schedule.max_s)
        # A run that has not had its time yet does at least one step, even where set-up has used the time up.
        self.progress = 1.0 if schedule.is_used_up(step) else self._progress(at_most=ALMOST_DONE)
        self.bar = progress_bar(total=schedule.max_steps, initial=step, unit="step", desc="training")

    def end_step(self, step: int, metrics: dict[str, Tensor]) -> bool:
        """Takes the metrics (scalars) of a step, after which `step` are done; returns whether the epoch is over."""
        self.step = step
        self.history.append(metrics)
        self.clock.step_done()
        self.bar.total = self.schedule.expected_steps(step)
        self.bar.update()
        self._say_speed()
        self.progress = self._progress()
        over = self.clock.epoch_is_over(step)
        if not self.clock.epoch_steps:  # the clocks of several processes differ
            over = bool(self.dist.broadcast(float(over)))
        over = over or self.progress >= 1
        self.measure_is_due = over and self.clock.measure_is_due(self.progress)
        return over

    def times(self) -> dict[str, float]:
        """The times of the run so far, as `Schedule` takes them, for last.pt; to be called after measuring."""
        schedule = self.schedule
        if self.measure_is_due:
            self.clock.measured()
        no_time_left = self.measure_is_due and schedule.training_left_s() < SAVE_MARGIN_S
        self.ended = self.progress >= 1 or no_time_left
        times = {"elapsed_s": schedule.elapsed_s(), "trained_s": schedule.trained_s}
        return {**times, "spent_s": schedule.max_s if self.ended else 0.0}

    def begin_epoch(self) -> None:
        """To be called when all is saved."""
        self.clock.epoch_saved()
        self.progress = self.dist.broadcast(
            1.0 if self.ended else min(ALMOST_DONE, self.schedule.progress(self.step))
        )
        self.bar.set_description("training")

    def measure_deadline(self) -> float:
        return self.clock.measure_deadline(self.progress)

    def mean_metrics(self) -> dict[str, float]:
        """Means of the epoch's metrics over its steps and over the processes; a new epoch begins. Raises InputError
        where one is not finite."""
        means = self.dist.mean_metrics(self.history)
        self.history = []
        if not all(map(math.isfinite, means.values())):  # once per epoch: each check makes a GPU wait
            raise InputError(
                "the loss is not finite: lower --learning-rate, then --resume the last saved epoch"
            )
        return means

    def _progress(self, at_most: float = 1.0) -> float:
        """0-1, the same in all processes."""
        return self.dist.broadcast(min(at_most, self.schedule.progress(self.step)))

    def _say_speed(self) -> None:
        if self.said_speed or self.clock.steps_s < SPEED_AFTER_S:
            return
        self.said_speed = True
        step_s = self.clock.step_s()
        minutes = (self.schedule.max_steps - self.step) * step_s / 60
        self.bar.write(
            f"about {minutes:.0f} minutes, and time for measuring: {self.schedule.max_steps} steps of {step_s:.2f} s "
            "(--max-minutes ends it earlier)"
        )
