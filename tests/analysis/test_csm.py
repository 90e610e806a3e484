"""Channel saliency and ablation."""

import numpy as np
import paddle
import pytest

from ppsr.analysis.csm import ablate, channel_saliency, cumulative_gains, published_psnr, single_gains
from ppsr.analysis.feature_maps import feature_maps
from ppsr.analysis.lam import edge_strength
from ppsr.analysis.layers import edited, inspect_layers
from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import super_resolve
from ppsr.registry import build_generator
from tests.networks import network


@pytest.fixture
def net(rng):
    network = build_generator("MSRResNet", num_feat=6, num_block=2, upscale=2)
    for parameter in network.parameters():  # it starts so small that differences drown in rounding
        parameter.set_value(rng.normal(0, 0.2, parameter.shape).astype(np.float32))
    return network


@pytest.fixture
def swinir():
    return network("SwinIR")


@pytest.mark.parametrize(("which", "step"), [("net", 1e-3), ("swinir", 2e-2)])  # the second has no kinks
def test_gradients_equal_differences_of_the_objective(which, step, rng, request):
    """d objective / d gain of a channel = sum of gradient * feature, also for tokens (channels last)."""
    net = request.getfixturevalue(which)
    name = "body.0" if which == "net" else "norm"
    lq = rng.random((3, 8, 8), dtype=np.float32)
    saliency = channel_saliency(net, lq, [name]).layers[name]
    channels = np.arange(saliency.layer.channels)
    expected = (saliency.gradient * saliency.features).sum(axis=(1, 2), dtype=np.float64)

    def objective(channel: int, gain: float) -> float:
        row = np.ones(len(channels), np.float32)
        row[channel] = gain
        shape = [1, 1, 1, -1] if saliency.layer.channels_last else [1, -1, 1, 1]
        with edited(net, saliency.layer, lambda y: y * paddle.to_tensor(row.reshape(shape))):
            return float(
                edge_strength(super_resolve(net, paddle.to_tensor(lq[None])).astype("float64")).sum()
            )

    for channel in channels[:3]:
        slope = (objective(channel, 1 + step) - objective(channel, 1 - step)) / (2 * step)
        assert slope == pytest.approx(expected[channel], abs=2e-2 * np.abs(expected).max())


def test_a_layer_without_influence_has_zero_saliency(net, rng):
    net.conv_last.weight.set_value(np.zeros(net.conv_last.weight.shape, np.float32))
    layer = channel_saliency(net, rng.random((3, 8, 8), dtype=np.float32), ["feat_last"]).layers["feat_last"]
    assert not layer.importance.any()


@pytest.mark.parametrize("which", ["net", "swinir"])
def test_removing_a_channel_that_is_zero_changes_nothing(which, rng, request):
    net = request.getfixturevalue(which)
    layer = net.conv_hr if which == "net" else net.conv_first
    name = "conv_hr" if which == "net" else "conv_first"
    for tensor in (layer.weight, layer.bias):
        value = tensor.numpy()
        value[2] = 0
        tensor.set_value(value)
    lq = rng.random((3, 8, 8), dtype=np.float32)
    gt = rng.random((3, 8 * net.scale, 8 * net.scale), dtype=np.float32)
    ((_, features),) = feature_maps(net, lq, [name]).values()
    result = ablate(net, lq, gt, name, single_gains(features))
    assert result.change[2] < 1e-6
    assert result.change.max() > 1e-4
    sr = super_resolve(net, paddle.to_tensor(lq[None])).numpy()[0]
    assert result.psnr[2] == pytest.approx(published_psnr(sr, gt), abs=1e-2)


def test_gains_keep_the_sum_of_magnitudes(rng):
    features = rng.normal(size=(5, 4, 3))
    order = rng.permutation(5)
    mass = np.abs(features).sum(axis=(1, 2))
    for gains in (single_gains(features), cumulative_gains(features, order)):
        np.testing.assert_allclose(gains @ mass, mass.sum(), rtol=1e-5)
    assert (np.diag(single_gains(features)) == 0).all()
    removed = cumulative_gains(features, order) == 0
    assert [set(np.flatnonzero(row)) for row in removed] == [set(order[: k + 1].tolist()) for k in range(4)]


def test_gains_of_dead_layers_are_finite():
    assert not single_gains(np.zeros((3, 2, 2))).any()


def test_gains_and_truth_that_do_not_fit_are_errors(net, rng):
    lq = rng.random((3, 8, 8), dtype=np.float32)
    with pytest.raises(ConfigError, match=r"gains \(K, 6\)"):
        ablate(net, lq, np.zeros((3, 16, 16), np.float32), "feat_last", np.ones((1, 5), np.float32))
    with pytest.raises(DataError, match="unequal size"):
        ablate(net, lq, np.zeros((3, 15, 16), np.float32), "feat_last", np.ones((1, 6), np.float32))
    with pytest.raises(ConfigError, match="did you mean 'feat_last'"):
        channel_saliency(net, lq, ["feat_least"])


def test_published_psnr_cuts_to_8_bit_and_calls_equals_80():
    a = np.full((3, 4, 4), 100.9 / 255, np.float32)
    assert published_psnr(a, np.full((3, 4, 4), 100.1 / 255, np.float32)) == 80
    b = np.full((3, 4, 4), 101.1 / 255, np.float32)
    assert published_psnr(a, b) == pytest.approx(20 * np.log10(255))


def test_layers_of_the_whole_network_are_inspected_in_evaluation(net, rng):
    dropped = build_generator(
        "MSRResNet", num_feat=6, num_block=2, upscale=2, dropout={"type": "channel", "p": 0.5}
    )
    dropped.set_state_dict(net.state_dict())
    dropped.train()
    lq = rng.random((3, 8, 8), dtype=np.float32)
    a, b = (channel_saliency(n, lq, ["feat_hr"]).layers["feat_hr"].gradient for n in (net, dropped))
    np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(a).max())
    assert inspect_layers(dropped).deepest == "feat_last"
