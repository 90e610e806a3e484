"""Enlarging colour images by a network for luma: it sees Y of YCbCr, bicubic interpolation Cb and Cr.

That is how SRCNN, FSRCNN and ESPCN are published. One program for NumPy arrays and for tensors, which keep
their gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ppsr.imaging.color import YCBCR_OFFSET, YCBCR_WEIGHTS
from ppsr.imaging.resize import cubic_matrix

__all__ = ["luma", "on_luma"]

Constant = Callable[[np.ndarray], Any]
"""Makes an array of constants what the images are, such as `paddle.to_tensor`."""

_TO = (YCBCR_WEIGHTS / 255).astype(np.float32)
_OFFSET = (YCBCR_OFFSET / 255).astype(np.float32)[:, None]
_FROM = np.linalg.inv(YCBCR_WEIGHTS / 255)
_FROM_OFFSET = (-_FROM @ (YCBCR_OFFSET / 255)).astype(np.float32)[:, None]
_FROM = _FROM.astype(np.float32)


def luma(rgb: Any, constant: Constant = np.asarray) -> Any:
    """(N, 3, H, W) RGB in [0, 1], array or tensor -> Y (N, 1, H, W) in 16/255..235/255."""
    return _mix(_TO[:1], rgb, constant) + constant(_OFFSET[:1, :, None])


def on_luma(enlarge: Callable[[Any], Any], rgb: Any, scale: int, constant: Constant = np.asarray) -> Any:
    """Apply a network for luma to colour images.

    Args:
        enlarge: (N, 1, H, W) in [0, 1] -> (N, 1, sH, sW).
        rgb: (N, 3, H, W) in [0, 1], array or tensor.
        scale: s.
        constant: `paddle.to_tensor` for tensors.

    Returns:
        (N, 3, sH, sW) RGB, not clipped.
    """
    rows, columns = (cubic_matrix(side, side * scale).toarray() for side in rgb.shape[2:])
    chroma = _mix(_TO[1:], rgb, constant) + constant(_OFFSET[1:, :, None])
    chroma = constant(rows) @ chroma @ constant(np.ascontiguousarray(columns.T))
    y = enlarge(luma(rgb, constant))
    mixed = _mix(_FROM[:, :1], y, constant) + _mix(_FROM[:, 1:], chroma, constant)
    return mixed + constant(_FROM_OFFSET[:, :, None])


def _mix(weights: np.ndarray, image: Any, constant: Constant) -> Any:
    """(N, C, H, W) -> (N, K, H, W) by a K x C matrix."""
    n, _, h, w = image.shape
    mixed = constant(np.ascontiguousarray(weights)) @ image.reshape([n, -1, h * w])
    return mixed.reshape([n, -1, h, w])
