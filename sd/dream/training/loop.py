"""What both training scripts do after every step: progress, progress bar, and the mean metrics of an epoch."""

import math

from torch import Tensor
from tqdm import tqdm

from dream.common.distributed import Distributed
from dream.common.errors import InputError
from dream.training.schedule import Schedule


class TrainingLoop:
    """`while loop.progress < 1: ...; if loop.end_step(step, metrics): (the epoch is over)`."""

    def __init__(self, schedule: Schedule, steps_per_epoch: int, dist: Distributed, step: int) -> None:
        """step: how many are done already, where a run is resumed."""
        self.schedule, self.steps_per_epoch, self.dist = schedule, steps_per_epoch, dist
        self.progress = dist.broadcast(schedule.progress(step))  # 0-1, the same in all processes
        self.history: list[dict[str, Tensor]] = []
        self.bar = tqdm(total=schedule.max_steps, initial=step, unit="step", mininterval=1)

    def end_step(self, step: int, metrics: dict[str, Tensor]) -> bool:
        """Takes the metrics (scalars) of a step, after which `step` are done; returns whether the epoch is over."""
        self.history.append(metrics)
        self.bar.total = self.schedule.expected_steps(step)
        self.bar.update()
        self.progress = self.dist.broadcast(self.schedule.progress(step))
        return step % self.steps_per_epoch == 0 or self.progress >= 1

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
