"""The middle of an image before and after."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ppsr.serve import preview
from ppsr.serve.preview import Preview


def _fed(pixels, result, rows):
    shown = Preview(pixels, result.shape[:2])
    for row in range(0, len(result), rows):
        shown.take(result[row : row + rows])
    return shown


@pytest.mark.parametrize("rows", [1, 7, 400])
def test_a_small_image_is_shown_whole(rng, rows):
    pixels = rng.integers(0, 256, (20, 31, 3), dtype=np.uint8)
    result = rng.random((40, 62, 3), dtype=np.float32)
    shown = _fed(pixels, result, rows)
    np.testing.assert_array_equal(shown.after(), np.rint(result * 255))
    bicubic = cv2.resize(pixels.astype(np.float32) / 255, (62, 40), interpolation=cv2.INTER_CUBIC)
    assert np.abs(shown.before() - np.rint(np.clip(bicubic, 0, 1) * 255)).max() <= 1


@pytest.mark.parametrize("rows", [3, 16])
def test_of_a_large_one_both_sides_show_the_same_middle(rng, rows, monkeypatch):
    monkeypatch.setattr(preview, "_SIDE", 32)
    small = cv2.GaussianBlur(rng.random((50, 37, 3), dtype=np.float32), (0, 0), 3)
    result = np.clip(cv2.resize(small, (74, 100), interpolation=cv2.INTER_CUBIC), 0, 1)
    shown = _fed(small, result, rows)
    assert shown.after().shape == shown.before().shape == (32, 32, 3)
    np.testing.assert_array_equal(shown.after(), np.rint(result[34:66, 20:52] * 255))
    inner = (slice(4, -4), slice(4, -4))  # where the cut does not change what the interpolation sees
    assert np.abs(shown.before()[inner].astype(int) - shown.after()[inner]).max() <= 1


def test_gray_becomes_colour_and_transparent_becomes_white():
    pixels = np.array([[[10, 0], [10, 255]]], np.uint8)
    result = pixels.astype(np.float32) / 255
    after = _fed(pixels, result, 1).after()
    assert after.tolist() == [[[255] * 3, [10] * 3]]
