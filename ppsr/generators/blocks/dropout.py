"""Dropout of whole rows and columns of a feature map.

CDDNet's cross dropout (https://github.com/Aries1213/CDDNet): columns first, then rows. The released row
dropout has the mask shape (6, 1, 256, 1) written in; here the mask follows the input.
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError

__all__ = ["ColumnDropout", "RowDropout"]


class _LineDropout(nn.Layer):
    """Keeps a line with probability 1 - p, divided by 1 - p; identity in evaluation."""

    axis: int

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ConfigError(f"a dropout probability must be between 0 and 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        shape = [x.shape[0], 1, 1, 1]
        shape[self.axis] = x.shape[self.axis]
        kept = (paddle.rand(shape) >= self.p).astype(x.dtype)
        return x * (kept / (1 - self.p))


class ColumnDropout(_LineDropout):
    """Drops columns; the mask is (N, 1, 1, W)."""

    axis = 3


class RowDropout(_LineDropout):
    """Drops rows; the mask is (N, 1, H, 1)."""

    axis = 2
