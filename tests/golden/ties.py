"""Where rounding alone decides, and two correct float32 programs may differ: thresholds and roundings."""

import cv2
import numpy as np
from scipy import fft

from ppsr.degradations import jpeg

_ROUNDING = 5e-4  # of 255 levels: float32 sums of a whole kernel in another order
_ATOL = 1e-5
_COEFFICIENT = 2e-4  # float32 error of a DCT coefficient, a sum of 64 products of up to 128


def usm_tolerance(
    batch: np.ndarray, *, weight: float = 0.5, radius: int = 50, sigma: float = 0.0, threshold: float = 10.0
) -> np.ndarray:
    """Bound for each pixel of sharpened images (N, C, H, W).

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


def settled_by_jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Pixels (H, W) of an image (3, H, W) in blocks without a coefficient at a tie of its rounding."""
    _, height, width = image.shape
    padded = np.pad(image.astype(np.float64), ((0, 0), (0, -height % 16), (0, -width % 16)))
    luma, *chroma = np.einsum("kc,chw->khw", jpeg.TO_YCC.astype(np.float64), padded * 255)
    halves = [p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2).mean(axis=(1, 3)) for p in chroma]
    settled = np.ones(luma.shape, bool)
    for plane, table, side in ((luma - 128, jpeg.LUMA, 8), *((half, jpeg.CHROMA, 16) for half in halves)):
        step = table * jpeg.quality_factor(quality)
        rows, columns = (length // 8 for length in plane.shape)
        blocks = plane.reshape(rows, 8, columns, 8).swapaxes(1, 2)
        coefficients = fft.dctn(blocks, axes=(2, 3), norm="ortho") / step
        from_tie = np.abs(coefficients % 1 - 0.5) * step
        settled &= np.kron((from_tie > _COEFFICIENT).all(axis=(2, 3)), np.ones((side, side), bool))
    return settled[:height, :width]


def assert_jpeg_close(
    actual: np.ndarray, expected: np.ndarray, images: np.ndarray, qualities, what: str
) -> None:
    """Compare compressed images (N, 3, H, W) wherever the rounding of the coefficients is certain."""
    settled = np.stack([settled_by_jpeg(*pair) for pair in zip(images, qualities, strict=True)])
    assert settled.mean() >= 0.25, f"{what}: hardly a block is certain"
    error = np.abs(actual - expected).max(axis=1)[settled]
    assert error.max() <= 2e-3, f"{what}: largest difference {error.max():.3g}"
    assert error.mean() <= 1e-5, f"{what}: mean difference {error.mean():.3g}"
