"""Depthwise convolutions of large kernels, whose gradients oneDNN computes by a matrix of patches.

A dilated one is an undilated one of each phase of the image. Gradients of weights are products: rows are cut
into blocks, the product of a block of the image (and the next one) with a block of the gradient holds the sum
of every pair of columns, and a weight is the sum of the pairs at its distance. Everything is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import paddle
from paddle import Tensor
from paddle.autograd import PyLayer
from paddle.nn import functional as F

from ppsr.accelerate import runtime
from ppsr.accelerate.onednn import DIFF_DST, DIFF_SRC, DST, SRC, WEIGHTS
from ppsr.accelerate.plans import Convolution, Operation, Pass
from ppsr.accelerate.steps import Steps

_BLOCK = 16
_LARGE = 5  # sides of kernels from which oneDNN has no code of its own for gradients of weights


def is_large_depthwise(conv: Convolution) -> bool:
    """Whether `depthwise` computes it: stride 1, a kernel per channel, sides of 5 to 17."""
    sides = conv.weight[2:]
    per_channel = conv.groups == conv.x[1] == conv.weight[0]
    fits = min(sides) >= _LARGE and max(sides) <= _BLOCK + 1
    return per_channel and fits and conv.stride == (1, 1)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, conv: Convolution) -> Tensor | None:
    """The convolution; None where Paddle's operators have to do it.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, kH, kW).
        bias: (C,).
        conv: its shapes and geometry.
    """
    if conv.dilation == (1, 1):
        return _undilated(x, weight, bias, conv)
    (n, c, h, w), (dy, dx), (top, bottom, left, right) = conv.x, conv.dilation, conv.padding
    tall, wide = -(-(h + top + bottom) // dy), -(-(w + left + right) // dx)  # of a phase
    phases = F.pad(x, [left, wide * dx - left - w, top, tall * dy - top - h])
    phases = phases.reshape([n, c, tall, dy, wide, dx]).transpose([0, 3, 5, 1, 2, 4])
    plain = replace(conv, x=(n * dy * dx, c, tall, wide), padding=(0, 0, 0, 0), dilation=(1, 1))
    y = _undilated(phases.reshape(list(plain.x)), weight, bias, plain)
    if y is None:
        return None
    _, _, tall, wide = plain.y
    y = y.reshape([n, dy, dx, c, tall, wide]).transpose([0, 3, 4, 1, 5, 2])
    return y.reshape([n, c, tall * dy, wide * dx])[:, :, : conv.y[2], : conv.y[3]]


def _undilated(x: Tensor, weight: Tensor, bias: Tensor | None, conv: Convolution) -> Tensor | None:
    plan, plans = Pass(conv, runtime.threads()), runtime.usable_plans()
    needs_grad = [tensor is not None and not tensor.stop_gradient for tensor in (x, weight, bias)]
    if not paddle.is_grad_enabled() or not any(needs_grad[1:]):
        return runtime.compute(conv, conv.y, x, weight, bias)
    gradient = plan._replace(needs_grad=frozenset({DIFF_SRC}))
    if plans is None or not plans.supports(plan) or not plans.supports(gradient):
        return None
    return _Depthwise.apply(x, weight, bias, plan, gradient, conv, needs_grad)


class _Depthwise(PyLayer):
    """The convolution with the gradients that are needed; asking for a second derivative raises."""

    @staticmethod
    def forward(
        ctx: paddle.autograd.PyLayerContext,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        plan: Pass,
        gradient: Pass,
        conv: Convolution,
        needs_grad: list[bool],
    ) -> Tensor:
        runtime.keep(ctx, x, weight)
        ctx.gradient, ctx.conv, ctx.needs_grad = gradient, conv, needs_grad
        y = paddle.empty(conv.y, paddle.float32)
        given = [x, weight, *([] if bias is None else [bias])]
        runtime.run(plan, [*conv.inputs, DST], [*given, y])
        return y

    @staticmethod
    def backward(ctx: paddle.autograd.PyLayerContext, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = runtime.kept(ctx)
        of_image, of_weight, of_bias = ctx.needs_grad
        image = weights = None
        if of_image:
            image = paddle.empty(x.shape, paddle.float32)
            runtime.run(ctx.gradient, [WEIGHTS, DIFF_DST, DIFF_SRC], [weight, grad, image])
        if of_weight:
            weights = _weight_gradient(x, grad, ctx.conv)
        gradients = image, weights, grad.sum([0, 2, 3]) if of_bias else None
        return gradients if ctx.conv.bias else gradients[:2]


@dataclass(frozen=True)
class _ColumnProducts(Operation):
    """Sums over all pairs of columns of an image and of a gradient that a kernel of a map connects."""

    maps: int
    rows: int  # of a map of the image, which has one more at the end
    high: int  # rows of the gradient
    blocks: int  # of a row of both
    kernel: int  # rows of the kernel

    inputs = SRC, WEIGHTS

    def build(self, steps: Steps) -> None:
        """Append SRC, WEIGHTS -> DST (maps, rows of the kernel, own and next block, columns, columns)."""
        size, wide, length = _BLOCK * _BLOCK, self.blocks * _BLOCK, self.high * self.blocks
        gradient = steps.array(WEIGHTS, [self.maps, length, _BLOCK])
        layout = [self.maps, _BLOCK, length], [self.rows * wide, 1, _BLOCK]
        for index in range(2 * self.kernel):
            row, block = divmod(index, 2)
            image = steps.array(SRC, *layout, row * wide + block * _BLOCK)
            shape, strides = [self.maps, _BLOCK, _BLOCK], [2 * self.kernel * size, _BLOCK, 1]
            steps.product(image, gradient, steps.array(DST, shape, strides, index * size))


@lru_cache(maxsize=8)
def _distances(width: int) -> np.ndarray:
    """One where a pair of columns has the distance of a column of the kernel: (2 blocks^2, width)."""
    first, second, distance = np.ogrid[: 2 * _BLOCK, :_BLOCK, :width]
    return (first - second == distance).astype(np.float32).reshape(-1, width)


def _weight_gradient(x: Tensor, grad: Tensor, conv: Convolution) -> Tensor:
    (n, c, h, w), (_, _, tall, wide) = conv.x, conv.weight
    top, bottom, left, right = conv.padding
    blocks, rows = -(-(w + left + right) // _BLOCK), h + top + bottom + 1
    image = F.pad(x, [left, blocks * _BLOCK - w - left, top, bottom + 1])
    padded = F.pad(grad, [0, blocks * _BLOCK - grad.shape[3], 0, 0])
    operation = _ColumnProducts(n * c, rows, grad.shape[2], blocks, tall)
    pairs = runtime.compute(operation, [n * c * tall, 2 * _BLOCK * _BLOCK], image, padded)
    if pairs is None:
        raise RuntimeError(f"oneDNN refuses {operation}; PPSR_ACCELERATE=0 goes without")
    sums = paddle.matmul(pairs, paddle.to_tensor(_distances(wide)))
    return sums.reshape([n, c, tall * wide]).sum(0).reshape(list(conv.weight))
