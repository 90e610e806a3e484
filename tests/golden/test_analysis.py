"""Channel saliency and ablation, local attribution, and principal components against the released code."""

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import paddle
import pytest

from ppsr.analysis.csm import ablate, channel_saliency, cumulative_gains, published_psnr, single_gains
from ppsr.analysis.ddr import calinski_harabasz, principal_components
from ppsr.analysis.feature_maps import feature_maps
from ppsr.analysis.lam import (
    LamSettings,
    blur_kernels,
    blur_path,
    edge_strength,
    gini,
    lam,
    magnitude_map,
    path_steps,
    signed_map,
)
from ppsr.analysis.layers import edited, inspect_layers
from ppsr.generators.apply import super_resolve
from ppsr.registry import build_generator
from ppsr.weights.loading import load_state
from tests.golden.files import Golden, assert_close, golden

DETAILS_BLOCKS = 16  # the released "details" classes ignore num_block
ROUNDING = 1e-5  # of the largest value: float32 sums of some twenty layers in another order
PLACES = {"first": "feat_first", "hr": "feat_hr", "last": "feat_last"}


def build(case: Golden):
    net = build_generator("MSRResNet", **{**case.meta["kwargs"], "num_block": DETAILS_BLOCKS})
    load_state(net, case.params, layout="torch")
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


def build_generator_of(case: Golden):
    net = build_generator(case.meta["network"], **case.meta["kwargs"])
    load_state(net, case.params, layout="torch")
    return net


def settings_of(case: Golden) -> LamSettings:
    names = {
        "window": "window",
        "h": "top",
        "w": "left",
        "sigma": "sigma",
        "fold": "fold",
        "l": "kernel_size",
    }
    return LamSettings(**{ours: case.meta["lam"][theirs] for theirs, ours in names.items()})


@golden("lam_*")
def test_path_equals_the_notebook(path: Path) -> None:
    case = Golden(path)
    settings = settings_of(case)
    kernels = blur_kernels(settings.sigma, settings.fold, settings.kernel_size)
    assert_close(kernels, case["output/kernels_l_sigma"], atol=1e-12, what="kernels")
    images, slopes = blur_path(case["input/image_chw"], kernels, 0, settings.fold)
    for name, index in (("first", 0), ("mid", settings.fold // 2), ("last", settings.fold - 1)):
        assert_close(images[index], case[f"output/interp_{name}"], atol=1e-6, what=f"{name} image")
        assert_close(slopes[index], case[f"output/dlambda_{name}"], atol=1e-5, what=f"{name} derivative")


@pytest.mark.slow
@golden("lam_*")
@pytest.mark.smoke
def test_attributions_of_every_step_equal_the_notebook(path: Path) -> None:
    case = Golden(path)
    steps = list(path_steps(build_generator_of(case), case["input/image_chw"], settings_of(case)))
    attributions = np.concatenate([part.attributions for part in steps])
    # float32 sums in another order; the bound is relative to the largest attribution
    assert_close(attributions, case["output/grad_steps"], rtol=2e-3, what="attributions")
    objectives = np.concatenate([part.objectives for part in steps])
    assert_close(objectives, case["output/objective_values"], rtol=1e-4, what="objectives")
    assert_close(steps[-1].sr[None], case["output/sr_last"], rtol=1e-4, what="SR")


@pytest.mark.slow
@golden("lam_*")
def test_maps_and_diffusion_index_equal_the_notebook(path: Path) -> None:
    case = Golden(path)
    result = lam(build_generator_of(case), case["input/image_chw"], settings_of(case))
    assert_close(result.gradient, case["output/grad_chw"], rtol=1e-3, what="gradient")
    assert_close(result.map, case["output/grad_abs_norm"], atol=1e-3, what="map")
    assert_close(result.signed, case["output/grad_norm"], atol=1e-3, what="signed map")
    assert_close(gini(result.map), case["output/gini"], atol=1e-4, what="Gini")
    assert_close(result.diffusion_index, case["output/diffusion_index"], atol=1e-2, what="DI")
    assert_close(
        result.diffusion_index, case["output/diffusion_index_float64"], atol=1e-2, what="DI in float64"
    )
    share = 0.95
    assert abs(result.contributing_pixels(share) - int(case["output/count_saliency_pixels_95"])) <= 1


@golden("functions_reflash_ddr*")
@pytest.mark.smoke
def test_principal_components_equal_the_recorded_ones(path: Path) -> None:
    case = Golden(path)
    pca = principal_components(case["input/features"], case.meta["n_components"])
    assert_close(np.abs(pca.scores), case["output/pca_abs"], rtol=1e-8, what="scores")
    assert_close(pca.scores @ pca.scores.T, case["output/pca_gram"], rtol=1e-8, what="products")
    assert_close(pca.variance, case["output/explained_variance"], rtol=1e-8, what="variance")
    assert_close(pca.variance_ratio, case["output/explained_variance_ratio"], rtol=1e-8, what="ratio")


@golden("functions_reflash_ddr*")
def test_index_equals_the_recorded_one(path: Path) -> None:
    case = Golden(path)
    features, labels = case["input/features"], case["input/labels"]
    scores = principal_components(features, case.meta["n_components"]).scores
    for name, points in (("raw", features), ("pca", scores), ("pca2d", scores[:, :2])):
        assert_close(calinski_harabasz(points, labels), case[f"output/chi_{name}"], rtol=1e-8, what=name)
