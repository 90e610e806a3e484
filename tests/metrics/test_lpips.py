"""LPIPS as a metric of 8-bit images."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.criterions.lpips import LPIPS
from ppsr.errors import ConfigError
from ppsr.metrics import lpips
from ppsr.registry import METRICS


def test_absent_weights_say_which_file_is_needed(tmp_path):
    with pytest.raises(ConfigError, match="alexnet-owt"):
        METRICS.build({"name": "LPIPSMetric", "weights": str(tmp_path / "none.pth")})


def test_the_metric_is_the_distance_of_the_cropped_images_in_unit_range(monkeypatch, rng):
    net = LPIPS(net="alex")
    monkeypatch.setattr(lpips, "build_lpips", lambda **_: net)
    sr, gt = rng.integers(0, 256, (2, 70, 72, 3), dtype=np.uint8)
    inner = [
        paddle.to_tensor(x[3:-3, 3:-3].transpose(2, 0, 1)[None].astype("float32") / 127.5 - 1)
        for x in (sr, gt)
    ]
    metric = lpips.LPIPSMetric(crop_border=3)
    assert metric(sr, gt) == pytest.approx(net(*inner).item(), rel=1e-4)
    assert metric(gt, gt) == 0
    assert not metric.higher_is_better
