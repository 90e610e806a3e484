"""PSNR and SSIM as the super-resolution literature measures them: 8-bit images, cropped border, Y of
BT.601 or RGB.

SSIM: Wang et al., IEEE TIP 2004, with MATLAB's 11 x 11 Gaussian window of deviation 1.5 on the valid region.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from pydantic import NonNegativeInt

from ppsr.errors import DataError
from ppsr.metrics.images import cropped_pair, float_bands

__all__ = ["PSNR", "SSIM", "psnr", "ssim"]

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_WINDOW = cv2.getGaussianKernel(11, 1.5)
_REACH = 5
_ROWS_PER_THREAD = 128


def psnr(sr: np.ndarray, gt: np.ndarray, *, crop_border: int = 0, test_y_channel: bool = False) -> float:
    """Peak signal-to-noise ratio in dB of two images in 0..255 (H x W x C RGB); infinite when equal."""
    total, count = 0.0, 0
    for a, b in float_bands(cropped_pair(sr, gt, crop_border=crop_border), on_y=test_y_channel):
        difference = np.subtract(a, b, out=a).ravel()
        total += float(difference @ difference)
        count += difference.size
    return float("inf") if total == 0 else float(10 * np.log10(255**2 * count / total))


def ssim(sr: np.ndarray, gt: np.ndarray, *, crop_border: int = 0, test_y_channel: bool = False) -> float:
    """Structural similarity of two images in 0..255, mean over channels; at most 1.

    Raises:
        DataError: as `psnr`, or the images are smaller than the window.
    """
    pair = cropped_pair(sr, gt, crop_border=crop_border)
    if min(pair[0].shape[:2]) <= 2 * _REACH:
        raise DataError(f"SSIM needs at least 11 pixels a side inside the border, got {pair[0].shape[:2]}")
    rows = pair[0].shape[0] - 2 * _REACH
    workers = max(1, min(cv2.getNumThreads(), rows // _ROWS_PER_THREAD))
    edges = [rows * i // workers for i in range(workers + 1)]
    parts = [(pair[0][a : b + 2 * _REACH], pair[1][a : b + 2 * _REACH]) for a, b in pairwise(edges)]
    if workers == 1:
        sums = [_similarity_sum(parts[0], test_y_channel)]
    else:
        with ThreadPoolExecutor(workers) as pool:
            sums = list(pool.map(_similarity_sum, parts, [test_y_channel] * workers))
    return sum(total for total, _ in sums) / sum(count for _, count in sums)


def _similarity_sum(pair: tuple[np.ndarray, np.ndarray], on_y: bool) -> tuple[float, int]:
    """Sum and number of the similarities of a part of the image, where the window fits."""
    total, count = 0.0, 0
    work: np.ndarray | None = None
    for a, b in float_bands(pair, on_y=on_y, reach=_REACH):
        work = np.empty((5, *a.shape)) if work is None else work
        inner = _similarity(a, b, work[:, : len(a)])[_REACH:-_REACH, _REACH:-_REACH]
        total += float(inner.sum())
        count += inner.size
    return total, count


def _similarity(a: np.ndarray, b: np.ndarray, work: np.ndarray) -> np.ndarray:
    """Similarity of every pixel, meaningful where the window fits; everything happens in `work`, `a` and `b`.

    By the sum s = a + b and the difference d = a - b, whose squares hold the product and the squares of a and
    b: four filterings instead of five, and each constant is added once for numerator and denominator.
    """
    s, d, mean_s, mean_d, power = work

    def mean(x: np.ndarray, into: np.ndarray) -> np.ndarray:
        cv2.sepFilter2D(x, -1, _WINDOW, _WINDOW, dst=into)
        return into

    mean(np.add(a, b, out=s), mean_s)
    mean(np.subtract(a, b, out=d), mean_d)
    squared_s = np.multiply(mean_s, mean_s, out=mean_s)
    squared_d = np.multiply(mean_d, mean_d, out=mean_d)
    variance_s = mean(np.multiply(s, s, out=s), power)
    variance_s -= squared_s
    variance_d = mean(np.multiply(d, d, out=d), s)
    variance_d -= squared_d
    squared_s += 2 * _C1
    variance_s += 2 * _C2
    numerator = np.subtract(squared_s, squared_d, out=a)
    numerator *= np.subtract(variance_s, variance_d, out=b)
    squared_s += squared_d
    variance_s += variance_d
    squared_s *= variance_s
    numerator /= squared_s
    return numerator


class _ImageMetric:
    """A metric with its options; called with two H x W x C RGB images in 0..255.

    Args:
        crop_border: pixels ignored on each side, usually the scale.
        test_y_channel: measure luma only.
    """

    higher_is_better = True

    def __init__(self, *, crop_border: NonNegativeInt = 0, test_y_channel: bool = False) -> None:
        self.options: dict[str, Any] = {"crop_border": crop_border, "test_y_channel": test_y_channel}


class PSNR(_ImageMetric):
    """Peak signal-to-noise ratio in dB, at least 0; infinite for equal images."""

    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        return psnr(sr, gt, **self.options)


class SSIM(_ImageMetric):
    """Structural similarity, at most 1, for equal images."""

    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        return ssim(sr, gt, **self.options)
