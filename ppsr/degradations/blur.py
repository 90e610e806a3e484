"""Filtering and sharpening."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ppsr.errors import DataError

__all__ = ["filter2d", "trimmed", "usm_kernel", "usm_sharpen"]


def filter2d(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Cross-correlation of every channel with one odd kernel, borders by reflection.

    Args:
        image: H x W x C float32, larger than half the kernel.
        kernel: k x k.

    Raises:
        DataError: the kernel is even or larger than the image allows.
    """
    reach = kernel.shape[0] // 2
    if kernel.shape[0] % 2 == 0:
        raise DataError(f"a filter kernel must have an odd side, got {kernel.shape}")
    if min(image.shape[:2]) <= reach:
        raise DataError(f"a {kernel.shape[0]} pixel filter needs sides above {reach}, got {image.shape[:2]}")
    blurred = cv2.filter2D(image, cv2.CV_32F, trimmed(kernel), borderType=cv2.BORDER_REFLECT_101)
    return blurred.reshape(image.shape)  # OpenCV drops a single channel


def trimmed(kernels: np.ndarray) -> np.ndarray:
    """Kernels (..., k, k) without the zeros around all of them, in float32: zeros cost as much as weights."""
    used = np.any(kernels, axis=tuple(range(kernels.ndim - 2)))
    used = np.flatnonzero(np.any(used, axis=0) | np.any(used, axis=1))
    side = kernels.shape[-1]
    margin = min(int(used[0]), side - 1 - int(used[-1])) if len(used) else 0
    inner = slice(margin, side - margin)
    return np.ascontiguousarray(kernels[..., inner, inner], np.float32)


@lru_cache(maxsize=16)
def usm_kernel(radius: int = 50, sigma: float = 0.0) -> np.ndarray:
    """One-dimensional Gaussian of the unsharp mask; an even radius is made odd, sigma 0 follows OpenCV's
    rule."""
    return cv2.getGaussianKernel(radius + 1 - radius % 2, sigma)[:, 0]


def usm_sharpen(
    image: np.ndarray, *, weight: float = 0.5, radius: int = 50, sigma: float = 0.0, threshold: float = 10.0
) -> np.ndarray:
    """Unsharp mask with a soft mask where the detail exceeds `threshold` (of 255); Real-ESRGAN's target.

    Args:
        image: H x W x C float32 in [0, 1], sides above radius / 2.
    """
    kernel = usm_kernel(radius, sigma)

    def smooth(x: np.ndarray) -> np.ndarray:
        smoothed = cv2.sepFilter2D(x, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        return smoothed.reshape(x.shape)  # OpenCV drops a single channel

    if min(image.shape[:2]) <= len(kernel) // 2:
        raise DataError(f"sharpening needs sides above {len(kernel) // 2} pixels, got {image.shape[:2]}")
    detail = image - smooth(image)
    soft = smooth((np.abs(detail) * 255 > threshold).astype(np.float32))
    sharp = detail  # computed in place, as each array of this size costs as much as two of these operations
    sharp *= weight
    sharp += image
    np.clip(sharp, 0, 1, out=sharp)
    sharp *= soft
    np.subtract(1, soft, out=soft)
    soft *= image
    sharp += soft
    return sharp
