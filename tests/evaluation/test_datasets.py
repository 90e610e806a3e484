"""Scores of a backend on a dataset."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.evaluation.datasets import evaluate_backend
from ppsr.metrics.psnr_ssim import psnr
from tests.inference.helpers import ShortOfMemory

SIDES = (8, 24, 8)
SHORT = MemoryError("(ResourceExhausted) Fail to alloc memory of 123 size, error code is 12.")


def _dataset(rng):
    made = []
    for side in SIDES:
        lq = rng.random((3, side, side), np.float32)
        made.append({"lq": lq, "gt": np.repeat(np.repeat(lq, 2, 1), 2, 2), "lq_path": ""})
    return made


def test_an_image_that_does_not_fit_into_memory_is_named_and_the_others_are_scored(rng):
    score, _ = evaluate_backend(ShortOfMemory(256, SHORT), _dataset(rng), {"psnr": psnr})
    (problem,) = score.problems
    assert problem.kind == "out of memory"
    assert problem.reason == "00001: 24 x 24 pixels do not fit into memory"
    assert len(score.rows) == 2


def test_any_other_error_of_the_backend_ends_the_evaluation(rng):
    with pytest.raises(RuntimeError, match="else"):
        evaluate_backend(ShortOfMemory(256, RuntimeError("else")), _dataset(rng), {"psnr": psnr})
