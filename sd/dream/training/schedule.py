"""How much of a training run is done, by steps or by the clock, when it is measured and saved, and the learning rate.

The time budget is of the whole script: loading packages, encoding the recording, measuring and saving count. What these
leave over is training time, and the schedules follow the fraction of it that is used."""

import math
import time

FIRST_SAVE_S = 45.0  # seconds of training before the first epoch ends, where --epoch-samples is not given
SAVE_S = 120.0  # length of the epochs after it
LAST_SAVE_S = 30.0  # of training left: no epoch ends, since the training does soon
WARM_UP_STEPS = 1
MEASURE_EVERY = 8.0  # times its own duration pass between two measurements: at most a ninth of the time
MAX_FINAL_SHARE = 0.25  # of the training time, for measuring the last weights
MAX_OVERRUN = 0.05  # of the budget, where measuring takes longer than expected
FINISH_S = 1.5  # from the last saved file to the end of the process
ALMOST_DONE = 1 - 1e-6


class Schedule:
    """A run ends after `max_steps`, or after `max_minutes` (0 = no limit), whichever comes first.

    A run that is limited by steps alone is the same bit for bit however often it is stopped and resumed.
    """

    def __init__(
        self,
        max_steps: int,
        max_minutes: float,
        began: float | None = None,
        elapsed_s: float = 0.0,
        trained_s: float = 0.0,
        spent_s: float = 0.0,
    ) -> None:
        """began: `time.monotonic()` when this part of the run began (default: now). elapsed_s, trained_s: seconds that
        its earlier parts have taken, in all and in training steps. spent_s: the time budget that they have used up."""
        self.max_steps, self.max_s = max_steps, max_minutes * 60
        self.began = (time.monotonic() if began is None else began) - elapsed_s
        self.earlier_s, self.trained_s, self.spent_s = elapsed_s, trained_s, spent_s
        self.reserve_s = 0.0  # for one more step, measuring and saving at the end

    def elapsed_s(self) -> float:
        """Seconds since the run began, earlier parts included, but not the time between them."""
        return time.monotonic() - self.began

    def training_left_s(self) -> float:
        """Seconds of the budget that are left for training steps; infinity without a budget."""
        return max(0.0, self.max_s - self.elapsed_s() - self.reserve_s) if self.max_s else math.inf

    def progress(self, step: int) -> float:
        """Fraction of the run that is done, 0-1: of its steps, or of its time for training."""
        left_s = self.training_left_s()
        by_clock = self.trained_s / (self.trained_s + left_s) if left_s else 1.0
        return min(1.0, max(step / self.max_steps, by_clock))

    def is_used_up(self, step: int) -> bool:
        """Whether the earlier parts of a resumed run have taken all steps, or all of the time."""
        return step >= self.max_steps or 0 < self.max_s <= max(self.earlier_s, self.spent_s)

    def expected_steps(self, step: int) -> int:
        """Steps of the whole run, estimated from the `step` that are done."""
        progress = self.progress(step)
        return max(step, round(step / progress)) if step and progress else self.max_steps

    def stop_reason(self, step: int) -> str:
        if step >= self.max_steps:
            return "all epochs are done"
        return f"the {self.max_s / 60:g} minutes of --max-minutes are used up"

    def more_option(self, step: int) -> str:
        """The option with which a resumed run trains on."""
        if step >= self.max_steps:
            return "more --epochs"
        return f"--max-minutes {math.ceil(max(2 * self.max_s, 2 * self.elapsed_s()) / 60)}"


class EpochClock:
    """When an epoch ends: after `epoch_steps` steps, or by the clock; and whether the model is measured then.

    By the clock an epoch lasts about two minutes on every machine. The model is saved at the end of each, and measured
    at the end of those that keep measuring to a small fraction of the time. An epoch of `epoch_steps` is always
    measured. `measure_steps`: how many training steps take about as long as measuring, until that has been timed.
    """

    def __init__(
        self, schedule: Schedule, epoch_steps: int | None, measure_steps: float, always_measure: bool
    ) -> None:
        self.always_measure = always_measure
        self.schedule, self.epoch_steps, self.measure_steps = schedule, epoch_steps, measure_steps
        self.last_step = self.epoch_began = self.measured_at = time.monotonic()
        self.measure_s: float | None = None
        self.num_steps, self.steps_s = 0, 0.0  # of this part of the run
        self.num_epochs = 0

    def step_done(self) -> None:
        """Counts a training step, which has lasted since the last one or since `epoch_began`."""
        now = time.monotonic()
        self.num_steps += 1
        if self.num_steps > WARM_UP_STEPS:
            self.steps_s += now - self.last_step
        self.schedule.trained_s += now - self.last_step
        self.last_step = now
        self.update_reserve()

    def step_s(self) -> float:
        """Mean duration of a step, without the first, which takes many times as long; 0 until there are others."""
        return self.steps_s / max(1, self.num_steps - WARM_UP_STEPS)

    def expected_measure_s(self) -> float:
        """Seconds that measuring and saving take, as timed last, or estimated."""
        if self.measure_s is not None:
            return self.measure_s
        return self.measure_steps * self.step_s()

    def epoch_is_over(self, step: int) -> bool:
        if self.epoch_steps:
            return step % self.epoch_steps == 0
        length_s = SAVE_S if self.num_epochs else FIRST_SAVE_S
        return self.last_step - self.epoch_began >= length_s and self.schedule.training_left_s() > LAST_SAVE_S

    def measure_is_due(self, progress: float) -> bool:
        if self.epoch_steps or self.always_measure:
            return True
        measure_s = self.expected_measure_s()
        if progress >= 1:
            return self.plans_measuring()
        # Near the end the time is better spent on training: the last weights are measured anyway.
        is_near_end = self.schedule.training_left_s() < 2 * measure_s
        return self.last_step - self.measured_at >= MEASURE_EVERY * measure_s and not is_near_end

    def plans_measuring(self) -> bool:
        """Whether the last weights will be measured: not where that takes much of a small budget."""
        run = self.schedule
        available_s = run.trained_s + run.max_s - run.elapsed_s()
        is_affordable = not run.max_s or self.expected_measure_s() <= MAX_FINAL_SHARE * available_s
        return bool(self.epoch_steps) or self.always_measure or is_affordable

    def measure_deadline(self, progress: float) -> float:
        """`time.monotonic()` at which measuring is given up: it has taken much longer than expected."""
        run = self.schedule
        if not run.max_s or (self.epoch_steps and progress < 1):
            return math.inf
        if progress >= 1:
            return run.began + run.max_s * (1 + MAX_OVERRUN)
        return time.monotonic() + MAX_FINAL_SHARE * run.training_left_s()

    def update_reserve(self) -> None:
        measure_s = self.expected_measure_s() if self.plans_measuring() else 0.0
        self.schedule.reserve_s = FINISH_S + measure_s + self.step_s()

    def measured(self) -> None:
        """To be called when measuring is done."""
        self.measured_at = time.monotonic()
        self.measure_s = self.measured_at - self.last_step
        self.update_reserve()

    def epoch_saved(self) -> None:
        """To be called when all is saved: the next epoch begins."""
        self.num_epochs += 1
        self.last_step = self.epoch_began = time.monotonic()


def learning_rate(peak: float, progress: float, step: int, warmup_steps: int = 100) -> float:
    """Linear warm-up, then half a cosine down to a hundredth of the peak at progress 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / warmup_steps) * (0.01 + 0.99 * cosine)
