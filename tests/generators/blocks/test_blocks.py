"""State-space blocks: directions, initial values, arguments."""

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from ppsr.errors import ConfigError
from ppsr.generators.blocks import window_attention
from ppsr.generators.blocks.dynamic_conv import DynamicConv2D
from ppsr.generators.blocks.options import image_sides
from ppsr.generators.blocks.spectral_norm import SpectralNormConv2D
from ppsr.generators.blocks.transformer import DropPath
from ppsr.generators.blocks.vss import SS2D
from ppsr.generators.hat import OCAB
from ppsr.registry import GENERATORS


def layer(**more):
    paddle.seed(0)
    return SS2D(**{"d_model": 8, "d_state": 3, "expand": 1.5, **more})


def test_initial_steps_and_decays_are_those_of_the_papers():
    net = layer(d_model=64)
    steps = np.logaddexp(0, net.dt_projs_bias.numpy().astype(np.float64))
    assert steps.min() >= 0.999e-3
    assert steps.max() <= 0.1001
    assert np.log(steps).mean() == pytest.approx(np.log(1e-2), abs=0.3)  # the middle of the logarithms
    np.testing.assert_allclose(
        np.exp(net.A_logs.numpy()), np.tile([1, 2, 3], (net.A_logs.shape[0], 1)), rtol=1e-6
    )
    np.testing.assert_array_equal(net.Ds.numpy(), 1)


@pytest.mark.parametrize("arguments", [{"expand": 0.1}, {"d_state": 0}])
def test_an_empty_state_is_refused(arguments):
    with pytest.raises(ConfigError, match="nothing to scan"):
        layer(**arguments)


def test_two_forwards_before_one_backward_work(rng):
    conv = SpectralNormConv2D(3, 5, 3, padding=1)
    x = paddle.to_tensor(rng.random((1, 3, 4, 4), dtype=np.float32))
    (conv(x).sum() - conv(2 * x).sum()).backward()
    assert np.isfinite(conv.weight_orig.grad.numpy()).all()
    assert set(conv.state_dict()) == {"weight_orig", "weight_u", "weight_v"}


@pytest.mark.parametrize("name", ["SwinIR", "HAT", "DRCT", "MambaDRCT"])
def test_groups_without_heads_and_empty_windows_are_refused(name: str) -> None:
    arguments = GENERATORS.get(name).test_args
    with pytest.raises(ConfigError, match=r"depths \[2, 2\] and num_heads \[2\] must have one number"):
        GENERATORS.build({"name": name, **arguments, "depths": [2, 2], "num_heads": [2]})
    with pytest.raises(ConfigError, match="window_size must be 1 or more, got 0"):
        GENERATORS.build({"name": name, **arguments, "window_size": 0})


def test_an_image_size_is_one_side_or_two() -> None:
    assert image_sides(8) == (8, 8)
    assert image_sides([8, 12]) == (8, 12)
    with pytest.raises(ConfigError, match="height and width"):
        image_sides([8, 12, 3])
    with pytest.raises(ConfigError, match=r"above 0; got \[0, 0\]"):
        image_sides(0)


def test_stochastic_depth_drops_whole_samples_and_scales_the_rest() -> None:
    paddle.seed(0)
    layer = DropPath(0.25)
    x = paddle.rand([400, 2, 3]) + 1
    ratio = (layer(x) / x).numpy().reshape(400, -1)
    np.testing.assert_allclose(ratio, np.where(ratio[:, :1] > 0, 4 / 3, 0).repeat(6, axis=1), rtol=1e-6)
    assert 0.65 < (ratio[:, 0] > 0).mean() < 0.85  # 0.75 with a deviation of 0.022
    layer.eval()
    assert layer(x) is x


def test_masks_of_earlier_sizes_are_not_kept():
    for side in (16, 24, 32):
        window_attention.shift_mask(paddle.zeros([1, side, side, 1]), 8, 4)
    assert window_attention._shift_mask_tensor.cache_info().currsize == 1


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


@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0, 3.5])
def test_overlapping_windows_are_those_of_unfold(rng, ratio):
    """Also where the larger window reaches beyond its neighbours."""
    net = OCAB(6, 4, ratio, 2, True, None, 2.0)
    x = paddle.to_tensor(rng.random((2, 8, 12, 6), dtype=np.float32))
    columns = F.unfold(x.transpose([0, 3, 1, 2]), net.overlap, strides=4, paddings=(net.overlap - 4) // 2)
    expected = columns.reshape([2, 6, net.overlap**2, 6]).transpose([0, 3, 2, 1]).flatten(0, 1)
    np.testing.assert_array_equal(net._overlapping(x).numpy(), expected.numpy())
