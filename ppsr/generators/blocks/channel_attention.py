"""Convolutions with channel attention, used by HAT and MambaIR in parallel to the main branch.

Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018,
arXiv:1807.02758, for the attention.
"""

from __future__ import annotations

from paddle import Tensor, nn

from ppsr.errors import ConfigError
from ppsr.generators.blocks.layers import GELU, Conv2D

__all__ = ["CAB", "ChannelAttention", "LightCAB"]


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
