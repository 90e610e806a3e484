"""PSNR and SSIM as the super-resolution literature measures them: 8-bit pictures, cropped border, Y of
BT.601 or RGB.

SSIM: Wang et al., IEEE TIP 2004, with MATLAB's 11 x 11 Gaussian window of deviation 1.5 on the valid region.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ppsr.errors import DataError
from ppsr.metrics.pictures import checked_pair, luma

__all__ = ["PSNR", "SSIM", "psnr", "ssim"]

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _prepare(
    sr: np.ndarray, gt: np.ndarray, crop_border: int, test_y_channel: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures as float64 H x W x C, checked and cropped, luma if asked for."""
    a, b = checked_pair(sr, gt, crop_border=crop_border)
    return (luma(a), luma(b)) if test_y_channel else (a, b)


def psnr(sr: np.ndarray, gt: np.ndarray, *, crop_border: int = 0, test_y_channel: bool = False) -> float:
    """Peak signal-to-noise ratio in dB of two pictures in 0..255 (H x W x C RGB); infinite when equal."""
    a, b = _prepare(sr, gt, crop_border, test_y_channel)
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(sr: np.ndarray, gt: np.ndarray, *, crop_border: int = 0, test_y_channel: bool = False) -> float:
    """Structural similarity of two pictures in 0..255, mean over channels; at most 1."""
    a, b = _prepare(sr, gt, crop_border, test_y_channel)
    if min(a.shape[:2]) < 11:
        raise DataError(f"SSIM needs at least 11 pixels a side inside the border, got {a.shape[:2]}")
    return float(np.mean([_ssim_plane(a[..., c], b[..., c]) for c in range(a.shape[2])]))


def _ssim_plane(a: np.ndarray, b: np.ndarray) -> float:
    window = cv2.getGaussianKernel(11, 1.5)

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(x, -1, window, window)[5:-5, 5:-5]

    # four filterings instead of five: the sum a^2 + b^2 is all that the variances are needed for
    mu_a, mu_b = mean(a), mean(b)
    product, squares = mu_a * mu_b, mu_a**2 + mu_b**2
    covariance = mean(a * b) - product
    variances = mean(a * a + b * b) - squares
    similarity = ((2 * product + _C1) * (2 * covariance + _C2)) / ((squares + _C1) * (variances + _C2))
    return float(similarity.mean())


class _PictureMetric:
    """A metric with its options; called with two H x W x C RGB pictures in 0..255.

    Args:
        crop_border: pixels ignored on each side, usually the scale.
        input_order: HWC or CHW.
        test_y_channel: measure luma only.
    """

    higher_is_better = True

    def __init__(
        self, *, crop_border: int = 0, input_order: str = "HWC", test_y_channel: bool = False
    ) -> None:
        if input_order not in ("HWC", "CHW"):
            raise DataError(f"input_order is HWC or CHW, got {input_order}")
        self.crop_border = crop_border
        self.input_order = input_order
        self.test_y_channel = test_y_channel

    def _options(self) -> dict[str, Any]:
        return {"crop_border": self.crop_border, "test_y_channel": self.test_y_channel}

    def _order(self, image: np.ndarray) -> np.ndarray:
        return image.transpose(1, 2, 0) if self.input_order == "CHW" else image


class PSNR(_PictureMetric):
    """Peak signal-to-noise ratio in dB, at least 0; infinite for equal pictures."""

    name = "psnr"

    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        return psnr(self._order(sr), self._order(gt), **self._options())


class SSIM(_PictureMetric):
    """Structural similarity, at most 1, for equal pictures."""

    name = "ssim"

    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        return ssim(self._order(sr), self._order(gt), **self._options())
