"""What every metric does first: check two pictures and cut their borders."""

from __future__ import annotations

import numpy as np

from ppsr.errors import DataError

__all__ = ["LUMA", "checked_pair", "checked_picture", "luma"]

LUMA = np.array([65.481, 128.553, 24.966]) / 255


def checked_picture(image: np.ndarray, *, crop_border: int = 0) -> np.ndarray:
    """A picture as float64 H x W x C without its border.

    Raises:
        DataError: not a picture, NaN values, or nothing is left inside the border.
    """
    if image.ndim not in (2, 3):
        raise DataError(f"a picture is H x W or H x W x C, got an array of shape {image.shape}")
    values = image.astype(np.float64)
    if np.isnan(values).any():
        raise DataError("a picture with NaN values cannot be scored")
    values = values[..., None] if values.ndim == 2 else values
    if crop_border:
        values = values[crop_border:-crop_border, crop_border:-crop_border]
    if not values.size:
        raise DataError(f"a border of {crop_border} leaves nothing of a picture of {image.shape[:2]}")
    return values


def checked_pair(sr: np.ndarray, gt: np.ndarray, *, crop_border: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures by `checked_picture`.

    Raises:
        DataError: as there, or their sizes differ.
    """
    if sr.shape != gt.shape:
        raise DataError(f"pictures of unequal size cannot be compared: {sr.shape} and {gt.shape}")
    return checked_picture(sr, crop_border=crop_border), checked_picture(gt, crop_border=crop_border)


def luma(values: np.ndarray) -> np.ndarray:
    """Y of BT.601, 16..235, not rounded, H x W x 1, of RGB in 0..255; other channel counts stay as they
    are."""
    return (values @ LUMA + 16)[..., None] if values.shape[2] == 3 else values
