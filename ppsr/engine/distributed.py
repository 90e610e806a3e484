"""Several processes: start, averages of gradients, common decisions.

Gradients are averaged in buckets, see `GradientBuckets`, instead of by a wrapper around each network. So
phases may freeze networks, run a network several times or leave parameters unused, and every rank ends
bit-equal.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle import distributed as dist

from ppsr.compat.paddle import shared_counters
from ppsr.engine.buckets import GradientBuckets
from ppsr.engine.meeting import Meeting
from ppsr.errors import ConfigError

__all__ = ["Group", "start_distributed"]

logger = logging.getLogger(__name__)


class Group:
    """The processes that train together."""

    def __init__(self, rank: int = 0, world: int = 1, meeting: Meeting | None = None) -> None:
        self.rank = rank
        self.world = world
        self._meeting = meeting

    @property
    def is_main(self) -> bool:
        """Whether this process writes logs and files."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all; a reduction, because it works on every backend."""
        self.any(False)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return bool(self.maximum(float(flag)))

    def maximum(self, value: float) -> float:
        """Largest value of all ranks."""
        if self.world == 1:
            return value
        self._meet()
        tensor = paddle.to_tensor([value], dtype="float32")
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return float(tensor.item())

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sum over ranks, in float64."""
        if self.world == 1:
            return list(values)
        self._meet()
        tensor = paddle.to_tensor(np.asarray(values, dtype=np.float64))
        dist.all_reduce(tensor)
        return [float(v) for v in tensor.numpy()]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order."""
        if self.world == 1:
            return [value]
        self._meet()
        values: list[Any] = []
        dist.all_gather_object(values, value)
        return values

    @paddle.no_grad()
    def broadcast(self, nets: Iterable[nn.Layer]) -> None:
        """Give every rank the parameters and buffers of rank 0."""
        if self.world == 1:
            return
        self._meet()
        for net in nets:
            for tensor in net.state_dict().values():
                dist.broadcast(tensor, src=0)

    def buckets(self, parameters: Sequence[Any]) -> GradientBuckets | None:
        """What averages the gradients of these parameters over the ranks; None for one process."""
        return None if self.world == 1 else GradientBuckets(parameters, self.world, self.start_sum)

    def start_sum(self, tensor: Tensor) -> Any:
        """Begin to sum a tensor over the ranks in place; the task waits on the device where that is a GPU."""
        self._meet()
        return dist.all_reduce(tensor, sync_op=False)

    def _meet(self) -> None:
        if self._meeting is not None:
            self._meeting.wait()


def _set_device(device: str) -> None:
    kind, _, index = device.partition(":")
    gpus = paddle.device.cuda.device_count() if paddle.device.is_compiled_with_cuda() else 0
    refusal = f"--device {device}: this Paddle finds {gpus} GPU(s); use --device cpu"
    if kind == "gpu" and int(index if index.isdigit() else 0) >= gpus:  # Paddle itself would exit here
        raise ConfigError(refusal)
    try:
        paddle.set_device(device)
    except (ValueError, RuntimeError, OSError) as error:
        logger.debug("Paddle refused the device", exc_info=True)
        raise ConfigError(f"{refusal}, gpu or gpu:N") from error


def start_distributed(device: str) -> Group:
    """Join the processes of `paddle.distributed.launch`; a plain process is a group of one.

    Args:
        device: as in `paddle.set_device`.

    Raises:
        ConfigError: this Paddle has no such device.
    """
    _set_device(device)
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
        return Group()
    if device == "cpu":  # or a build of Paddle for GPUs would move the process to one
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    dist.init_parallel_env()
    rank, world = dist.get_rank(), dist.get_world_size()
    on_cpu = paddle.get_device() == "cpu"  # there gloo does the sums
    return Group(rank, world, Meeting(shared_counters(), rank, world) if on_cpu else None)
