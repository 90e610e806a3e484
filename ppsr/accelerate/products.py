"""Matrix products and linear layers through oneDNN, else Paddle's own.

The matrix product inside Paddle's wheel is tuned for Intel CPUs: on an AMD EPYC the oneDNN library beside it
is three to four times faster. Guards and limits are those of `ppsr.accelerate.conv`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppsr.accelerate import runtime, tokens
from ppsr.accelerate.descriptions import ADD, GELU, Array, PostOp
from ppsr.accelerate.onednn import (
    BIAS,
    DIFF_BIAS,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    SRC,
    WEIGHTS,
)
from ppsr.accelerate.plans import Operation
from ppsr.accelerate.steps import Steps

_RESIDUAL, _SUM = 1020, 1021  # keys of arrays beside those of every operation
_WORTHWHILE = 1 << 19  # multiply-accumulates; below, the calls cost more than they save


@dataclass(frozen=True)
class Product(Operation):
    """One product op(x) op(y) + bias of row-major matrices, or a batch of them."""

    batch: int  # 0: single matrices
    rows: int
    inner: int
    columns: int
    transpose_x: bool
    transpose_y: bool
    bias: bool
    residual: bool = False  # added to the product
    gelu: bool = False  # of the sum

    same = (_RESIDUAL,)

    @property
    def inputs(self) -> tuple[int, ...]:
        given = (SRC, True), (WEIGHTS, True), (BIAS, self.bias), (_RESIDUAL, self.residual)
        return tuple(key for key, there in given if there)

    @property
    def extras(self) -> dict[int, list[int]]:
        """What GELU takes."""
        return {_SUM: [self.rows, self.columns]} if self.gelu else {}

    @property
    def worthwhile(self) -> bool:
        """Whether it is large enough; on some processors oneDNN 3.6 does not write all of an outer product,
        which one of the gradients is wherever one side is 1."""
        sides = self.rows, self.inner, self.columns
        return min(sides) > 1 and max(self.batch, 1) * math.prod(sides) >= _WORTHWHILE

    def build(self, steps: Steps) -> None:
        """Append the product, SRC, WEIGHTS, BIAS -> DST, or its gradients from DIFF_DST."""
        m, k, n = self.rows, self.inner, self.columns
        x, y = (SRC, m, k, self.transpose_x), (WEIGHTS, k, n, self.transpose_y)
        if not steps.needs_grad:
            bias = steps.array(BIAS, [1, n]) if self.bias else None
            then = [PostOp(ADD, self._array(steps, _RESIDUAL, m, n))] if self.residual else []
            split = _SUM in steps.callers
            then += [PostOp(GELU)] if self.gelu and not split else []
            self._multiply(steps, x, y, (_SUM if split else DST, m, n), bias, then)
            if split:
                tokens.function(steps, GELU, steps.array(_SUM, [m, n]), steps.array(DST, [m, n]))
            return
        # z = x y: dx = dz y', dy = x' dz; the gradient of what is given transposed is the transpose of that
        z = (-_SUM if self.gelu else DIFF_DST, m, n, False)
        if self.gelu:
            steps.local(-_SUM, [m, n])
            before, grad, into = (steps.array(key, [m, n]) for key in (_SUM, DIFF_DST, -_SUM))
            tokens.function_gradient(steps, GELU, before, grad, into)
        if DIFF_SRC in steps.needs_grad:
            left, right = (y, _transposed(z)) if self.transpose_x else (z, _transposed(y))
            self._multiply(steps, left, right, (DIFF_SRC, left[1], right[2]))
        if DIFF_WEIGHTS in steps.needs_grad:
            left, right = (_transposed(z), x) if self.transpose_y else (_transposed(x), z)
            self._multiply(steps, left, right, (DIFF_WEIGHTS, left[1], right[2]))
        if DIFF_BIAS in steps.needs_grad:
            ones, total = steps.ones([1, m]), steps.array(DIFF_BIAS, [1, n])
            steps.product(ones, self._array(steps, *z), total)

    def _multiply(
        self,
        steps: Steps,
        left: tuple[int, int, int, bool],
        right: tuple[int, int, int, bool],
        result: tuple[int, int, int],
        bias: Array | None = None,
        then: Sequence[PostOp] = (),
    ) -> None:
        """Append a product of matrices, each a key, rows, columns, and whether it is stored transposed."""
        a, b, z = (self._array(steps, *matrix) for matrix in (left, right, result))
        steps.product(a, b, z, bias, then=then)

    def _array(self, steps: Steps, key: int, rows: int, columns: int, transposed: bool = False) -> Array:
        strides = [1, rows] if transposed else [columns, 1]
        if not self.batch:
            return steps.array(key, [rows, columns], strides)
        return steps.array(key, [self.batch, rows, columns], [rows * columns, *strides])


def _transposed(matrix: tuple[int, int, int, bool]) -> tuple[int, int, int, bool]:
    """The transpose of a matrix: the same numbers, read the other way round."""
    key, rows, columns, transposed = matrix
    return key, columns, rows, not transposed


def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Matrix product, `paddle.matmul` in every respect but speed.

    Args:
        x: (..., M, K), or (..., K, M) with `transpose_x`.
        y: (..., K, N), or (..., N, K) with `transpose_y`.

    Returns:
        (..., M, N).

    Raises:
        ValueError: what Paddle's product raises for shapes that do not fit.
    """
    if not runtime.runs_eagerly():
        return paddle.matmul(x, y, transpose_x, transpose_y)
    return _eager_matmul(x, y, transpose_x, transpose_y)


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    gelu: bool = False,
) -> Tensor:
    """Linear layer, `paddle.nn.functional.linear` in every respect but speed, and what comes after it.

    Args:
        x: (..., K).
        weight: (K, N).
        bias: (N,).
        residual: (..., N), which is added; without it, `gelu` is part of the product.
        gelu: exact GELU at the end.

    Returns:
        (..., N).

    Raises:
        ValueError: what Paddle's layer raises for shapes that do not fit.
    """
    if not runtime.runs_eagerly():
        y = F.linear(x, weight, bias)
        y = y if residual is None else residual + y
        return F.gelu(y) if gelu else y
    return _eager_linear(x, weight, bias, residual, gelu)


def _eager_matmul(x: Tensor, y: Tensor, transpose_x: bool, transpose_y: bool) -> Tensor:
    *lead, _, _ = shape = list(x.shape) if x.ndim > 1 else [0, 0]
    z = None
    if x.ndim > 1 and y.ndim == x.ndim and list(y.shape[:-2]) == lead:
        rows, inner = shape[::-1][:2] if transpose_x else shape[-2:]
        other, columns = list(y.shape)[::-1][:2] if transpose_y else y.shape[-2:]
        batch = math.prod(lead) if lead else 0
        product = Product(batch, rows, inner, columns, transpose_x, transpose_y, False)
        if inner == other and product.worthwhile:
            z = runtime.compute(product, [*lead, rows, columns], x, y)
    return paddle.matmul(x, y, transpose_x, transpose_y) if z is None else z


def _eager_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, gelu: bool
) -> Tensor:
    *lead, inner = x.shape
    y, added, joined = None, False, gelu and residual is None
    if weight.ndim == 2 and weight.shape[0] == inner and (bias is None or bias.shape == weight.shape[1:]):
        columns = weight.shape[1]
        if residual is not None:  # the gradient of a leaf would share its memory with that of the result
            leaf = residual.is_leaf and not residual.stop_gradient
            added = not leaf and list(residual.shape) == [*lead, columns]
        product = Product(0, math.prod(lead), inner, columns, False, False, bias is not None, added, joined)
        if product.worthwhile:
            y = runtime.compute(product, [*lead, columns], x, weight, bias, residual if added else None)
    if y is None:
        y, added, joined = F.linear(x, weight, bias), False, False
    y = y if residual is None or added else residual + y
    return tokens.gelu(y) if gelu and not joined else y
