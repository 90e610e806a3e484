"""Dense blocks by oneDNN against the same block by Paddle's operators."""

import numpy as np
import paddle
import pytest

from ppsr import accelerate
from ppsr.generators.rrdbnet import ResidualDenseBlock

pytestmark = pytest.mark.skipif(not accelerate.is_enabled(), reason="needs oneDNN")


def _block(rng, width, growth):
    net = ResidualDenseBlock(width, growth, plus=False)
    for parameter in net.parameters():
        values = rng.standard_normal(parameter.shape) * (0.05 if parameter.ndim > 1 else 0.5)
        parameter.set_value(paddle.to_tensor(values.astype("float32")))
    return net


def _gradients(net, x, weight):
    x = paddle.to_tensor(x, stop_gradient=False)
    net.clear_gradients()
    y = net(x)
    (y * weight).sum().backward()
    return {"y": y.numpy(), "x": x.grad.numpy()} | {
        name: parameter.grad.numpy() for name, parameter in net.named_parameters() if parameter.trainable
    }


@pytest.mark.parametrize(
    ("images", "width", "growth", "size"), [(1, 64, 32, (16, 19)), (3, 64, 32, (9, 16)), (2, 48, 16, (31, 9))]
)
def test_results_and_gradients_are_those_of_single_operators(images, width, growth, size, rng, monkeypatch):
    net = _block(rng, width, growth)
    x, weight = (rng.standard_normal((images, width, *size), np.float32) for _ in range(2))
    with accelerate.disabled():
        expected = _gradients(net, x, paddle.to_tensor(weight))
    monkeypatch.setattr(accelerate, "conv2d", None)  # one operation, or an error
    found = _gradients(net, x, paddle.to_tensor(weight))
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() <= 1e-5 * np.abs(value).max(), name
    with paddle.no_grad():
        assert net(paddle.to_tensor(x)).numpy().tobytes() == found["y"].tobytes()


def test_channels_that_are_no_whole_blocks_are_left_to_single_operators(rng):
    net = _block(rng, 24, 8)
    x = paddle.to_tensor(rng.standard_normal((1, 24, 64, 64), np.float32))
    found = net(x).numpy()
    with accelerate.disabled():
        expected = net(x).numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_frozen_parameters_have_no_gradient_and_change_no_other(rng):
    net = _block(rng, 64, 32)
    x, weight = (rng.standard_normal((2, 64, 12, 12), np.float32) for _ in range(2))
    expected = _gradients(net, x, paddle.to_tensor(weight))
    for parameter in (net.conv1.weight, net.conv3.bias, net.conv5.weight):
        parameter.stop_gradient = True
    found = _gradients(net, x, paddle.to_tensor(weight))
    assert len(found) == len(expected) - 3
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])


def test_hooks_on_inner_convolutions_are_called(rng):
    net, seen = _block(rng, 64, 32), []
    x = paddle.to_tensor(rng.standard_normal((1, 64, 12, 12), np.float32))
    whole = net(x).numpy()
    net.conv2.register_forward_post_hook(lambda layer, inputs, output: seen.append(output.shape))
    np.testing.assert_allclose(net(x).numpy(), whole, rtol=0, atol=1e-5 * np.abs(whole).max())
    assert [list(shape) for shape in seen] == [[1, 32, 12, 12]]
