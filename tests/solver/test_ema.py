"""Averages of parameters while training lowers the precision of the networks."""

import inspect

import numpy as np
import paddle
import pytest
from paddle import nn

from ppsr.solver.ema import EMA
from ppsr.solver.gradients import LossScale


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
    ema.update()
    average = ema.nets["generator"]
    assert average.linear.weight.dtype == average.mean.dtype == paddle.float32
    np.testing.assert_array_equal(average.linear.weight.numpy(), np.full((2, 2), 0.25, np.float32))


def test_averages_take_the_master_weights_of_parameters_in_half_precision():
    net = _Net()
    net.linear.weight.set_value(paddle.ones([2, 2]))
    ema = EMA({"generator": net}, decay=0.5, net_names=["generator"])
    net.to(dtype="bfloat16")
    # a step of 2**-10 is lost in a bfloat16 of 8 bits
    master = paddle.full([2, 2], 1 + 2**-10)
    net.linear.weight.set_value(master.astype("bfloat16"))
    ema.update({net.linear.weight.name: master})
    np.testing.assert_array_equal(ema.nets["generator"].linear.weight.numpy(), np.full((2, 2), 1 + 2**-11))


def test_averages_equal_their_formula_for_all_parameters_and_keep_running_statistics():
    paddle.seed(0)
    net = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.PReLU())
    ema = EMA({"g": net}, decay=0.9, net_names=["g"])
    wanted = {key: value.numpy().copy() for key, value in net.named_parameters()}
    for step in range(3):
        net(paddle.rand([2, 3, 6, 6]))
        for parameter in net.parameters():
            parameter.set_value(parameter + float(step))
        ema.update()
        wanted = {k: 0.9 * wanted[k] + 0.1 * v.numpy() for k, v in net.named_parameters()}
    for key, value in ema.nets["g"].named_parameters():
        np.testing.assert_allclose(value.numpy(), wanted[key], rtol=1e-6, err_msg=key)
    for key, value in ema.nets["g"].named_buffers():
        np.testing.assert_array_equal(value.numpy(), dict(net.named_buffers())[key].numpy(), err_msg=key)


@pytest.mark.parametrize("move", ["load", "to"])
def test_averages_go_on_after_they_were_replaced(move):
    net = _Net()
    net.linear.weight.set_value(paddle.zeros([2, 2]))
    ema = EMA({"generator": net}, decay=0.5, net_names=["generator"])
    average = ema.nets["generator"]
    if move == "load":
        average.set_state_dict({key: paddle.ones_like(v) for key, v in average.state_dict().items()})
    else:
        average.to(dtype="float64")
        average.to(dtype="float32")
        average.linear.weight.set_value(paddle.ones([2, 2]))
    ema.update()
    np.testing.assert_array_equal(average.linear.weight.numpy(), np.full((2, 2), 0.5))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_networks_take_over_their_averages_every_few_steps(dtype):
    net = _Net()
    ema = EMA({"generator": net}, decay=0.5, net_names=["generator"], switch_every=2)
    net.to(dtype=dtype)
    weight, average = net.linear.weight, ema.nets["generator"].linear.weight
    master = paddle.zeros([2, 2])
    start = average.numpy().copy()
    for step in (1, 2):
        master.set_value(paddle.full([2, 2], 1 + 2**-10))
        weight.set_value(master.astype(dtype))
        ema.update({} if dtype == "float32" else {weight.name: master}, step)
        switched = paddle.full([2, 2], 1 + 2**-10) if step == 1 else average
        np.testing.assert_array_equal(weight.numpy(), switched.astype(dtype).numpy())
    np.testing.assert_allclose(average.numpy(), 0.25 * start + 0.75 * (1 + 2**-10), rtol=1e-6)
    np.testing.assert_array_equal(master.numpy(), average.numpy() if dtype != "float32" else 1 + 2**-10)
    assert not weight._is_shared_buffer_with(average)


def test_the_number_of_steps_is_that_of_paddles_scaler():
    default = inspect.signature(paddle.amp.GradScaler).parameters["incr_every_n_steps"].default
    assert default == LossScale.steps_to_double


@pytest.mark.parametrize("enabled", [True, False])
def test_a_state_comes_back(enabled):
    first, second = LossScale(enabled=enabled), LossScale(enabled=enabled)
    for overflowed in (True, False, True, False, False):
        first.update(overflowed=overflowed)
    second.load_state_dict(first.state_dict())
    assert second.value == first.value
    assert second.steps == (first.steps if enabled else 0)
    assert first.value == (2.0**13 if enabled else 1)


def test_the_scale_grows_after_steps_without_overflow():
    scale = LossScale(enabled=True)
    for _ in range(LossScale.steps_to_double):
        scale.update(overflowed=False)
    assert scale.value == 2.0**16
    assert scale.scale(paddle.ones([])).item() == 2.0**16


def test_the_state_of_paddles_scaler_in_older_checkpoints_is_read():
    scale = LossScale(enabled=True)
    ratios = {"incr_ratio": 2.0, "decr_ratio": 0.5}
    scale.load_state_dict({"scale": [1024.0], **ratios, "incr_count": 7, "decr_count": 0})
    assert (scale.value, scale.steps) == (1024.0, 7)
