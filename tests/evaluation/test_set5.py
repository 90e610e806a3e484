"""Bicubic on Set5 scores what the literature prints, where data/Set5 is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppsr.evaluation.evaluate import evaluate

SET5 = Path(__file__).parents[2] / "data" / "Set5"


@pytest.mark.skipif(
    not (SET5 / "HR").is_dir(), reason="data/Set5 is not there; data/README.md tells how to get it"
)
@pytest.mark.parametrize(("scale", "expected"), [(2, 33.678), (3, 30.404), (4, 28.431)])
def test_bicubic_enlargement_of_the_shipped_lr(scale, expected):
    lq = SET5 / "LR_bicubic" / f"X{scale}"
    result = evaluate(gt=SET5 / "HR", lq=lq, scale=scale, method="bicubic", metrics=["psnr"])
    assert result.count == 5
    assert result.means["psnr"] == pytest.approx(expected, abs=0.0006)
    made = evaluate(gt=SET5 / "HR", scale=scale, method="bicubic", metrics=["psnr"])
    assert made.sets[0].rows == result.sets[0].rows, "LR made here differs from MATLAB's files"
