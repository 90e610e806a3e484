"""Fast CPU execution. The rest of the package only knows `conv2d` and `enable`."""

from __future__ import annotations

from paddle import Tensor
from paddle.nn import functional as F

from ppsr.accelerate.process import enable

__all__ = ["conv2d", "enable"]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | list[int] = 1,
    padding: int | list[int] = 0,
    dilation: int | list[int] = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution of (N, C, H, W) with (O, C / groups, kH, kW)."""
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
