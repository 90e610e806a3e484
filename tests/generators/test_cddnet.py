from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.static import InputSpec

from ppsr.errors import ConfigError
from ppsr.generators.cddnet import BlindSR, CDDNet
from ppsr.generators.degradation_predictor import DegradationPredictor
from ppsr.weights import load_state

_TINY = {"num_feat": 4, "num_block": 1, "num_models": 3}


def _count(net):
    return sum(int(np.prod(p.shape)) for p in net.parameters())


def _inputs(net, n, h, w):
    return [paddle.to_tensor(a) for a in net.example_inputs(n, h, w)]


@pytest.mark.parametrize(
    ("upscale", "use_rc", "expected"),
    [(4, True, 7_608_783), (3, True, 7_793_423), (2, True, 6_870_223), (4, False, 7_587_855)],
)
def test_published_sizes(upscale, use_rc, expected):
    assert _count(CDDNet(upscale=upscale, use_rc=use_rc)) == expected


def test_published_size_of_the_predictor():
    assert _count(DegradationPredictor(num_params=33)) == 468_143


@pytest.mark.smoke
@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
def test_any_size_is_enlarged_and_every_parameter_gets_a_gradient(upscale):
    net = CDDNet(upscale=upscale, **_TINY)
    y = net(*_inputs(net, 2, 7, 5))
    assert list(y.shape) == [2, 3, 7 * upscale, 5 * upscale]
    y.square().sum().backward()
    assert [k for k, p in net.named_parameters() if p.grad is None or not float(p.grad.abs().sum())] == []


def test_dasr_is_cddnet_without_the_attention():
    ours, dasr = (set(CDDNet(use_rc=rc, **_TINY).state_dict()) for rc in (True, False))
    assert {k.split(".")[0] for k in ours - dasr} == {"RC"}
    assert dasr < ours


def test_dropout_acts_in_training_only():
    net = CDDNet(upscale=2, column_dropout=0.5, **_TINY)
    inputs = _inputs(net, 1, 8, 8)
    assert float((net(*inputs) - net(*inputs)).abs().max()) > 0
    net.eval()
    assert float((net(*inputs) - net(*inputs)).abs().max()) == 0


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


@pytest.mark.parametrize("options", [{"upscale": 5}, {"num_in_ch": 1}])
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


@pytest.mark.parametrize("upscale", [1, 3])  # others: tests/inference/test_export.py, tests/test_configs.py
@pytest.mark.slow
def test_an_exported_composite_equals_dygraph_at_untraced_sizes(rng, tmp_path, upscale):
    args = dict(BlindSR.test_args)
    args["generator"] = {**args["generator"], "upscale": upscale}
    net = BlindSR(**args)
    net.eval()
    path = str(tmp_path / "net")
    paddle.jit.save(net, path, input_spec=[InputSpec([None, 3, None, None], "float32")])
    loaded = paddle.jit.load(path)
    for shape in ((1, 3, 9, 14), (3, 3, 17, 11)):
        x = paddle.to_tensor(rng.random(shape, dtype=np.float32))
        expected = net(x).numpy()
        assert np.abs(loaded(x).numpy() - expected).max() <= 1e-5 * np.abs(expected).max()
