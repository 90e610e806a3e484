"""Convolution whose kernel is mixed from several experts, for each sample by its own weights.

DASR, Liang et al., ECCV 2022, arXiv:2203.14216. Differences from the released code: experts are initialised
(there they are uninitialised memory), grouped convolutions work, and a traced graph accepts any batch size.
"""

from __future__ import annotations

import math

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn import initializer as init

from ppsr import accelerate
from ppsr.errors import ConfigError

__all__ = ["DynamicConv2D"]


class DynamicConv2D(nn.Layer):
    """(N, in, H, W) and mixing weights (N, K) -> (N, out, H', W').

    Sample n is convolved with ``sum_k weights[n, k] * weight[k]``; weights are raw numbers, without softmax.

    Args:
        in_planes: channels of the input.
        out_planes: channels of the output.
        kernel_size, stride, padding, dilation, groups: as in `paddle.nn.Conv2D`, square.
        if_bias: every expert has a bias, mixed like the kernels.
        K: number of experts.
        init_scale: factor on the Kaiming-normal initialisation of the kernels.
    """

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 1,
        dilation: int = 1,
        groups: int = 1,
        if_bias: bool = True,
        K: int = 5,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if K < 1:
            raise ConfigError(f"a dynamic convolution needs at least one expert, got K={K}")
        if in_planes % groups or out_planes % groups:
            raise ConfigError(
                f"groups={groups} must divide in_planes={in_planes} and out_planes={out_planes}"
            )
        fan_in = in_planes // groups * kernel_size**2
        self.weight = self.create_parameter(
            [K, out_planes, in_planes // groups, kernel_size, kernel_size],
            default_initializer=init.Normal(0.0, init_scale * math.sqrt(2 / fan_in)),
        )
        self.bias = (
            self.create_parameter([K, out_planes], is_bias=True, default_initializer=init.Constant(0.0))
            if if_bias
            else None
        )
        self.in_planes = in_planes
        self.out_planes = out_planes
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        experts = self.weight.shape[0]
        kernels = paddle.matmul(weights, self.weight.reshape([experts, -1]))
        bias = None if self.bias is None else paddle.matmul(weights, self.bias)
        if accelerate.runs_eagerly():
            return self._grouped(x, kernels, bias)
        return self._traced(x, kernels, bias)

    def _grouped(self, x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
        """All samples in one convolution with a group per sample."""
        n, c, h, w = x.shape
        k = self.kernel_size
        y = accelerate.conv2d(
            x.reshape([1, n * c, h, w]),
            kernels.reshape([n * self.out_planes, self.in_planes // self.groups, k, k]),
            None if bias is None else bias.reshape([-1]),
            self.stride,
            self.padding,
            self.dilation,
            self.groups * n,
        )
        return y.reshape([n, self.out_planes, *y.shape[2:]])

    def _traced(self, x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
        """The same sum with a batch size that is open: one batched product per kernel row."""
        k, reach = self.kernel_size, self.dilation * (self.kernel_size - 1)
        per_group = self.in_planes // self.groups
        n, _, h, w = x.shape
        high = (h + 2 * self.padding - reach - 1) // self.stride + 1
        wide = (w + 2 * self.padding - reach - 1) // self.stride + 1
        x = F.pad(x, [self.padding] * 4)
        kernels = kernels.reshape([-1, self.groups, self.out_planes // self.groups, per_group, k, k])
        y = self._row_product(x, kernels, 0, high, wide)
        for row in range(1, k):
            y = y + self._row_product(x, kernels, row, high, wide)
        y = y.reshape([n, self.out_planes, high, wide])
        return y if bias is None else y + bias.reshape([-1, self.out_planes, 1, 1])

    def _row_product(self, x: Tensor, kernels: Tensor, row: int, high: int, wide: int) -> Tensor:
        """Share (n, groups, out / groups, high * wide) of one row of the kernels to a padded image."""
        n, groups, k = x.shape[0], self.groups, self.kernel_size
        depth = self.in_planes // groups * k
        shifted = [self._shift(x, row * self.dilation, col * self.dilation, high, wide) for col in range(k)]
        columns = paddle.stack(shifted, axis=2).reshape([n, groups, depth, high * wide])
        mixed = kernels[:, :, :, :, row, :].reshape([-1, groups, self.out_planes // groups, depth])
        return paddle.matmul(mixed, columns)

    def _shift(self, x: Tensor, top: int, left: int, high: int, wide: int) -> Tensor:
        s = self.stride
        return x[:, :, top : top + (high - 1) * s + 1 : s, left : left + (wide - 1) * s + 1 : s]
