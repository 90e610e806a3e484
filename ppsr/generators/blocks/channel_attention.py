"""Convolutions with channel attention, used by HAT and MambaIR in parallel to the main branch.

Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018,
arXiv:1807.02758, for the attention.
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from ppsr import accelerate
from ppsr.errors import ConfigError
from ppsr.generators.blocks.layers import GELU, Conv2D, has_hooks
from ppsr.generators.blocks.transformer import on_tokens, to_map, to_tokens

__all__ = ["CAB", "ChannelAttention", "LightCAB", "add_convolutions"]


class ChannelAttention(nn.Layer):
    """Squeeze and excite, under the published keys attention.1 and attention.3."""

    def __init__(self, num_feat: int, squeeze_factor: int) -> None:
        super().__init__()
        if num_feat < squeeze_factor:
            raise ConfigError(
                f"channel attention squeezes {num_feat} channels by {squeeze_factor}, which leaves none; "
                f"the width must be at least {squeeze_factor}"
            )
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2D(1),
            Conv2D(num_feat, num_feat // squeeze_factor, 1),
            nn.ReLU(),
            Conv2D(num_feat // squeeze_factor, num_feat, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class CAB(nn.Layer):
    """Two convolutions with a narrow width between them, and channel attention."""

    def __init__(self, num_feat: int, compress_ratio: int, squeeze_factor: int) -> None:
        super().__init__()
        self.cab = nn.Sequential(
            Conv2D(num_feat, num_feat // compress_ratio, 3, padding=1),
            GELU(),
            Conv2D(num_feat // compress_ratio, num_feat, 3, padding=1),
            ChannelAttention(num_feat, squeeze_factor),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.cab(x)


def add_convolutions(x: Tensor, block: CAB, y: Tensor, scale: float) -> Tensor:
    """x + scale * block(y) of tokens (N, H, W, C)."""
    layers = block.sublayers(include_self=True)
    if not accelerate.usable(y) or any(has_hooks(layer) for layer in layers):
        return x + to_tokens(block(to_map(y))) * scale
    *convolutions, attention = block.cab
    for layer in convolutions:
        y = on_tokens(layer, y)
    n, h, w, c = y.shape
    mean = paddle.matmul(paddle.full([n, 1, h * w], 1 / (h * w)), y.reshape([n, h * w, c]))
    weights = attention.attention[1:](mean.reshape([n, c, 1, 1]))
    return accelerate.scaled_sum(y, weights.reshape([n, c]) * scale, x)


class LightCAB(nn.Layer):
    """The same of pointwise and depthwise convolutions, the second one dilated."""

    def __init__(self, num_feat: int, compress_ratio: int, squeeze_factor: int) -> None:
        super().__init__()
        narrow = num_feat // compress_ratio
        self.cab = nn.Sequential(
            Conv2D(num_feat, narrow, 1),
            Conv2D(narrow, narrow, 3, padding=1, groups=narrow),
            GELU(),
            Conv2D(narrow, num_feat, 1),
            Conv2D(num_feat, num_feat, 3, padding=2, dilation=2, groups=num_feat),
            ChannelAttention(num_feat, squeeze_factor),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.cab(x)
