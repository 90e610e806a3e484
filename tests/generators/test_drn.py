"""DRN and RCAN: scales, mean shift, sizes, refused options, published keys."""

import numpy as np
import paddle
import pytest

from ppsr.criterions.dual_regression import drn_losses
from ppsr.errors import ConfigError
from ppsr.generators.drn import DRNDual, DRNGenerator, parse_scale
from ppsr.generators.rcan import RCAN
from ppsr.generators.srvgg import SRVGGNetCompact


@pytest.mark.parametrize("scale", ["(2, 4)", "[2, 4]", (2, 4), [2, 4], 4])
def test_all_spellings_of_a_scale_mean_the_same(scale) -> None:
    assert parse_scale(scale) == (2, 4)


@pytest.mark.parametrize("scale", [3, (4,), "(2, 4", "__import__('os')", (2, 8), True])
def test_other_scales_are_refused(scale) -> None:
    with pytest.raises(ConfigError, match=r"\[2, 4, 8\]"):
        parse_scale(scale)


@pytest.mark.parametrize(
    ("scale", "n_feats", "needed"),
    [((2,), 4, "at least 8"), ((2, 4), 3, "at least 4"), ((2, 4, 8), 3, "at least 4")],
)
def test_too_narrow_a_network_says_what_is_enough(scale: tuple, n_feats: int, needed: str) -> None:
    with pytest.raises(ConfigError, match=needed):
        DRNGenerator(scale=scale, n_blocks=1, n_feats=n_feats)
    DRNGenerator(scale=scale, n_blocks=1, n_feats=int(needed.rsplit(maxsplit=1)[-1]))


@pytest.mark.parametrize("cls", [DRNGenerator, RCAN])
def test_frozen_mean_shift_is_kept_in_the_state_but_not_trained(cls) -> None:
    trained, frozen = (cls(**cls.test_args, train_mean_shift=flag) for flag in (True, False))
    assert trained.state_dict().keys() == frozen.state_dict().keys()
    missing = {k for k, p in frozen.named_parameters() if p.stop_gradient}
    assert missing == {f"{shift}.{part}" for shift in ("sub_mean", "add_mean") for part in ("weight", "bias")}
    assert not any(p.stop_gradient for p in trained.parameters())
    mean = 255 * np.array([0.4488, 0.4371, 0.4040])
    np.testing.assert_allclose(frozen.add_mean.bias.numpy(), mean, rtol=1e-6)
    np.testing.assert_allclose(frozen.sub_mean.bias.numpy(), -mean, rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (17, 31)])
def test_pyramid_has_every_size_and_duals_bring_each_image_down(height: int, width: int) -> None:
    net, dual = DRNGenerator(scale=(2, 4), n_blocks=1, n_feats=4), DRNDual(n_feats=4)
    with paddle.no_grad():
        sr = net(255 * paddle.rand([1, 3, height, width]))
        sizes = [list(image.shape[2:]) for image in sr]
        assert sizes == [[height * factor, width * factor] for factor in (1, 2, 4)]
        for larger, smaller in zip(sr[1:], sizes[:-1], strict=True):
            assert list(dual(larger).shape[2:]) == smaller


def test_losses_refuse_an_unknown_style_and_a_missing_target() -> None:
    image = paddle.zeros([1, 3, 2, 2])
    with pytest.raises(ConfigError, match="'original' or 'paddledepth'"):
        drn_losses([image] * 2, [image], [image], image, style="paddle")
    with pytest.raises(ConfigError, match="need 2 LR targets"):
        drn_losses([image] * 3, [image] * 2, [image], image)


def test_rcan_has_the_published_keys() -> None:
    keys = set(RCAN(scale=4, n_resgroups=1, n_resblocks=1, n_feats=16).state_dict())
    stems = ["sub_mean", "head.0", "body.0.body.1", "body.1", "tail.0.0", "tail.0.2", "tail.1", "add_mean"]
    stems += [f"body.0.body.0.body.{part}" for part in ("0", "2", "3.conv_du.0", "3.conv_du.2")]
    assert keys == {f"{stem}.{part}" for stem in stems for part in ("weight", "bias")}


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (DRNGenerator, {"n_colors": 2}, "n_colors must be 1 or 3"),
        (DRNGenerator, {"negval": -0.1}, r"in \[0, 1\]"),
        (RCAN, {"scale": 5}, "2, 3, 4 or 8"),
        (RCAN, {"n_feats": 8}, "narrower than reduction"),
        (SRVGGNetCompact, {"act_type": "gelu"}, "prelu, relu or leakyrelu"),
        (SRVGGNetCompact, {"num_out_ch": 1}, "adds its input"),
        (SRVGGNetCompact, {"upscale": 0}, "at least 1"),
    ],
)
def test_impossible_options_are_refused(cls, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cls(**options)
