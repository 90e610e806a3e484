"""Counting multiply-accumulates."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F

from ppsr.generators.blocks import Conv2D, Linear
from ppsr.generators.macs import count_macs


class Everything(nn.Layer):
    """A strided, a dilated and a grouped convolution, a linear layer, and attention in three spellings."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = Conv2D(3, 8, 3, stride=2, padding=1)
        self.dilated = Conv2D(8, 8, 3, padding=2, dilation=2, groups=4)
        self.linear = Linear(8, 16)

    def forward(self, x):
        x = self.dilated(self.strided(x))
        n, c, h, w = x.shape
        tokens = self.linear(x.reshape([n, c, h * w]).transpose([0, 2, 1]))
        weights = F.softmax(tokens @ tokens.transpose([0, 2, 1]))
        again = paddle.matmul(weights, tokens)
        return again.matmul(tokens, transpose_y=True)


def test_macs_equal_the_count_by_hand() -> None:
    positions = 4 * 5
    by_hand = positions * (8 * 3 * 9 + 8 * 2 * 9 + 8 * 16) + 3 * positions * positions * 16
    assert count_macs(Everything(), (1, 3, 7, 10)) == by_hand
    assert count_macs(Everything(), (2, 3, 7, 10)) == 2 * by_hand


def test_the_network_works_as_before_after_counting() -> None:
    net = Everything()
    net.train()
    x = paddle.rand([1, 3, 7, 10])
    before = net(x).numpy()
    count_macs(net, (1, 3, 8, 8))
    assert net.training
    assert (net(x).numpy() == before).all()
