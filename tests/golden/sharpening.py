"""How far two correct float32 unsharp masks may differ."""

from __future__ import annotations

import cv2
import numpy as np

_ROUNDING = 5e-4  # of 255 levels: float32 sums of a whole kernel in another order
_ATOL = 1e-5


def usm_tolerance(
    batch: np.ndarray, *, weight: float = 0.5, radius: int = 50, sigma: float = 0.0, threshold: float = 10.0
) -> np.ndarray:
    """Bound for each pixel of sharpened pictures (N, C, H, W).

    The mask compares the detail with a threshold. Where both are equal up to rounding, its value may be 0 or
    1, and the smoothing of the mask spreads that over the neighbours. Elsewhere only rounding remains.
    """
    kernel = cv2.getGaussianKernel(radius + 1 - radius % 2, sigma)

    def smooth(plane: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(plane, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)

    bounds = np.empty(batch.shape)
    for place in np.ndindex(*batch.shape[:2]):
        plane = batch[place].astype(np.float64)
        detail = plane - smooth(plane)
        undecided = np.abs(np.abs(detail) * 255 - threshold) < _ROUNDING
        change = np.clip(plane + weight * detail, 0, 1) - plane
        bounds[place] = _ATOL + smooth(undecided.astype(np.float64)) * np.abs(change)
    return bounds
