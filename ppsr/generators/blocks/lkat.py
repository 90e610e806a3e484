"""Large-kernel attention: a 31x31 neighbourhood seen through two depthwise convolutions.

CDDNet's "gyroscope" local attention (https://github.com/Aries1213/CDDNet), after the tail of MAN (Wang
et al., arXiv:2209.14145).
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from ppsr.generators.blocks.layers import GELU, Conv2D

__all__ = ["LKAT"]


class LKAT(nn.Layer):
    """(N, C, H, W) -> the same shape: 1x1 and GELU, times its own large-kernel attention, 1x1."""

    receptive_radius = 15

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(Conv2D(num_feat, num_feat, 1), GELU())
        self.att = nn.Sequential(
            Conv2D(num_feat, num_feat, 7, padding=3, groups=num_feat),
            Conv2D(num_feat, num_feat, 9, padding=12, dilation=3, groups=num_feat),
            Conv2D(num_feat, num_feat, 1),
        )
        self.conv1 = Conv2D(num_feat, num_feat, 1)
        # attention starts near one instead of near zero, so that the signal passes before it is learnt
        self.att[2].bias.set_value(paddle.ones([num_feat]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv0(x)
        return self.conv1(x * self.att(x))
