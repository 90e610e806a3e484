"""Layers by name."""

import inspect

import numpy as np
import paddle
import pytest
from paddle import nn

from ppsr.analysis.batches import fitting_batch, in_batches
from ppsr.analysis.feature_maps import effective_rank, feature_maps, statistics
from ppsr.analysis.layers import as_map, edited, frozen, inspect_layers
from ppsr.errors import ConfigError
from ppsr.generators.apply import apply_generator, capture, super_resolve
from ppsr.registry import GENERATORS, build_generator
from tests.networks import network


def _takes_an_image(name: str) -> bool:
    cls = GENERATORS.get(name)
    makes_image = getattr(cls, "produces_image", True) and name != "DegradationPredictor"
    return makes_image and len(inspect.signature(cls.forward).parameters) == 2


@pytest.mark.parametrize("name", GENERATORS.names())
def test_every_generator_offers_its_layers(name, rng):
    if not _takes_an_image(name):
        pytest.skip("needs more than an image, or makes none")
    net = network(name)
    layers = inspect_layers(net)
    assert set(layers.outline) <= set(layers.maps)
    assert layers.outline
    assert layers.deepest in layers.maps
    side = 3 * int(getattr(net, "size_multiple", 1))
    x = paddle.to_tensor(rng.random((1, layers.in_channels, side, side), dtype=np.float32))
    with frozen(net), capture(net, layers.maps) as seen:
        super_resolve(net, x)
    for layer in layers.maps.values():
        maps = as_map(layer, seen[layer.name].numpy()[0])
        assert maps.shape[0] == layer.channels
        # strided layers round odd sides up
        assert abs(maps.shape[1] - side * layer.size) < 1


@pytest.mark.parametrize(
    ("name", "deepest"),
    [
        ("MSRResNet", "feat_last"),
        ("RRDBNet", "feat_last"),
        ("SwinIR", "upsample.1"),
        ("SRVGGNetCompact", "body.5"),
        ("RCAN", "tail.0.1"),  # its last convolution shifts the mean of an image
        ("DRNGenerator", "up_blocks.1.2"),  # a concatenation feeds the last convolution
    ],
)
def test_the_deepest_layer_feeds_the_last_convolution(name, deepest):
    assert inspect_layers(network(name)).deepest == deepest


def test_tokens_of_transformers_are_told_from_maps_even_where_channels_equal_a_side():
    layers = inspect_layers(network("SwinIR", embed_dim=24, num_heads=[2]))
    assert not layers.maps["conv_first"].channels_last
    assert layers.maps["norm"].channels_last
    assert layers.maps["norm"].channels == layers.maps["conv_first"].channels == 24


def test_an_unknown_layer_is_answered_by_the_nearest():
    layers = inspect_layers(network("MSRResNet"))
    with pytest.raises(ConfigError, match="did you mean 'feat_last'"):
        layers.find(["feat_lost"])


def test_a_layer_that_runs_twice_is_refused():
    net = build_generator("MSRResNet", num_feat=4, num_block=1, upscale=4)
    with pytest.raises(ConfigError, match="'pixel_shuffle' runs more than once"):
        inspect_layers(net).find(["pixel_shuffle"])


@pytest.mark.smoke
def test_freezing_leaves_input_gradients_and_the_network_as_they_were(rng):
    net = network("SwinIR")
    net.train()
    for parameter in net.parameters():  # the initial weights of normalisation are all one
        parameter.set_value(
            parameter + paddle.to_tensor(rng.normal(0, 0.1, parameter.shape).astype(np.float32))
        )
    net.norm.weight.stop_gradient = True
    net.norm.bias.grad = paddle.ones_like(net.norm.bias)
    flags = {key: parameter.stop_gradient for key, parameter in net.named_parameters()}
    data = rng.random((1, 3, 16, 16), dtype=np.float32)

    def gradient() -> np.ndarray:
        x = paddle.to_tensor(data, stop_gradient=False)
        (apply_generator(net, x) ** 2).sum().backward()
        return x.grad.numpy()

    with frozen(net):
        assert not net.training
        assert sum(not p.stop_gradient for p in net.parameters()) < len(net.parameters()) / 2
        found = gradient()
    assert net.training
    assert {key: parameter.stop_gradient for key, parameter in net.named_parameters()} == flags
    assert net.patch_embed.norm.weight.grad is None or not net.patch_embed.norm.weight.grad.numpy().any()
    assert (net.norm.bias.grad.numpy() == 1).all()
    net.eval()
    net.norm.weight.stop_gradient = False
    expected = gradient()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_an_edit_replaces_the_output_only_inside(rng):
    net = network("MSRResNet")
    layers = inspect_layers(net)
    x = paddle.to_tensor(rng.random((1, 3, 8, 8), dtype=np.float32))
    before = super_resolve(net, x).numpy()
    with edited(net, layers.maps["feat_last"], lambda y: y * 0):
        without = super_resolve(net, x).numpy()
    assert np.abs(without - before).max() > 1e-6
    np.testing.assert_array_equal(super_resolve(net, x).numpy(), before)


def test_a_network_without_maps_is_refused():
    class Plain(nn.Layer):
        scale = 1

        def forward(self, x):
            return x * 2

    with pytest.raises(ConfigError, match="no layer of Plain"):
        inspect_layers(Plain())


def test_maps_are_what_the_layers_give_channels_first(rng):
    net = network("SwinIR")
    lq = rng.random((3, 8, 8), dtype=np.float32)
    found = feature_maps(net, lq, ["norm", "conv_first"])
    assert list(found) == ["norm", "conv_first"]
    with paddle.no_grad():
        mean = net.mean
        shallow = net.conv_first((paddle.to_tensor(lq[None]) - mean) * net.img_range)
        deep = net.features(shallow)
    np.testing.assert_allclose(found["conv_first"][1], shallow.numpy()[0], atol=1e-6)
    np.testing.assert_allclose(found["norm"][1], deep.numpy()[0], atol=1e-5)


def test_effective_rank_of_known_maps(rng):
    orthogonal = np.linalg.qr(rng.normal(size=(64, 5)))[0].T.reshape(5, 8, 8)
    assert effective_rank(orthogonal) == pytest.approx(5, rel=1e-6)
    copies = np.repeat(rng.normal(size=(1, 8, 8)), 5, axis=0)
    assert effective_rank(copies) == pytest.approx(1, rel=1e-4)
    assert effective_rank(np.zeros((5, 8, 8))) == 0
    # two directions of strengths 3 and 1: entropy of (3/4, 1/4)
    two = orthogonal[:2] * np.array([3, 1])[:, None, None]
    assert effective_rank(two) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))


def test_statistics_of_known_maps():
    maps = np.stack([np.full((4, 4), 2.0), np.tile([1.0, -1.0], (4, 2))])
    found = statistics(maps)
    assert found.energy == pytest.approx((4 + 1) / 2)
    assert found.contrast == pytest.approx(0.5)
    assert (found.largest, found.median, found.smallest) == (2, 1.5, -1)
    assert found.rank_share == pytest.approx(found.rank / 2)


def test_batches_shrink_where_memory_runs_out(caplog):
    def work(start, stop):
        if stop - start > 2:
            raise MemoryError
        return list(range(start, stop))

    parts = list(in_batches(work, 7, 7))
    assert [item for _, _, items in parts for item in items] == list(range(7))
    assert [(start, stop) for start, stop, _ in in_batches(work, 5, 2)] == [(0, 2), (2, 4), (4, 5)]
    assert "batches of 3" in caplog.text
    with pytest.raises(MemoryError):  # not even one fits
        list(in_batches(lambda start, stop: work(0, 9), 3, 3))


def test_the_batch_follows_the_budget():
    net = build_generator("SRVGGNetCompact", num_feat=8, num_conv=2, upscale=2)
    x = paddle.zeros([1, 3, 32, 32])
    small, large = (fitting_batch(net, x, memory_mib=m, most=1000) for m in (4, 8))
    assert 1 <= small < large <= 2 * small + 1
    assert fitting_batch(net, x, memory_mib=8, most=2) == 2
    assert fitting_batch(net, paddle.zeros([1, 3, 512, 512]), memory_mib=1, most=50) == 1
    with pytest.raises(ConfigError, match="positive"):
        fitting_batch(net, x, memory_mib=0, most=1)
