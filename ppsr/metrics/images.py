"""Input checks and border cropping shared by all metrics."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ppsr.errors import DataError
from ppsr.imaging.luma import TO_YCBCR

__all__ = ["checked_image", "checked_pair", "cropped_pair", "float_bands", "luma"]

_TO_LUMA = np.array([[*TO_YCBCR[0], 16.0]])  # the last is added
_BAND = 64


def _cropped(image: np.ndarray, crop_border: int) -> np.ndarray:
    """H x W x C of any type without its border."""
    if image.ndim not in (2, 3):
        raise DataError(f"an image must be H x W or H x W x C, got an array of shape {image.shape}")
    inner = image[..., None] if image.ndim == 2 else image
    if crop_border:
        inner = inner[crop_border:-crop_border, crop_border:-crop_border]
    if not inner.size:
        raise DataError(f"a border of {crop_border} leaves nothing of an image of {image.shape[:2]}")
    return inner


def _refuse_non_finite(values: np.ndarray) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError("an image with NaN or infinite values cannot be scored")


def checked_image(image: np.ndarray, *, crop_border: int = 0) -> np.ndarray:
    """An image as float64 H x W x C without its border.

    Raises:
        DataError: not an image, NaN or infinite values, or nothing is left inside the border.
    """
    inner = _cropped(image, crop_border)
    _refuse_non_finite(inner)
    return inner.astype(np.float64)


def cropped_pair(sr: np.ndarray, gt: np.ndarray, *, crop_border: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two images H x W x C of their own types, without their borders.

    Raises:
        DataError: their sizes differ, NaN or infinite values, or nothing is left inside the border.
    """
    if sr.shape != gt.shape:
        raise DataError(f"images of unequal size cannot be compared: {sr.shape} and {gt.shape}")
    pair = _cropped(sr, crop_border), _cropped(gt, crop_border)
    for image in pair:
        _refuse_non_finite(image)
    return pair


def checked_pair(sr: np.ndarray, gt: np.ndarray, *, crop_border: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`cropped_pair` in float64."""
    a, b = cropped_pair(sr, gt, crop_border=crop_border)
    return a.astype(np.float64), b.astype(np.float64)


def luma(values: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
    """Y of BT.601, 16..235, not rounded, H x W, of float64 RGB in 0..255."""
    return cv2.transform(values, _TO_LUMA, dst=into)


def float_bands(
    pair: tuple[np.ndarray, np.ndarray], *, on_y: bool, reach: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Bands of rows of two equally large images as float64 planes h x W, one channel after the other.

    Large images cost more by fresh memory than by arithmetic; a band stays in the cache. The arrays are
    valid until the next step.

    Args:
        pair: H x W x C.
        on_y: luma instead of the channels, where there are three.
        reach: rows that a band has above and below those that it adds to the former ones.
    """
    rows, width, channels = pair[0].shape
    on_y = on_y and channels == 3
    colors = np.empty((min(rows, _BAND + 2 * reach), width, channels))
    planes = np.empty((2, 1 if on_y else channels, len(colors), width))
    for top in range(0, rows - 2 * reach, _BAND):
        bottom = min(top + _BAND + 2 * reach, rows)
        for image, own in zip(pair, planes, strict=True):
            if on_y:
                np.copyto(colors[: bottom - top], image[top:bottom])
                luma(colors[: bottom - top], own[0, : bottom - top])
            else:
                np.copyto(own[:, : bottom - top], image[top:bottom].transpose(2, 0, 1))
        yield from zip(*planes[:, :, : bottom - top], strict=True)
