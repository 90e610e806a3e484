"""Numerical helpers of the losses: precision, and roots whose gradient stays finite."""

from __future__ import annotations

import paddle
from paddle import Tensor

__all__ = ["at_least_float32", "safe_power"]


def at_least_float32(x: Tensor) -> Tensor:
    """Half-precision tensors as float32; others as they are (tests run losses in float64)."""
    return x.astype("float32") if x.dtype in (paddle.float16, paddle.bfloat16) else x


def safe_power(x: Tensor, exponent: float) -> Tensor:
    """x ** exponent for x >= 0 with gradient 0 at 0.

    For exponents below 1 the true gradient at 0 is infinite; times a zero from the chain rule it would turn a
    whole picture's gradient into NaN.
    """
    positive = x > 0
    power = paddle.where(positive, x, paddle.ones_like(x)) ** exponent
    return paddle.where(positive, power, paddle.zeros_like(x))
