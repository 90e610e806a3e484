"""MS-SSIM and LPIPS of 8-bit images."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.criterions.lpips import LPIPS
from ppsr.errors import ConfigError, DataError
from ppsr.metrics import similarity
from ppsr.metrics.depth import MAD, PE, RMSE
from ppsr.metrics.psnr_ssim import SSIM
from ppsr.metrics.similarity import MSSSIM
from ppsr.registry import METRICS


def pair(rng, *shape):
    gt = rng.integers(0, 256, shape)
    return np.clip(gt + rng.integers(-30, 31, shape), 0, 255).astype(np.uint8), gt.astype(np.uint8)


@pytest.mark.parametrize("on_y", [False, True])
def test_one_scale_is_ssim(rng, on_y):
    sr, gt = pair(rng, 40, 48, 3)
    options = {"crop_border": 2, "test_y_channel": on_y}
    # the window of the one is float32
    assert MSSSIM(scales=1, **options)(sr, gt) == pytest.approx(SSIM(**options)(sr, gt), abs=1e-6)


def test_equal_images_score_one_and_small_ones_are_refused(rng):
    _, gt = pair(rng, 176, 180, 3)
    assert MSSSIM()(gt, gt) == pytest.approx(1, abs=1e-9)
    with pytest.raises(DataError, match="176 pixels"):
        MSSSIM(crop_border=1)(gt, gt)


def test_the_metric_is_the_distance_of_the_cropped_images_in_unit_range(monkeypatch, rng):
    net = LPIPS(net="alex")
    monkeypatch.setattr(similarity, "build_lpips", lambda **_: net)
    sr, gt = rng.integers(0, 256, (2, 70, 72, 3), dtype=np.uint8)
    inner = [
        paddle.to_tensor(x[3:-3, 3:-3].transpose(2, 0, 1)[None].astype("float32") / 127.5 - 1)
        for x in (sr, gt)
    ]
    metric = similarity.LPIPSMetric(crop_border=3)
    assert metric(sr, gt) == pytest.approx(net(*inner).item(), rel=1e-4)
    assert metric(gt, gt) == 0
    assert not metric.higher_is_better


GT = np.array([[10, 20], [40, 0]], np.uint8)
SR = np.array([[13, 16], [40, 5]], np.uint8)


def test_values_follow_the_formulas():
    assert RMSE()(SR, GT) == pytest.approx(np.sqrt((9 + 16 + 0 + 25) / 4))
    assert MAD()(SR, GT) == pytest.approx((3 + 4 + 0 + 5) / 4)
    assert PE()(SR, GT) == pytest.approx((0.3 + 0.2 + 0) / 3)


@pytest.mark.parametrize("metric", [RMSE, MAD, PE])
def test_a_perfect_map_is_0_when_safe_and_infinite_as_published(metric):
    known = GT + 1
    assert metric()(known, known) == 0
    assert metric(definition="published")(known, known) == np.inf


def test_published_relative_error_is_spoiled_by_unknown_depth():
    assert PE(definition="published")(SR, GT) == np.inf
    both_zero = SR * (GT > 0)
    assert np.isnan(PE(definition="published")(both_zero, GT))


def test_relative_error_without_any_known_depth_is_refused():
    with pytest.raises(DataError, match="unknown"):
        PE()(SR, GT * 0)


@pytest.mark.parametrize("metric", [RMSE, MAD, PE])
def test_infinite_depth_is_refused(metric):
    broken = SR.astype(np.float32)
    broken[0, 0] = np.inf
    with pytest.raises(DataError, match="infinite"):
        metric()(broken, GT)


def test_only_the_first_channel_counts():
    assert RMSE()(np.stack([SR, SR * 0], -1), np.stack([GT, GT], -1)) == RMSE()(SR, GT)


def test_an_unknown_definition_is_refused():
    with pytest.raises(ConfigError, match="safe, published"):
        METRICS.build({"name": "RMSE", "definition": "exact"})
