"""Colour conversion by ITU-R BT.601 as MATLAB does it: Y in 16..235, chroma in 16..240."""

from __future__ import annotations

import numpy as np

__all__ = ["YCBCR_OFFSET", "YCBCR_WEIGHTS", "rgb_to_y", "rgb_to_ycbcr", "ycbcr_to_rgb"]

YCBCR_WEIGHTS = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], np.float64
)
YCBCR_OFFSET = np.array([16.0, 128.0, 128.0])
_INVERSE = np.array(
    [[0.00456621, 0.0, 0.00625893], [0.00456621, -0.00153632, -0.00318811], [0.00456621, 0.00791071, 0.0]]
)
_INVERSE_OFFSET = np.array([-222.921, 135.576, -276.836])


def _unit(image: np.ndarray) -> np.ndarray:
    """Float32 in [0, 1] of 8-bit or float input."""
    return image.astype(np.float32) / 255 if image.dtype == np.uint8 else image.astype(np.float32)


def _restore(values_255: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Back to the type of the input: rounded 8 bit, or float in [0, 1]."""
    if like.dtype == np.uint8:
        return np.clip(np.rint(values_255), 0, 255).astype(np.uint8)
    return (values_255 / 255).astype(np.float32)


def rgb_to_ycbcr(image: np.ndarray) -> np.ndarray:
    """H x W x 3 RGB, uint8 or float in [0, 1] -> YCbCr of the same type."""
    return _restore(_unit(image) @ YCBCR_WEIGHTS.T + YCBCR_OFFSET, image)


def rgb_to_y(image: np.ndarray) -> np.ndarray:
    """H x W x 3 RGB, uint8 or float in [0, 1] -> luma H x W of the same type."""
    return _restore(_unit(image) @ YCBCR_WEIGHTS[0] + YCBCR_OFFSET[0], image)


def ycbcr_to_rgb(image: np.ndarray) -> np.ndarray:
    """H x W x 3 YCbCr, uint8 or float in [0, 1] -> RGB of the same type, not clipped for floats."""
    values = _unit(image).astype(np.float64) * 255
    return _restore((values @ _INVERSE.T) * 255 + _INVERSE_OFFSET, image)
