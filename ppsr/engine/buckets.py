"""Averages of gradients over ranks, in buckets, during the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from ppsr.memory import device_array

Reduce = Callable[[Tensor], Any]


class _Bucket:
    """Gradients of one data type that are summed together."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self.flat: Tensor | None = None
        self.task: Any = None
        self.missing: set[str] = set()

    def launch(self, reduce: Reduce) -> None:
        parts = [
            paddle.zeros([p.size], p.dtype) if p.grad is None else p.grad.flatten() for p in self.parameters
        ]
        self.flat = paddle.concat(parts)
        self.task = reduce(self.flat)

    def finish(self, world: int) -> None:
        if self.task is not None:
            self.task.wait()
        assert self.flat is not None
        self.flat.scale_(1 / world)
        start = 0
        for parameter in self.parameters:
            part = self.flat._slice(start, start + parameter.size).reshape(parameter.shape)
            if parameter.grad is None:
                parameter.grad = part
            else:
                part._share_buffer_to(parameter.grad)
            start += parameter.size
        self.flat = self.task = None


class GradientBuckets:
    """The gradients of some parameters, averaged over ranks.

    Every rank sums its buckets in the same order, last parameters first, as backward gives them. So ranks may
    be at different places of their backward passes, run a network several times or leave parameters unused.

    Args:
        parameters: parameters of one phase; their dtypes are kept.
        reduce: starts a sum over ranks in place and returns a task with `wait`, or None when it is done.
    """

    def __init__(
        self, parameters: Sequence[Tensor], world: int, reduce: Reduce, *, size: int = 25 * 2**20
    ) -> None:
        self.parameters = list(parameters)
        self.world = world
        self._reduce = reduce
        self._buckets = [_Bucket(group) for group in _groups(self.parameters[::-1], size)]
        self._launched = 0
        self._running = False
        self._overlap: bool | None = None  # unknown until a backward pass was seen
        self._fired: dict[str, int] = {}
        for bucket in self._buckets:
            for parameter in bucket.parameters:
                parameter._register_backward_hook(partial(self._ready, bucket, parameter))

    def start(self) -> None:
        """The next backward pass is the last before `finish`."""
        self._running = True
        self._launched = 0
        self._fired = {}
        for bucket in self._buckets:
            bucket.missing = {parameter.name for parameter in bucket.parameters}

    @paddle.no_grad()
    def _ready(self, bucket: _Bucket, parameter: Tensor) -> None:
        """A gradient is there; Paddle calls this after adding to it."""
        if not self._running:
            return
        name = parameter.name
        self._fired[name] = self._fired.get(name, 0) + 1
        if not self._overlap:
            return
        if bucket.flat is not None:
            raise RuntimeError(f"the gradient of {name} has changed after its average was begun")
        bucket.missing.discard(name)
        while self._launched < len(self._buckets) and not self._buckets[self._launched].missing:
            self._launch()

    def _launch(self) -> None:
        self._buckets[self._launched].launch(self._reduce)
        self._launched += 1

    @paddle.no_grad()
    def finish(self, flags: Sequence[Tensor]) -> Tensor:
        """Replace every gradient by its mean; one that a rank lacks counts as zero there.

        Args:
            flags: numbers of this rank, float32 of one dimension, to be summed in the same reduction.

        Returns:
            Sums over ranks, on the device: how many have a gradient of each parameter, then the flags.
        """
        if not self._running:
            self.start()
        used = device_array(np.array([p.grad is not None for p in self.parameters], np.float32))
        while self._launched < len(self._buckets):
            self._launch()
        sums = paddle.concat([used, *flags])
        task = self._reduce(sums)
        for bucket in self._buckets:
            bucket.finish(self.world)
        if task is not None:
            task.wait()
        if self._fired and self._overlap is None:
            # where a network computes activations again, a gradient may grow several times in a backward pass
            self._overlap = max(self._fired.values()) == 1
        self._running = False
        return sums


def _groups(parameters: Sequence[Tensor], size: int) -> list[list[Tensor]]:
    """Neighbours of one data type, up to a size in bytes."""
    groups: list[list[Tensor]] = []
    filled = 0
    for parameter in parameters:
        count = parameter.size * parameter.element_size()
        if not groups or groups[-1][0].dtype != parameter.dtype or filled + count > size:
            groups.append([])
            filled = 0
        groups[-1].append(parameter)
        filled += count
    return groups
