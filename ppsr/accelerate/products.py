"""Matrix products and linear layers through oneDNN, else Paddle's own.

The matrix product inside Paddle's wheel is made for one maker's processors: on an AMD EPYC the oneDNN library
beside it is three to four times faster. Guards and limits are those of `ppsr.accelerate.conv`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer
from paddle.nn import functional as F

from ppsr.accelerate import runtime
from ppsr.accelerate.onednn import BIAS, DST, SRC, WEIGHTS, Steps

__all__ = ["Product", "linear", "matmul"]

_WORTHWHILE = 1 << 19  # multiply-accumulates; below, the calls cost more than they save


class Product(NamedTuple):
    """One product op(x) op(y) + bias of row-major matrices, or a batch of them."""

    batch: int  # 0: single matrices
    rows: int
    inner: int
    columns: int
    transpose_x: bool
    transpose_y: bool
    bias: bool
    threads: int

    @property
    def shape(self) -> list[int]:
        """Of the result."""
        return self._matrix(self.rows, self.columns)

    def build(self, steps: Steps) -> None:
        """Append the product to steps that take SRC, WEIGHTS, BIAS and give DST."""
        lib = steps.library
        x = steps.array(SRC, *self._layout(self.rows, self.inner, self.transpose_x))
        y = steps.array(WEIGHTS, *self._layout(self.inner, self.columns, self.transpose_y))
        bias = steps.array(BIAS, [1, self.columns]) if self.bias else None
        z = steps.array(DST, self.shape)
        desc = steps.primitive("matmul_primitive_desc_create", lib.engine, x, y, bias, z, lib.attributes)
        steps.add(desc, [SRC, WEIGHTS], [DST], [BIAS] if self.bias else [])

    def _matrix(self, rows: int, columns: int) -> list[int]:
        return [self.batch, rows, columns] if self.batch else [rows, columns]

    def _layout(self, rows: int, columns: int, transposed: bool) -> tuple[list[int], list[int]]:
        """Shape and strides."""
        strides = [1, rows] if transposed else [columns, 1]
        return self._matrix(rows, columns), [rows * columns, *strides] if self.batch else strides


def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Matrix product, `paddle.matmul` in every respect but speed.

    Args:
        x: (..., M, K), or (..., K, M) with `transpose_x`.
        y: (..., K, N), or (..., N, K) with `transpose_y`.
        transpose_x: exchange the last two axes of x.
        transpose_y: exchange the last two axes of y.

    Returns:
        (..., M, N).

    Raises:
        ValueError: what Paddle's product raises for shapes that do not fit.
    """
    if not paddle.in_dynamic_mode():
        return paddle.matmul(x, y, transpose_x, transpose_y)
    return _eager_matmul(x, y, transpose_x, transpose_y)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Linear layer, `paddle.nn.functional.linear` in every respect but speed.

    Args:
        x: (..., K).
        weight: (K, N).
        bias: (N,).

    Returns:
        (..., N).

    Raises:
        ValueError: what Paddle's layer raises for shapes that do not fit.
    """
    if not paddle.in_dynamic_mode():
        return F.linear(x, weight, bias)
    return _eager_linear(x, weight, bias)


def _eager_matmul(x: Tensor, y: Tensor, transpose_x: bool, transpose_y: bool) -> Tensor:
    *lead, _, _ = shape = list(x.shape) if x.ndim > 1 else [0, 0]
    if x.ndim < 2 or y.ndim != x.ndim or list(y.shape[:-2]) != lead:
        return paddle.matmul(x, y, transpose_x, transpose_y)
    rows, inner = shape[::-1][:2] if transpose_x else shape[-2:]
    other, columns = list(y.shape)[::-1][:2] if transpose_y else y.shape[-2:]
    batch = math.prod(lead) if lead else 0
    product = Product(batch, rows, inner, columns, transpose_x, transpose_y, False, runtime.threads())
    if inner != other or not _usable(product, x, y, None):
        return paddle.matmul(x, y, transpose_x, transpose_y)
    return _apply(x, y, None, product).reshape([*lead, rows, columns])


def _eager_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    *lead, inner = x.shape
    if weight.ndim != 2 or weight.shape[0] != inner or (bias is not None and bias.shape != weight.shape[1:]):
        return F.linear(x, weight, bias)
    columns = weight.shape[1]
    product = Product(0, math.prod(lead), inner, columns, False, False, bias is not None, runtime.threads())
    if not _usable(product, x, weight, bias):
        return F.linear(x, weight, bias)
    return _apply(x, weight, bias, product).reshape([*lead, columns])


def _usable(product: Product, x: Tensor, y: Tensor, bias: Tensor | None) -> bool:
    plans = runtime.usable_plans()
    macs = max(product.batch, 1) * product.rows * product.inner * product.columns
    if plans is None or macs < _WORTHWHILE or not runtime.readable(x, y, bias) or runtime.autocast():
        return False
    return plans.can(product)


def _apply(x: Tensor, y: Tensor, bias: Tensor | None, product: Product) -> Tensor:
    wanted = [t is not None and not t.stop_gradient for t in (x, y, bias)]
    if paddle.is_grad_enabled() and any(wanted):
        return _Product.apply(x, y, bias, product, tuple(wanted))
    return _compute(product, x, y, bias)


def _compute(product: Product, x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    if product.inner == 1:  # on some processors oneDNN 3.6 does not write all of an outer product
        left = x.reshape(product._matrix(*((1, product.rows) if product.transpose_x else (product.rows, 1))))
        right = y.reshape(
            product._matrix(*((product.columns, 1) if product.transpose_y else (1, product.columns)))
        )
        outer = paddle.matmul(left, right, product.transpose_x, product.transpose_y)
        return outer if bias is None else outer + bias
    z = paddle.empty(product.shape, paddle.float32)
    arrays = {SRC: x.contiguous(), WEIGHTS: y.contiguous(), DST: z}
    if bias is not None:
        arrays[BIAS] = bias.contiguous()
    runtime.run(product, arrays)
    return z


class _Product(PyLayer):
    """Product with the gradients that are wanted; asking for a second derivative raises."""

    @staticmethod
    def forward(
        ctx: paddle.autograd.PyLayerContext,
        x: Tensor,
        y: Tensor,
        bias: Tensor | None,
        product: Product,
        wanted: tuple[bool, bool, bool],
    ) -> Tensor:
        ctx.product = product
        ctx.wanted = wanted
        runtime.keep(ctx, x, y)
        return _compute(product, x, y, bias)

    @staticmethod
    def backward(ctx: paddle.autograd.PyLayerContext, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y = runtime.kept(ctx)
        product: Product = ctx.product
        tx, ty = product.transpose_x, product.transpose_y
        rows, inner, columns = product.rows, product.inner, product.columns
        gradients: list[Tensor | None] = [None, None, None]
        if ctx.wanted[0]:
            # z = x y: dx = dz y'; where x is given transposed, its gradient is the transpose of that
            gradients[0] = (
                _gradient(product, y, grad, inner, columns, rows, ty, True, x)
                if tx
                else _gradient(product, grad, y, rows, columns, inner, False, not ty, x)
            )
        if ctx.wanted[1]:
            gradients[1] = (
                _gradient(product, grad, x, columns, rows, inner, True, tx, y)
                if ty
                else _gradient(product, x, grad, inner, rows, columns, not tx, False, y)
            )
        if ctx.wanted[2]:
            # summing along the first axis is up to forty times slower than a product with ones
            ones = paddle.ones([1, rows])
            gradients[2] = _compute(product._replace(rows=1, inner=rows, bias=False), ones, grad).reshape(
                [columns]
            )
        return tuple(gradients) if product.bias else tuple(gradients[:2])


def _gradient(
    product: Product,
    a: Tensor,
    b: Tensor,
    rows: int,
    inner: int,
    columns: int,
    ta: bool,
    tb: bool,
    like: Tensor,
) -> Tensor:
    step = product._replace(
        rows=rows, inner=inner, columns=columns, transpose_x=ta, transpose_y=tb, bias=False
    )
    return _compute(step, a, b).reshape(like.shape)
