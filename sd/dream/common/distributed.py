"""Data-parallel training by several processes (torchrun): each computes its part of every batch.

All processes draw the same whole batch and the same noise from equally seeded generators, and each then takes its own
rows. So a sample's noise does not depend on the number of processes, and N processes train the same model as one, up to
rounding. With a single process every method returns its input unchanged.
"""

import atexit
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dream.common.errors import InputError

# A tensor (B, ...), or a NamedTuple of such tensors.
Rows = TypeVar("Rows", bound=Tensor | tuple[Tensor, ...])


class Distributed:
    """One of `count` processes that train together; `rank` counts from 0."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @classmethod
    def open(cls, device: torch.device, batch_size: int) -> "Distributed":
        """Joins the processes that torchrun has started; without torchrun, returns a group of one process.

        Discards the output of all processes but the main one.

        Raises InputError if the batch size is not a multiple of the number of processes.
        """
        count = int(os.environ.get("WORLD_SIZE", 1))
        if count == 1:
            return cls()
        if batch_size % count:
            raise InputError(
                f"--batch-size {batch_size} is the total of all processes: choose a multiple of {count}"
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

    def local_rows(self, batch: Rows) -> Rows:
        """This process's rows of a tensor (B, ...), or of each field of a NamedTuple of such tensors."""
        if self.count == 1:
            return batch
        if isinstance(batch, tuple):
            return type(batch)(*map(self.local_rows, batch))
        return batch.chunk(self.count)[self.rank]

    def all_gather(self, local: Tensor) -> Tensor:
        """The whole batch (B, ...) from each process's rows (B / count, ...); without gradients."""
        if self.count == 1:
            return local.detach()
        parts = [torch.empty_like(local, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, local.detach().contiguous())
        return torch.cat(parts)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes, elementwise; without gradients."""
        if self.count == 1:
            return value.detach()
        value = value.detach().clone()
        dist.all_reduce(value)
        return value / self.count

    def mean_metrics(self, history: list[dict[str, Tensor]]) -> dict[str, float]:
        """Mean of each metric over the training steps that report it, and over the processes.

        history: one dict of scalar tensors by name for each step."""
        means = {}
        for name in sorted({name for metrics in history for name in metrics}):
            local = torch.stack([metrics[name] for metrics in history if name in metrics]).mean()
            means[name] = self.mean(local).item()
        return means

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """The main process executes the block before the others, which can then read the files it has written."""
        if self.is_main:
            yield
        self.barrier()
        if not self.is_main:
            yield

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces each gradient by its mean over the processes, in one all-reduce."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient) / self.count)

    def sync_batchnorm(self, norm: torch.nn.BatchNorm2d) -> None:
        """Makes a batch norm (without affine parameters) use the statistics of the whole batch in training.

        torch.nn.SyncBatchNorm would do so on GPUs only.
        """
        if self.count == 1:
            return

        def forward(x: Tensor) -> Tensor:  # (B, C, h, w)
            if not norm.training:
                return torch.nn.BatchNorm2d.forward(norm, x)
            moments = torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))])
            mean, square = AllReduceSum.apply(moments) / self.count
            variance = square - mean.square()
            total = self.count * x.numel() / x.shape[1]
            with torch.no_grad():
                norm.running_mean.lerp_(mean, norm.momentum)
                norm.running_var.lerp_(variance * total / (total - 1), norm.momentum)
                norm.num_batches_tracked += 1
            return (x - mean[:, None, None]) * (variance + norm.eps).rsqrt()[:, None, None]

        norm.forward = forward

    def broadcast(self, value: float) -> float:
        """The main process's value in all processes. Needed for clock times, since all must stop at the same step."""
        if self.count == 1:
            return value
        value = torch.tensor(value, dtype=torch.float64)
        device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
        value = value.to(device)
        dist.broadcast(value, 0)
        return value.item()

    def barrier(self) -> None:
        """Waits until all processes have arrived here."""
        if self.count > 1:
            dist.barrier()


class AllReduceSum(torch.autograd.Function):
    """Sum over the processes, with gradients: the gradient of the sum is the sum of the gradients."""

    @staticmethod
    def forward(ctx, local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return AllReduceSum.forward(ctx, gradient)


SINGLE = Distributed()
