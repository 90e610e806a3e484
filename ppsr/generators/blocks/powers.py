"""Powers with finite gradients."""

from __future__ import annotations

import paddle
from paddle import Tensor

__all__ = ["safe_power"]


def safe_power(x: Tensor, exponent: float) -> Tensor:
    """x ** exponent for x >= 0 with gradient 0 at 0.

    For exponents below 1 the true gradient at 0 is infinite; times a zero from the chain rule it would turn a
    whole image's gradient into NaN.
    """
    positive = x > 0
    base = paddle.where(positive, x, paddle.ones_like(x))
    power = paddle.sqrt(base) if exponent == 1 / 2 else base**exponent
    return paddle.where(positive, power, paddle.zeros_like(x))
