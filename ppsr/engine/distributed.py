"""Several processes: start, equal settings, averages of gradients, common decisions.

Gradients are averaged in buckets, see `GradientBuckets`, instead of by a wrapper around each network. So
phases may freeze networks, run a network several times or leave parameters unused, and every rank ends
bit-equal.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle import distributed as dist

from ppsr.compat.paddle import shared_counters
from ppsr.config.loader import flatten
from ppsr.engine.buckets import GradientBuckets
from ppsr.errors import ConfigError, PpsrError

logger = logging.getLogger(__name__)

# nodes may keep their files in different places
_PLACES = ("output_dir", "path", "weights", "meta_info")


class LostRankError(PpsrError):
    """Another process that this one works with has ended."""

    exit_code = 1


class Rendezvous:
    """A place in the program where all ranks wait for each other, by counters in the launcher's store.

    gloo, which sums on CPUs, gives up when a rank comes 30 seconds after another, for instance from a large
    image, and Paddle has no option for that. So ranks wait here first.

    Args:
        store: counters that all ranks share; `add(key, amount)` returns the new value.
    """

    def __init__(self, store: Any, rank: int, world: int) -> None:
        self._store = store
        self._own = f"ppsr/rendezvous/{rank}"
        self._others = [f"ppsr/rendezvous/{other}" for other in range(world) if other != rank]

    def wait(self) -> None:
        """Return when all ranks have called this as often as this one.

        Raises:
            LostRankError: the store has ended.
        """
        try:
            count = self._store.add(self._own, 1)
            for other in self._others:
                pause = 0.0005
                while self._store.add(other, 0) < count:
                    time.sleep(pause)
                    pause = min(2 * pause, 0.05)
        except (OSError, RuntimeError, ValueError) as error:  # Paddle's
            raise LostRankError("the process of rank 0 has ended; its log tells the reason") from error


class Group:
    """The processes that train together."""

    def __init__(self, rank: int = 0, world: int = 1, rendezvous: Rendezvous | None = None) -> None:
        self.rank = rank
        self.world = world
        self._rendezvous = rendezvous

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
        self._wait_for_all()
        tensor = paddle.to_tensor([value], dtype="float32")
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return float(tensor.item())

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sum over ranks, in float64."""
        if self.world == 1:
            return list(values)
        self._wait_for_all()
        tensor = paddle.to_tensor(np.asarray(values, dtype=np.float64))
        dist.all_reduce(tensor)
        return [float(v) for v in tensor.numpy()]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order."""
        if self.world == 1:
            return [value]
        self._wait_for_all()
        values: list[Any] = []
        dist.all_gather_object(values, value)
        return values

    @paddle.no_grad()
    def broadcast(self, nets: Iterable[nn.Layer]) -> None:
        """Give every rank the parameters and buffers of rank 0."""
        if self.world == 1:
            return
        self._wait_for_all()
        for net in nets:
            for tensor in net.state_dict().values():
                dist.broadcast(tensor, src=0)

    def buckets(self, parameters: Sequence[Any]) -> GradientBuckets | None:
        """Buckets that average the gradients of these parameters over all ranks; None for one process."""
        return None if self.world == 1 else GradientBuckets(parameters, self.world, self.start_sum)

    def start_sum(self, tensor: Tensor) -> Any:
        """Begin to sum a tensor over the ranks in place; the task waits on the device where that is a GPU."""
        self._wait_for_all()
        return dist.all_reduce(tensor, sync_op=False)

    def _wait_for_all(self) -> None:
        if self._rendezvous is not None:
            self._rendezvous.wait()


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
    """Join the processes of `paddle.distributed.launch`; a plain process is a group of one."""
    _set_device(device)
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
        return Group()
    if device == "cpu":  # or a build of Paddle for GPUs would move the process to one
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    dist.init_parallel_env()
    rank, world = dist.get_rank(), dist.get_world_size()
    on_cpu = paddle.get_device() == "cpu"  # there gloo does the sums
    return Group(rank, world, Rendezvous(shared_counters(), rank, world) if on_cpu else None)


def rank_settings(config: Mapping[str, Any], dataset: Any, nets: Mapping[str, nn.Layer]) -> dict[str, str]:
    """Settings, training images, and names and shapes of parameters, which must be equal on all ranks.

    Folders and files of the config may differ; images are compared by name and order.
    """
    settings = {
        key: str(value)
        for key, value in flatten(config).items()
        if not any(part in _PLACES or "folder" in part for part in key.split("."))
    }
    items = (item if isinstance(item, tuple) else (item,) for item in getattr(dataset, "items", ()))
    paths = [Path(str(path)).name for item in items for path in item]
    settings["number of training samples"] = str(len(dataset))
    settings["names of the training images"] = _digest(paths)
    for name, net in nets.items():
        shapes = {key: list(value.shape) for key, value in net.state_dict().items()}
        settings[f"parameters of {name}"] = f"{len(shapes)} tensors, {_digest(sorted(shapes.items()))}"
    return settings


def check_equal_ranks(group: Group, settings: Mapping[str, str]) -> None:
    """Compare the settings of all ranks with those of rank 0.

    Raises:
        ConfigError: they differ; on every rank, with the first difference.
    """
    first, *others = group.gather(dict(settings))
    for rank, other in enumerate(others, start=1):
        for key in [*first, *other]:
            if first.get(key) != other.get(key):
                raise ConfigError(
                    f"rank {rank} was started for another training: {key} is {other.get(key, 'not set')}, "
                    f"on rank 0 {first.get(key, 'not set')}; start all ranks with the same config and options"
                )


def _digest(values: Sequence[Any]) -> str:
    return sha256(repr(values).encode()).hexdigest()[:12]
