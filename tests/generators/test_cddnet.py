import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError
from ppsr.generators.cddnet import BlindSR, CDDNet, LineDropout
from ppsr.weights import load_state

_TINY = {"num_feat": 4, "num_block": 1, "num_models": 3}


def _inputs(net, n, h, w):
    return [paddle.to_tensor(a) for a in net.example_inputs(n, h, w)]


@pytest.mark.smoke
@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
def test_any_size_is_enlarged_and_every_parameter_gets_a_gradient(upscale):
    net = CDDNet(upscale=upscale, **_TINY)
    y = net(*_inputs(net, 2, 7, 5))
    assert list(y.shape) == [2, 3, 7 * upscale, 5 * upscale]
    y.square().sum().backward()
    assert [k for k, p in net.named_parameters() if p.grad is None or not float(p.grad.abs().sum())] == []


@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
@pytest.mark.parametrize("use_rc", [True, False])
def test_nothing_beyond_the_receptive_radius_changes_a_pixel(upscale, use_rc):
    paddle.seed(0)
    net = CDDNet(upscale=upscale, use_rc=use_rc, **_TINY)
    net.conv_last.weight.set_value(net.conv_last.weight * 10)  # so that float rounding hides no influence
    net.eval()
    r = net.receptive_radius
    x, weights = _inputs(net, 1, 1, 2 * r + 9)
    base = net(x, weights)
    changed = x.clone()
    changed[:, :, :, 0] += 1.0
    difference = (net(changed, weights) - base).abs().numpy().max(axis=(0, 1, 2))
    reached = np.flatnonzero(difference > 0).max() // upscale
    assert reached <= r
    assert reached >= r - 1  # a radius much too large would waste time in tiles


@pytest.mark.parametrize("options", [{"upscale": 5}, {"num_in_ch": 2}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="CDDNet"):
        CDDNet(**options)


def test_experts_of_an_expanded_static_network_are_equal_and_attention_is_left_alone():
    net = CDDNet(upscale=2, **_TINY)
    rng = np.random.default_rng(0)
    static = {}
    for key, value in net.state_dict().items():
        shape = value.shape if key.startswith("RC.") else value.shape[1:]
        static[key] = rng.standard_normal(shape).astype(np.float32)
    dynamic = net.conv_hr.weight.numpy()
    static["conv_hr.weight"] = dynamic
    expanded = net.adapt_state({**static, "unknown": np.zeros(2)})
    assert expanded.pop("unknown").shape == (2,)
    load_state(net, expanded, layout="torch")
    for k in range(3):
        np.testing.assert_array_equal(net.conv_first.weight[k].numpy(), static["conv_first.weight"])
        np.testing.assert_array_equal(net.conv_first.bias[k].numpy(), static["conv_first.bias"])
    np.testing.assert_array_equal(net.RC.att[0].weight.numpy(), static["RC.att.0.weight"])
    np.testing.assert_array_equal(net.conv_hr.weight.numpy(), dynamic)


def test_the_composite_takes_networks_or_configs_and_gradients_reach_the_predictor(rng):
    from_config = BlindSR(**BlindSR.test_args)
    net = BlindSR(generator=from_config.generator, predictor=from_config.predictor)
    assert net.scale == 2
    x = paddle.to_tensor(rng.random((2, 3, 9, 8), dtype=np.float32))
    _, weights = net.predictor(x)
    net.eval()
    np.testing.assert_array_equal(net(x).numpy(), net.generator(x, weights).numpy())
    net(x).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in net.predictor.parameters())


@pytest.mark.parametrize(("axis", "p"), [(3, 0.2), (2, 0.01)])
def test_whole_lines_are_dropped_and_the_rest_is_scaled(axis, p):
    paddle.seed(0)
    x = paddle.ones([5, 3, 7 if axis == 3 else 400, 400 if axis == 3 else 7])
    x.stop_gradient = False
    y = LineDropout(p, axis)(x)
    y.sum().backward()
    values = y.numpy()
    assert np.array_equal(x.grad.numpy(), values)  # the gradient of a product with ones is the mask
    lines = np.moveaxis(values, axis, 1).reshape(5, 400, -1)
    assert (lines == lines[:, :, :1]).all()
    mask = lines[:, :, 0]
    assert np.allclose(np.unique(mask), [0, 1 / (1 - p)])
    assert any((mask[0] != other).any() for other in mask[1:])
    sigma = np.sqrt(p / ((1 - p) * mask.size))
    assert abs(mask.mean() - 1) <= 3.5 * sigma


def test_dropout_in_evaluation_and_of_probability_zero_is_the_identity():
    x = paddle.rand([2, 3, 4, 5])
    layer = LineDropout(0.9, 3)
    layer.eval()
    assert layer(x) is x
    assert LineDropout(0.0, 2)(x) is x
    assert float(LineDropout(1.0, 2)(x).abs().sum()) == 0


def test_a_dropout_probability_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match="between 0 and 1"):
        LineDropout(1.5, 3)
