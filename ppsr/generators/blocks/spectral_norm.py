"""Convolution with spectral normalisation, in the layout and order of torch's first implementation.

Miyato et al., ICLR 2018, arXiv:1802.05957. Each forward in training makes one power iteration, v before u.
The vectors and the division by sigma are in float32 also under mixed precision.
"""

from __future__ import annotations

import math

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn import initializer as init

from ppsr import accelerate
from ppsr.precision import at_least_float32, autocast_off

__all__ = ["SpectralNormConv2D"]

_EPS = 1e-12


class SpectralNormConv2D(nn.Layer):
    """Convolution by weight_orig / sigma. State: weight_orig, weight_u (out), weight_v (in * k * k)."""

    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        fan_in = in_channels * kernel_size**2
        bound = 1 / math.sqrt(fan_in)
        self.weight_orig = self.create_parameter(
            [out_channels, in_channels, kernel_size, kernel_size],
            default_initializer=init.Uniform(-bound, bound),
        )
        self.register_buffer("weight_u", F.normalize(paddle.randn([out_channels]), axis=0, epsilon=_EPS))
        self.register_buffer("weight_v", F.normalize(paddle.randn([fan_in]), axis=0, epsilon=_EPS))
        self.stride = stride
        self.padding = padding

    def matrix(self) -> Tensor:
        """The kernels as rows (out, in * k * k)."""
        return at_least_float32(self.weight_orig).reshape([self.weight_orig.shape[0], -1])

    def sigma(self) -> Tensor:
        """Largest singular value as the stored vectors see it."""
        u, v = at_least_float32(self.weight_u), at_least_float32(self.weight_v)
        return paddle.sum(u * paddle.matmul(self.matrix(), v))

    @paddle.no_grad()
    def iterate(self) -> None:
        """One power iteration; new tensors, because an earlier forward may still need the old ones."""
        matrix = self.matrix().detach()
        u = at_least_float32(self.weight_u)
        v = F.normalize(paddle.matmul(matrix, u, transpose_x=True), axis=0, epsilon=_EPS)
        u = F.normalize(paddle.matmul(matrix, v), axis=0, epsilon=_EPS)
        self.weight_v = v
        self.weight_u = u

    def forward(self, x: Tensor) -> Tensor:
        with autocast_off():  # in half, the vectors lose their digits and _EPS is 0
            if self.training:
                self.iterate()
            weight = at_least_float32(self.weight_orig) / self.sigma()
        weight = weight.astype(self.weight_orig.dtype)
        return accelerate.conv2d(x, weight, None, self.stride, self.padding)
