"""A worker among its peers: rank, device, and the few collectives that training needs. The same code runs without Ray."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from raykd.errors import RaykdError
from raykd.trainers.launcher_variables import without_launchers

T = TypeVar("T")


@dataclass(frozen=True)
class WorkerContext:
    """One of ``world_size`` workers; collectives are no-ops when it is alone."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """True for the worker that writes files and events."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """``values`` summed over the workers, in place. *Collective.*"""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Every worker's picklable ``value``, in rank order, on every worker. *Collective.*"""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """The first worker's picklable ``value``, on every worker. *Collective.*"""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def on_first(self, work: Callable[[], T]) -> T:
        """Result of ``work`` on the first worker, on every worker. *Collective.*

        A RaykdError that it raises there is raised on every worker: raised on one alone, the others would wait for it.
        """
        result: Any = None
        error: RaykdError | None = None
        if self.is_first:
            try:
                result = work()
            except RaykdError as raised:
                error = raised
        result, error = self.broadcast((result, error))
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # broadcast takes any value

    def barrier(self) -> None:
        """Wait for all workers. *Collective.*"""
        if self.world_size > 1:
            dist.barrier()


def ray_context() -> WorkerContext:
    """The context of a Ray Train worker, whose TorchTrainer has set up the process group."""
    import ray.train
    import ray.train.torch

    worker = ray.train.get_context()
    return WorkerContext(worker.get_world_rank(), worker.get_world_size(), ray.train.torch.get_device())


@contextmanager
def local_context(device: str = "cpu", *, timeout_s: float = 600) -> Iterator[WorkerContext]:
    """The process as the only worker, with the process group of one that DeepSpeed asks for."""
    if dist.is_initialized():
        yield WorkerContext(dist.get_rank(), dist.get_world_size(), torch.device(device))
        return
    with without_launchers():
        backend = "nccl" if device.startswith("cuda") else "gloo"
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1, timeout=timedelta(seconds=timeout_s))
        try:
            yield WorkerContext(0, 1, torch.device(device))
        finally:
            dist.destroy_process_group()
