"""MS-SSIM and LPIPS of 8-bit images."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.criterions.lpips import LPIPS
from ppsr.errors import DataError
from ppsr.metrics import similarity
from ppsr.metrics.psnr_ssim import SSIM
from ppsr.metrics.similarity import MSSSIM


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
