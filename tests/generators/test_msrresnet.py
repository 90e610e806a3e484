"""MSRResNet and RRDBNet: places of dropout, key layouts, the global residual."""

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError
from ppsr.generators.blocks.feature_dropout import FeatureDropout
from ppsr.generators.msrresnet import MSRResNet
from ppsr.generators.rrdbnet import ResidualDenseBlock, RRDBNet
from ppsr.weights.loading import load_state

X4_PLACES = ["first", "b1", "b4", "up1", "upconv1", "up2", "upconv2", "hr", "last"]


def image(side: int = 6) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32))


def small(**options) -> MSRResNet:
    paddle.seed(0)
    return MSRResNet(**{"num_feat": 8, "num_block": 4, "upscale": 4, **options})


def shapes_dropped(net) -> list[list[int]]:
    """Shapes of the features that dropout sees in one training forward."""
    seen = []

    def keep_all(x):
        seen.append(list(x.shape))
        return paddle.ones([1])

    net.train()
    net.dropout.drop.draw_mask = keep_all
    net(image())
    return seen


@pytest.mark.parametrize("place", X4_PLACES)
def test_every_place_drops_once_and_changes_no_parameter(place: str) -> None:
    net = small(dropout={"type": "channel", "p": 0.5, "positions": [place]})
    assert len(shapes_dropped(net)) == 1
    assert net.state_dict().keys() == small().state_dict().keys()


def test_five_places_are_visited_from_the_outputs_of_upconv1_to_the_last_convolution() -> None:
    places = ["upconv1", "up2", "upconv2", "hr", "last"]
    net = small(dropout={"type": "element", "p": 0.1, "positions": places})
    expected = [[1, 32, 6, 6], [1, 8, 12, 12], [1, 32, 12, 12], [1, 8, 24, 24], [1, 8, 24, 24]]
    assert shapes_dropped(net) == expected


@pytest.mark.parametrize(("share", "blocks"), [(0.25, [3]), (0.5, [2, 3]), (1.0, [0, 1, 2, 3])])
def test_residual_share_puts_dropout_into_the_last_blocks(share: float, blocks: list[int]) -> None:
    net = small(dropout={"type": "channel", "p": 0.5, "residual_share": share})
    assert [k for k, block in enumerate(net.body) if block.dropout is not None] == blocks
    assert shapes_dropped(net) == [[1, 8, 6, 6]] * len(blocks)


@pytest.mark.parametrize(("kind", "mask"), [("channel", [3, 50, 1, 1]), ("element", [3, 50, 4, 5])])
def test_dropout_drops_with_probability_p_and_keeps_the_mean(kind: str, mask: list[int]) -> None:
    paddle.seed(1)
    dropout = FeatureDropout(kind, 0.7)
    x = paddle.ones([3, 50, 4, 5])
    assert list(dropout.draw_mask(x).shape) == mask
    y = dropout(x).numpy()
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.3], rtol=1e-6)
    # 150 Bernoulli draws of a channel mask: five standard deviations are 0.19
    assert abs((y == 0).mean() - 0.7) < 0.19
    dropout.eval()
    assert (dropout(x) == x).all()


def test_without_global_residual_the_enlarged_input_is_missing() -> None:
    net, bare = small(upscale=2), small(upscale=2, global_residual=False)
    load_state(bare, {key: value.numpy() for key, value in net.state_dict().items()})
    x = image()
    enlarged = paddle.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
    np.testing.assert_allclose(net(x).numpy(), (bare(x) + enlarged).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upscale": 5}, "upscale must be 1, 2, 3 or 4"),
        ({"num_out_ch": 1}, "set global_residual to false"),
        ({"dropout": {"positions": ["lst"]}}, "did you mean 'last'"),
        ({"dropout": {"positions": ["b5"]}}, "no dropout position 'b5'"),
        ({"dropout": {"position": ["last"]}}, "did you mean 'positions'"),
        ({"dropout": {"type": "pixel"}}, "'channel' or 'element'"),
        ({"dropout": {"p": 1.0}}, "0 <= p < 1"),
        ({"dropout": {"residual_share": 2}}, "share of the blocks"),
        ({"upscale": 2, "dropout": {"positions": "up2"}}, "no dropout position 'up2'"),
        ({"upscale": 1, "dropout": {"positions": "up1"}}, "no dropout position 'up1'"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_rrdbnet_refuses_other_scales_and_residual_share() -> None:
    with pytest.raises(ConfigError, match="1, 2, 4, 8 or 16, got 3"):
        RRDBNet(scale=3)
    with pytest.raises(ConfigError, match="no option 'residual_share'"):
        RRDBNet(num_block=1, dropout={"residual_share": 0.5})


@pytest.mark.parametrize(("scale", "multiple"), [(4, 1), (2, 2), (1, 4)])
def test_rrdbnet_enlarges_multiples_of_its_folding(scale: int, multiple: int) -> None:
    net = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2, scale=scale)
    assert net.size_multiple == multiple
    assert list(net(image(2 * multiple)).shape) == [1, 3, 2 * multiple * scale, 2 * multiple * scale]


@pytest.mark.parametrize(("plus", "deviation"), [(True, 0.1), (False, 0.0)])
def test_dense_blocks_of_esrgan_plus_have_relative_noise_in_training(plus, deviation):
    paddle.seed(0)
    block = ResidualDenseBlock(8, 4, plus)
    x = paddle.rand([1, 8, 64, 64])
    block.eval()
    quiet = block(x).numpy()
    np.testing.assert_array_equal(block(x).numpy(), quiet)
    block.train()
    ratio = block(x).numpy() / quiet
    # 32768 draws: the standard errors of the mean and of the deviation are 6e-4 and 4e-4
    assert ratio.mean() == pytest.approx(1, abs=3e-3)
    assert ratio.std() == pytest.approx(deviation, abs=2e-3)
