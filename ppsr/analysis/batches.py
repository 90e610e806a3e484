"""Work on many images in batches that memory can hold."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError
from ppsr.generators.apply import apply_generator

logger = logging.getLogger(__name__)

MEMORY_MIB = 512
_COPIES = 3  # of what the layers give: intermediate results inside them, and gradients
T = TypeVar("T")
OnStep = Callable[[int, int], object]


def fitting_batch(net: nn.Layer, lq: Tensor, *, memory_mib: int = MEMORY_MIB, most: int) -> int:
    """How many copies of an image (1, C, H, W) a forward and backward pass can take within a memory budget.

    An estimate: three times the outputs of all layers.
    """
    if memory_mib <= 0:
        raise ConfigError(f"memory must be a positive number of MiB, got {memory_mib}")
    total = 0

    def add(_layer: nn.Layer, _inputs: object, output: object) -> None:
        nonlocal total
        for tensor in output if isinstance(output, (list, tuple)) else [output]:
            if isinstance(tensor, Tensor):
                total += math.prod(tensor.shape) * tensor.element_size()

    hooks = [layer.register_forward_post_hook(add) for layer in net.sublayers(include_self=True)]
    try:
        with paddle.no_grad():
            apply_generator(net, lq)
    finally:
        for hook in hooks:
            hook.remove()
    return max(1, min(most, memory_mib * 2**20 // (_COPIES * total)))


def in_batches(
    work: Callable[[int, int], T], count: int, batch: int, *, on_step: OnStep | None = None
) -> Iterator[tuple[int, int, T]]:
    """`work(start, stop)` over 0..count; where memory runs out, with halved batches.

    Yields:
        start, stop and the result.
    """
    on_step = on_step or (lambda done, count: None)
    start = 0
    on_step(start, count)
    while start < count:
        stop = min(start + batch, count)
        try:
            result = work(start, stop)
        except MemoryError:
            if batch == 1:
                raise
            batch = max(1, (stop - start) // 2)
            logger.warning("memory ran out; continuing with batches of %d", batch)
            continue
        yield start, stop, result
        on_step(stop, count)
        start = stop
