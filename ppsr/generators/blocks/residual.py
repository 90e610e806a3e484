"""Residual blocks of convolution networks, and the initialisation and mean shift that go with them."""

from __future__ import annotations

import math

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn import initializer as init

from ppsr.errors import ConfigError
from ppsr.generators.blocks.layers import Conv2D

__all__ = [
    "DIV2K_MEAN",
    "RCAB",
    "CALayer",
    "MeanShift",
    "ResidualBlockNoBN",
    "scale_initialisation",
    "upsampler",
]

# Mean colour of DIV2K, as EDSR's code and its descendants state it.
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


def scale_initialisation(*convs: nn.Conv2D, factor: float = 0.1) -> None:
    """Kaiming-normal weights (fan in, gain sqrt 2) times a factor, zero biases; BasicSR's start."""
    for conv in convs:
        fan_in = math.prod(conv.weight.shape[1:])
        init.Normal(0.0, factor * math.sqrt(2 / fan_in))(conv.weight)
        init.Constant(0.0)(conv.bias)


class ResidualBlockNoBN(nn.Layer):
    """x + conv2(relu(conv1(x))), optionally with dropout on the branch; (N, C, H, W) -> the same."""

    def __init__(self, num_feat: int, dropout: nn.Layer | None = None) -> None:
        super().__init__()
        self.conv1 = Conv2D(num_feat, num_feat, 3, padding=1)
        self.conv2 = Conv2D(num_feat, num_feat, 3, padding=1)
        self.dropout = dropout
        scale_initialisation(self.conv1, self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv2(F.relu(self.conv1(x)))
        return x + (branch if self.dropout is None else self.dropout(branch))


class CALayer(nn.Layer):
    """Channel attention of RCAN (Zhang et al., ECCV 2018, arXiv:1807.02758): maps weighed by their means."""

    def __init__(self, channel: int, reduction: int = 16) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            Conv2D(channel, channel // reduction, 1),
            nn.ReLU(),
            Conv2D(channel // reduction, channel, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv_du(x.mean(axis=[2, 3], keepdim=True))


class RCAB(nn.Layer):
    """Residual channel attention block of RCAN: x + attention(conv(relu(conv(x))))."""

    def __init__(self, n_feat: int, kernel_size: int = 3, reduction: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Conv2D(n_feat, n_feat, kernel_size, padding=kernel_size // 2),
            nn.ReLU(),
            Conv2D(n_feat, n_feat, kernel_size, padding=kernel_size // 2),
            CALayer(n_feat, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class MeanShift(Conv2D):
    """Adds or subtracts the mean colour of DIV2K; it may be trained, as in published networks.

    Args:
        n_colors: 3, or 1 for the mean of the three.
        sign: -1 subtracts, 1 adds.
    """

    def __init__(self, n_colors: int, rgb_range: float, sign: int, trainable: bool) -> None:
        super().__init__(n_colors, n_colors, 1)
        mean = DIV2K_MEAN if n_colors == len(DIV2K_MEAN) else (sum(DIV2K_MEAN) / len(DIV2K_MEAN),)
        self.weight.set_value(paddle.eye(n_colors).reshape([n_colors, n_colors, 1, 1]))
        self.bias.set_value(paddle.to_tensor([sign * rgb_range * value for value in mean], dtype="float32"))
        self.weight.stop_gradient = self.bias.stop_gradient = not trainable


def upsampler(scale: int, n_feat: int, kernel_size: int = 3) -> nn.Sequential:
    """Enlarge (N, C, H, W) by 3 or by a power of 2: convolution, pixel shuffle, one pair per factor 2."""
    factors = [3] if scale == 3 else [2] * int(math.log2(scale)) if scale > 0 else []
    if math.prod(factors) != scale:
        raise ConfigError(f"upscale must be 3 or a power of two, got {scale}")
    layers: list[nn.Layer] = []
    for factor in factors:
        layers += [
            Conv2D(n_feat, n_feat * factor**2, kernel_size, padding=kernel_size // 2),
            nn.PixelShuffle(factor),
        ]
    return nn.Sequential(*layers)
