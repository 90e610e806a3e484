"""Channel saliency maps and ablation against the released code."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import paddle
import pytest

from ppsr.analysis.csm import ablate, channel_saliency, cumulative_gains, published_psnr, single_gains
from ppsr.analysis.feature_maps import feature_maps
from ppsr.analysis.lam import edge_strength, magnitude_map, signed_map
from ppsr.analysis.layers import edited, inspect_layers
from ppsr.generators.apply import super_resolve
from ppsr.registry import build_generator
from ppsr.weights.loading import apply_state
from tests.golden.files import Golden, assert_close, golden

DETAILS_BLOCKS = 16  # the released "details" classes ignore num_block
ROUNDING = 1e-5  # of the largest value: float32 sums of some twenty layers in another order
PLACES = {"first": "feat_first", "hr": "feat_hr", "last": "feat_last"}


def build(case: Golden):
    net = build_generator("MSRResNet", **{**case.meta["kwargs"], "num_block": DETAILS_BLOCKS})
    apply_state(net, case.params, layout="torch")
    return net


def ours(place: str) -> str:
    return PLACES.get(place) or f"body.{int(place[1:]) - 1}"


def places(case: Golden, prefix: str) -> list[str]:
    """Layers for which a file has entries; the SR image ("final") is none."""
    found = (re.fullmatch(rf"{prefix}_(first|b\d+|hr|last)", key) for key in case.group("output"))
    return [match[1] for match in found if match]


@golden("reflash_csm*")
@pytest.mark.smoke
def test_gradients_and_importance_of_channels_equal_the_released_code(path: Path) -> None:
    case = Golden(path)
    names = [ours(place) for place in places(case, "gradmax")]
    result = channel_saliency(build(case), case["input/lr"], names)
    assert_close(result.sr[None], case["output/sr"], rtol=ROUNDING, what="SR")
    assert_close(result.objective, case["output/objective"], rtol=1e-5, what="objective")
    assert_close(result.lq_gradient, case["output/lr_grad"], rtol=1e-3, what="gradient by the image")
    assert_close(magnitude_map(result.lq_gradient), case["output/grad_abs_norm_lr"], atol=1e-3, what="map")
    assert_close(signed_map(result.lq_gradient), case["output/grad_norm_lr"], atol=1e-3, what="signed map")
    for place in places(case, "gradmax"):
        layer = result.layers[ours(place)]
        assert_close(layer.peak, case[f"output/gradmax_{place}"], rtol=1e-3, what=f"peak of {place}")
        assert_close(layer.importance, case[f"output/channel_saliency_{place}"], rtol=1e-3, what=place)
    for place in places(case, "grad"):
        assert_close(result.layers[ours(place)].gradient, case[f"output/grad_{place}"], rtol=1e-3, what=place)


@golden("reflash_csm*")
def test_gradient_by_the_sr_image_equals_the_released_code(path: Path) -> None:
    case = Golden(path)
    sr = paddle.to_tensor(case["output/sr"], stop_gradient=False)
    strength = edge_strength(sr)
    strength.sum().backward()
    gradient = np.abs(sr.grad.numpy()[0])
    assert_close(gradient.max(), case["output/gradmax_final"], rtol=1e-4, what="peak")
    sums = (gradient / gradient.max()).sum(axis=(1, 2), dtype=np.float64)
    assert_close(sums, case["output/channel_saliency_final"], rtol=1e-4, what="importance")
    _, channels, height, width = sr.shape
    mean = float(strength.sum()) / (channels * (height - 1) * (width - 1))
    assert_close(mean, case["output/attr_grad_mean"], rtol=1e-5, what="mean edge strength")


@golden("reflash_csm*")
def test_coloured_maps_equal_the_released_images(path: Path) -> None:
    case = Golden(path)
    compared = 0
    for key, image in case.group("output").items():
        match = re.fullmatch(r"saliency_rgb_(\w+)_ch(\d+)", key)
        if match:
            layer = channel_saliency(build(case), case["input/lr"], [ours(match[1])]).layers[ours(match[1])]
            rgba = mpl.colormaps["seismic"](0.5 + 0.5 * layer.maps[int(match[2])])
            coloured = (255 * rgba[..., :3]).astype(np.uint8)
            # one step of the colour map is up to 4 levels
            assert_close(coloured.astype(int), image.astype(int), atol=4, what=key)
            compared += 1
    assert compared


@golden("reflash_csm*")
def test_ablation_of_single_channels_equals_the_released_code(path: Path) -> None:
    case = Golden(path)
    net = build(case)
    lq, gt = case["input/lr"], case["input/hr"]
    for place in places(case, "ablation_psnr"):
        name = ours(place)
        ((layer, features),) = feature_maps(net, lq, [name]).values()
        gains = single_gains(features)
        result = ablate(net, lq, gt, name, gains)
        # a value at the edge of an 8-bit step may fall to the other side
        assert_close(
            result.psnr, case[f"output/ablation_psnr_{place}"], atol=2e-3, what=f"PSNR without {place}"
        )
        assert_close(result.change, case[f"output/ablation_meanabs_{place}"], rtol=ROUNDING, what=place)
        # the released images of features are scaled to 0..255; a channel's rounding comes from all of them
        assert_close(
            features[0] * 255,
            case[f"output/featmap_{place}_ch0"],
            atol=ROUNDING * 255 * float(np.abs(features).max()),
            what=f"map of {place}",
        )
        row = paddle.to_tensor(gains[0].reshape(1, -1, 1, 1))
        with edited(net, layer, lambda x, row=row: x * row):
            sr = super_resolve(net, paddle.to_tensor(lq[None]))
        assert_close(
            sr.numpy()[0], case[f"output/ablation_ch0_{place}"], rtol=ROUNDING, what=f"SR without {place}"
        )
        assert published_psnr(sr.numpy()[0], gt) == pytest.approx(result.psnr[0], abs=2e-3)


@golden("reflash_csm*")
def test_cumulative_removal_equals_the_released_code(path: Path) -> None:
    case = Golden(path)
    if "input/cumulative_order" not in case:
        pytest.skip("this file has no cumulative removal; the released class knows the scale 4 alone")
    net = build(case)
    name = inspect_layers(net).deepest
    assert name == "feat_last"
    ((_, features),) = feature_maps(net, case["input/lr"], [name]).values()
    gains = cumulative_gains(features, case["input/cumulative_order"])
    result = ablate(net, case["input/lr"], case["input/hr"], name, gains)
    assert_close(result.change, case["output/cumulative_meanabs"], rtol=ROUNDING, what="change")
