"""PSNR and SSIM against independent formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ppsr.errors import DataError
from ppsr.metrics.psnr_ssim import PSNR, psnr, ssim


@pytest.fixture
def pair(rng):
    gt = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    sr = np.clip(gt + rng.integers(-9, 10, gt.shape), 0, 255).astype(np.uint8)
    return sr, gt


def test_psnr_of_a_constant_difference_is_its_closed_form():
    gt = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(gt + 5, gt) == pytest.approx(20 * np.log10(255 / 5))


def test_luma_of_a_gray_difference_is_scaled_by_219_of_255():
    gt = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(gt + 5, gt, test_y_channel=True) == pytest.approx(20 * np.log10(255 / 5 * 255 / 219))


def test_equal_images_have_infinite_psnr_and_ssim_one(pair):
    assert psnr(pair[1], pair[1]) == float("inf")
    assert ssim(pair[1], pair[1]) == pytest.approx(1)


def _definition(a, b):
    """scipy's Gaussian of radius 5 is the same window; variances come one by one."""

    def mean(x):
        return gaussian_filter(x, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    variance_a, variance_b = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    covariance = mean(a * b) - mean(a) * mean(b)
    similarity = (
        (2 * mean(a) * mean(b) + 6.5025)
        * (2 * covariance + 58.5225)
        / ((mean(a) ** 2 + mean(b) ** 2 + 6.5025) * (variance_a + variance_b + 58.5225))
    )
    return similarity.mean()


@pytest.mark.parametrize("rows", [11, 40, 74, 75, 333, 700])
def test_ssim_equals_the_definition_however_it_is_split(rows, rng):
    gt = rng.integers(0, 256, (rows, 30, 3), dtype=np.uint8)
    sr = np.clip(gt + rng.integers(-20, 21, gt.shape), 0, 255).astype(np.uint8)
    planes = [(sr[..., c].astype(float), gt[..., c].astype(float)) for c in range(3)]
    assert ssim(sr, gt) == pytest.approx(np.mean([_definition(a, b) for a, b in planes]), abs=1e-9)
    on_y = [x @ np.array([65.481, 128.553, 24.966]) / 255 + 16 for x in (sr.astype(float), gt.astype(float))]
    assert ssim(sr, gt, test_y_channel=True) == pytest.approx(_definition(*on_y), abs=1e-9)
    mse = np.mean((on_y[0] - on_y[1]) ** 2)
    assert psnr(sr, gt, test_y_channel=True) == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-9)


def test_pixels_of_the_border_do_not_count(pair):
    sr, gt = pair
    spoiled = sr.copy()
    spoiled[:4], spoiled[-4:], spoiled[:, :4], spoiled[:, -4:] = 0, 0, 0, 0
    assert PSNR(crop_border=4)(spoiled, gt) == PSNR(crop_border=4)(sr, gt)
    assert PSNR(crop_border=3)(spoiled, gt) != PSNR(crop_border=3)(sr, gt)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_unequal_sizes_are_refused(metric, pair):
    with pytest.raises(DataError, match="unequal size"):
        metric(pair[0][:-1], pair[1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", [psnr, ssim])
def test_nan_and_infinity_are_refused_on_either_side(metric, value, pair):
    broken = pair[0].astype(np.float32)
    broken[3, 4, 1] = value
    for images in ((broken, pair[1]), (pair[1], broken)):
        with pytest.raises(DataError, match="NaN or infinite"):
            metric(*images)


def test_a_border_that_leaves_nothing_is_refused(pair):
    with pytest.raises(DataError, match="border of 20 leaves nothing"):
        psnr(*pair, crop_border=20)
