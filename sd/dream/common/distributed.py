"""Training by several processes (torchrun): each computes its part of every batch, all keep the same weights.

Every process draws the same whole batch and the same noise from the same generators, and then takes its own rows. So
what a sample meets does not depend on how many processes there are, and N of them learn what one learns, but for
rounding. A lone process passes through here untouched.
"""

import atexit
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from dream.common.errors import InputError


class Distributed:
    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @classmethod
    def open(cls, device: torch.device, batch_size: int) -> "Distributed":
        """Of the processes that torchrun started, of which only the first goes on speaking; else of one alone. Raises
        BadInput where the batch cannot be shared out evenly."""
        count = int(os.environ.get("WORLD_SIZE", 1))
        if count == 1:
            return cls()
        if batch_size % count:
            raise InputError(
                f"--batch-size {batch_size} is of all processes together: no multiple of {count}"
            )
        if not dist.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(dist.destroy_process_group)
        group = cls(dist.get_rank(), dist.get_world_size())
        if not group.is_main:
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  until the process ends
        return group

    @property
    def is_main(self) -> bool:
        """Whether this process logs and saves."""
        return self.rank == 0

    def local_rows(self, batch):
        """This process's rows of a tensor (B, ...), or of each field of a NamedTuple of such tensors."""
        if self.count == 1:
            return batch
        if isinstance(batch, tuple):
            return type(batch)(*map(self.local_rows, batch))
        return batch.chunk(self.count)[self.rank]

    def all_gather(self, local: Tensor) -> Tensor:
        """The batch (B, ...) of which each process has its rows; without gradients."""
        if self.count == 1:
            return local.detach()
        parts = [torch.empty_like(local, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, local.detach().contiguous())
        return torch.cat(parts)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over processes of what each has; without gradients."""
        if self.count == 1:
            return value.detach()
        value = value.detach().clone()
        dist.all_reduce(value)
        return value / self.count

    def mean_metrics(self, history: list[dict[str, Tensor]]) -> dict[str, float]:
        """Of each metric over the steps that have it, and over the processes."""
        found = {}
        for name in sorted({name for metrics in history for name in metrics}):
            found[name] = self.mean(torch.stack([m[name] for m in history if name in m]).mean()).item()
        return found

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """A block that the first process goes through before the others: what it has written is there for them."""
        if self.is_main:
            yield
        self.barrier()
        if not self.is_main:
            yield

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Each gradient becomes the mean over the processes."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        together = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(together)
        for gradient, part in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient) / self.count)

    def sync_batchnorm(self, norm: torch.nn.BatchNorm2d) -> None:
        """Its statistics in training become those of the whole batch."""
        if self.count == 1:
            return

        def forward(x: Tensor) -> Tensor:  # (B, C, h, w)
            if not norm.training:
                return torch.nn.BatchNorm2d.forward(norm, x)
            moments = torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))])
            mean, square = Sum.apply(moments) / self.count
            variance = square - mean.square()
            total = self.count * x.numel() / x.shape[1]
            with torch.no_grad():
                norm.running_mean.lerp_(mean, norm.momentum)
                norm.running_var.lerp_(variance * total / (total - 1), norm.momentum)
                norm.num_batches_tracked += 1
            return (x - mean[:, None, None]) * (variance + norm.eps).rsqrt()[:, None, None]

        norm.forward = forward

    def broadcast(self, value: float) -> float:
        """The first process's value in all of them: clocks differ, and all must end at one step."""
        if self.count == 1:
            return value
        value = torch.tensor(value, dtype=torch.float64)
        device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
        value = value.to(device)
        dist.broadcast(value, 0)
        return value.item()

    def barrier(self) -> None:
        """For all to come here: what the first one has written is there."""
        if self.count > 1:
            dist.barrier()


class Sum(torch.autograd.Function):
    """Over processes, with gradients: what each loses by it, all do."""

    @staticmethod
    def forward(ctx, mine: Tensor) -> Tensor:
        together = mine.clone()
        dist.all_reduce(together)
        return together

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return Sum.forward(ctx, gradient)


SINGLE = Distributed()
