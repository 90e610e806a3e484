"""The tails of SwinIR that enlarge by copying pixels, or not at all."""

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from ppsr.errors import ConfigError, DataError
from ppsr.generators.swinir import SwinIR


def build(**options) -> SwinIR:
    return SwinIR(**{**SwinIR.test_args, **options}).eval()


def test_the_tail_without_enlargement_has_the_layers_of_x4_and_keeps_the_size(rng) -> None:
    net, x4 = build(upsampler="nearest+conv_NoUp", upscale=1), build(upsampler="nearest+conv", upscale=4)
    weights = x4.state_dict()
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in weights.items()}
    net.set_state_dict(weights)
    x = paddle.to_tensor(rng.random((1, 3, 8, 12), dtype=np.float32))

    def conv(x, name, slope=None):
        y = F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
        return y if slope is None else F.leaky_relu(y, slope)

    with paddle.no_grad():
        mean = net.mean
        features = net.body(net.conv_first(x - mean))
        features = conv(features, "conv_before_upsample.0", 0.01)
        for name in ("conv_up1", "conv_up2", "conv_hr"):
            features = conv(features, name, 0.2)
        expected = conv(features, "conv_last") + mean
        ours = net(x)
    assert ours.shape == x.shape
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), atol=1e-6)
    assert net.scale == 1


@pytest.mark.parametrize(("upsampler", "upscale"), [("nearest+conv_NoUp", 4), ("nearest+conv", 3)])
def test_a_factor_that_a_tail_cannot_do_is_refused(upsampler, upscale) -> None:
    with pytest.raises(ConfigError, match="is for upscale"):
        build(upsampler=upsampler, upscale=upscale)


def test_an_unknown_tail_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="nearest\\+conv_NoUp"):
        build(upsampler="nearest")


def test_a_position_embedding_says_which_size_it_is_for() -> None:
    net = build(ape=True, img_size=8)
    with pytest.raises(DataError, match=r"for images of 64 pixels \(img_size\), got 8x12"):
        net(paddle.zeros([1, 3, 8, 12]))
