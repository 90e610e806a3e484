from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from ppsr.errors import ConfigError
from ppsr.generators.blocks.dynamic_conv import DynamicConv2D

_CASES = [
    {"kernel_size": 3},
    {"kernel_size": 3, "groups": 2},
    {"kernel_size": 3, "stride": 2, "if_bias": False},
    {"kernel_size": 5, "padding": 2, "groups": 4},
    {"kernel_size": 3, "dilation": 2, "padding": 2},
    {"kernel_size": 1, "padding": 0},
]


def _inputs(rng, n, h, w):
    x = paddle.to_tensor(rng.random((n, 4, h, w), dtype=np.float32))
    return x, paddle.to_tensor(rng.standard_normal((n, 3)).astype(np.float32))


@pytest.mark.parametrize("case", _CASES)
def test_output_is_the_weighted_sum_of_the_experts_convolutions(rng, case):
    conv = DynamicConv2D(4, 8, K=3, **case)
    if conv.bias is not None:
        conv.bias.set_value(rng.standard_normal((3, 8)).astype(np.float32))
    x, weights = _inputs(rng, 3, 9, 10)
    expected = 0
    for k in range(3):
        bias = None if conv.bias is None else conv.bias[k]
        y = F.conv2d(x, conv.weight[k], bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        expected = expected + weights[:, k].reshape([3, 1, 1, 1]) * y
    np.testing.assert_allclose(conv(x, weights).numpy(), expected.numpy(), atol=2e-5)


def test_experts_start_different_with_the_asked_deviation():
    paddle.seed(0)
    conv = DynamicConv2D(16, 32, 3, K=4, init_scale=0.1)
    assert abs(float(conv.weight.std()) / (0.1 * np.sqrt(2 / 144)) - 1) < 0.02
    assert float((conv.weight[0] - conv.weight[1]).abs().max()) > 0
    assert float(conv.bias.abs().max()) == 0


def test_impossible_groups_are_refused():
    with pytest.raises(ConfigError, match="groups=3"):
        DynamicConv2D(4, 8, 3, groups=3)
    with pytest.raises(ConfigError, match="K=0"):
        DynamicConv2D(4, 8, 3, K=0)
