"""Small networks for the tests of export and backends."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.registry import GENERATORS


def network(name: str, seed: int = 0, **changes):
    """The test network of a registered class."""
    cls = GENERATORS.get(name)
    paddle.seed(seed)
    net = cls(**{**cls.test_args, **changes})
    net.eval()
    return net


class Doubling(nn.Layer):
    """Two convolutions with an activation between them, then x2."""

    scale = 2

    def __init__(self, activation: nn.Layer | None = None) -> None:
        super().__init__()
        paddle.seed(0)
        self.first = nn.Conv2D(3, 8, 3, padding=1)
        self.activation = activation or nn.ReLU()
        self.last = nn.Conv2D(8, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.last(self.activation(self.first(x))), 2)
