"""Averages of gradients over the ranks, computed while the backward pass still runs."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

BUCKET_ELEMENTS = 2**22
"""Gradient elements per all-reduce (16 MiB): large enough for the network, and several for a small model."""


class GradientBuckets:
    """Buckets of parameters in the order in which a backward pass completes them, from the last to the first.

    A bucket is reduced as soon as it and those before it are complete. So every rank reduces the same buckets in one order,
    even where its rows leave some without a gradient; :meth:`finish` reduces what is left. Registers a hook on every parameter
    until :meth:`close`.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, world_size: int, elements: int = BUCKET_ELEMENTS) -> None:
        self._world_size = world_size
        self._buckets = list(_cut(list(reversed(parameters)), elements))
        self._bucket_of = {parameter: index for index, bucket in enumerate(self._buckets) for parameter in bucket}
        self._missing: list[int] = []
        self._next = 0
        self._work: list[Any] = []
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._complete)  # type: ignore[no-untyped-call]
            for parameter in parameters
        ]

    def expect_last_backward(self) -> None:
        """Reduce buckets during the backward pass that follows: the last one of the step."""
        self._missing = [len(bucket) for bucket in self._buckets]

    def finish(self) -> None:
        """Reduce the buckets that are left, and wait for all. Every parameter has a gradient by now. *Collective.*"""
        while self._next < len(self._buckets):
            self._reduce_next()
        for work in self._work:
            work.wait()
        self._work, self._missing, self._next = [], [], 0

    def close(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._buckets, self._bucket_of = [], [], {}

    def _complete(self, parameter: nn.Parameter) -> None:
        """Note a parameter's gradient; called by autograd after it has been added up."""
        if not self._missing:
            return
        self._missing[self._bucket_of[parameter]] -= 1
        while self._next < len(self._buckets) and self._missing[self._next] == 0:
            self._reduce_next()

    def _reduce_next(self) -> None:
        bucket = self._buckets[self._next]
        self._next += 1
        flat = torch.cat([parameter.grad.reshape(-1) for parameter in bucket if parameter.grad is not None])
        flat.div_(self._world_size)
        pieces = torch.split(flat, [parameter.numel() for parameter in bucket])
        for parameter, piece in zip(bucket, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
        self._work.append(dist.all_reduce(flat, async_op=True))


def _cut(parameters: Sequence[nn.Parameter], elements: int) -> Iterator[list[nn.Parameter]]:
    """Cut into runs of at most ``elements`` elements, or of one larger parameter."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if bucket and size + parameter.numel() > elements:
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel()
    if bucket:
        yield bucket
