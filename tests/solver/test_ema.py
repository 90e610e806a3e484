"""Averages of parameters while training lowers the precision of the networks."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from ppsr.solver.ema import EMA


class _Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mean", paddle.ones([2]), persistable=False)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_averages_of_networks_in_half_precision_stay_in_float32(dtype):
    net = _Net()
    net.linear.weight.set_value(paddle.zeros([2, 2]))
    ema = EMA({"generator": net}, decay=0.75, net_names=["generator"])
    net.to(dtype=dtype)
    net.linear.weight.set_value(paddle.ones([2, 2]).astype(dtype))
    ema.update({"generator": net})
    average = ema.nets["generator"]
    assert average.linear.weight.dtype == average.mean.dtype == paddle.float32
    np.testing.assert_array_equal(average.linear.weight.numpy(), np.full((2, 2), 0.25, np.float32))
