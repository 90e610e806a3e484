"""Counting multiply-accumulates of a network.

The network is run with its convolutions and matrix products replaced by zeros of the right shape, so that
counting costs little, whatever class a layer has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr import accelerate
from ppsr.generators.apply import evaluating
from ppsr.generators.blocks import selective_scan as scan

__all__ = ["count_macs", "products_replaced"]


class _Counter:
    """Stand-ins of the operations: each adds its cost and returns zeros."""

    def __init__(self) -> None:
        self.total = 0

    def conv2d(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        def size(axis: int) -> int:
            s, p, d = (v if isinstance(v, int) else v[axis] for v in (stride, padding, dilation))
            return (x.shape[2 + axis] + 2 * p - d * (weight.shape[2 + axis] - 1) - 1) // s + 1

        shape = [x.shape[0], weight.shape[0], size(0), size(1)]
        self.total += math.prod(shape) * math.prod(weight.shape[1:])
        return paddle.zeros(shape, x.dtype)

    def conv2d_transpose(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        output_size: Any = None,
        **geometry: Any,
    ) -> Tensor:
        """Every element of the input times its kernels; the borders that are cut off count too."""
        kernel = weight.shape[2:]

        def size(axis: int) -> int:
            stride, padding, more = (
                v if isinstance(v := geometry[name], int) else v[axis]
                for name in ("stride", "padding", "output_padding")
            )
            return (x.shape[2 + axis] - 1) * stride + kernel[axis] - 2 * padding + more

        self.total += math.prod(x.shape) * weight.shape[1] * math.prod(kernel)
        return paddle.zeros([x.shape[0], weight.shape[1], size(0), size(1)], x.dtype)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, name: Any = None) -> Tensor:
        return self.matmul(x, weight)

    def matmul(
        self, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False, name: Any = None
    ) -> Tensor:
        rows, inner = (x.shape[-1], x.shape[-2]) if transpose_x else (x.shape[-2], x.shape[-1])
        columns = y.shape[-2] if transpose_y else y.shape[-1]
        lead = paddle.broadcast_shape(list(x.shape[:-2]), list(y.shape[:-2]))
        shape = [*lead, rows, columns]
        self.total += math.prod(shape) * inner
        return paddle.zeros(shape, x.dtype)

    def selective_scan(
        self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Input times B, state times factor, state times C: three for each state of each token."""
        self.total += 3 * math.prod(u.shape) * A.shape[1]
        return paddle.zeros_like(u)


@contextmanager
def products_replaced() -> Iterator[_Counter]:
    """Replace convolutions and matrix products by zeros of the right shape for the duration of the block.

    Yields the counter of what they would have cost. Not for use while another thread runs a network: the
    operations are replaced for the whole process.
    """
    counter = _Counter()

    def method(x: Tensor, y: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return counter.matmul(x, y, *args, **kwargs)

    targets: list[tuple[Any, str, Callable[..., Tensor]]] = [
        (accelerate, "conv2d", counter.conv2d),
        (accelerate, "linear", counter.linear),
        (accelerate, "matmul", counter.matmul),
        (F, "conv2d", counter.conv2d),
        (F, "conv2d_transpose", counter.conv2d_transpose),
        (scan, "selective_scan", counter.selective_scan),
        (F, "linear", counter.linear),
        (paddle, "matmul", counter.matmul),
        (paddle, "bmm", counter.matmul),
        (Tensor, "matmul", method),
        (Tensor, "bmm", method),
        (Tensor, "__matmul__", method),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in targets]
    try:
        for owner, name, function in targets:
            setattr(owner, name, function)
        with accelerate.disabled():  # attention would be one operation
            yield counter
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def count_macs(net: nn.Layer, *shapes: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions, linear layers and matrix products in one forward pass.

    Not for use while another thread runs a network, see `products_replaced`.

    Args:
        net: a network whose convolutions are those of `ppsr.generators.blocks`.
    """
    with evaluating(net), products_replaced() as counter, paddle.no_grad():
        net(*(paddle.zeros(list(shape)) for shape in shapes))
    return counter.total
