"""Numbers of the tables on the console."""

from __future__ import annotations

import pytest

from ppsr.evaluation.console import _number


@pytest.mark.parametrize(
    ("metric", "value", "signed", "expected"),
    [
        ("psnr", 32.2149, False, "32.21"),
        ("psnr", -0.0004, True, "+0.00"),
        ("psnr", -0.006, True, "-0.01"),
        ("ssim", 0.00004, True, "+0.0000"),
        ("ssim", None, True, ""),
    ],
)
def test_numbers_are_rounded_without_a_negative_zero(metric, value, signed, expected):
    assert _number(metric, value, signed=signed) == expected
