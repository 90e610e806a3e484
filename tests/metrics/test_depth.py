"""Errors of depth maps: two definitions."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.errors import ConfigError, DataError
from ppsr.metrics.depth import MAD, PE, RMSE
from ppsr.registry import METRICS

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
