"""Local attribution maps against the notebooks' code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppsr.analysis.lam import LamSettings, blur_kernels, blur_path, gini, lam, path_steps
from ppsr.registry import build_generator
from ppsr.weights.loading import apply_state
from tests.golden.files import Golden, assert_close, golden


def build(case: Golden):
    net = build_generator(case.meta["network"], **case.meta["kwargs"])
    apply_state(net, case.params, layout="torch")
    return net


def settings_of(case: Golden) -> LamSettings:
    given = case.meta["lam"]
    return LamSettings(
        window=given["window"],
        top=given["h"],
        left=given["w"],
        sigma=given["sigma"],
        fold=given["fold"],
        kernel_size=given["l"],
    )


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
    steps = list(path_steps(build(case), case["input/image_chw"], settings_of(case)))
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
    result = lam(build(case), case["input/image_chw"], settings_of(case))
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
