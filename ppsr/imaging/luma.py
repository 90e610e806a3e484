"""Enlarging colour images by a network for luma: it sees Y of YCbCr, bicubic interpolation Cb and Cr.

That is how SRCNN, FSRCNN and ESPCN are published. YCbCr is ITU-R BT.601 as in MATLAB: Y in 16..235, chroma in
16..240. The same code runs on NumPy arrays and on tensors, which keep their gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ppsr.imaging.resize import cubic_matrix

__all__ = ["GRAY_WEIGHTS", "TO_YCBCR", "luma", "mix_channels", "on_luma", "rgb_to_ycbcr"]

Constant = Callable[[np.ndarray], Any]
"""Makes an array of constants what the images are, such as `paddle.to_tensor`."""

GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
"""BT.601's shares of red, green and blue in gray."""

TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
"""BT.601's Y in 16..235 and chroma in 16..240, without the shift."""

_SHIFT = np.array([16.0, 128.0, 128.0]) / 255
_TO = TO_YCBCR.astype(np.float32)
_OFFSET = _SHIFT.astype(np.float32)[:, None]
_FROM = np.linalg.inv(TO_YCBCR)
_FROM_OFFSET = (-_FROM @ _SHIFT).astype(np.float32)[:, None]
_FROM_Y, _FROM_CHROMA = map(np.ascontiguousarray, np.split(_FROM.astype(np.float32), [1], axis=1))


def luma(rgb: Any, constant: Constant = np.asarray) -> Any:
    """(N, 3, H, W) RGB in [0, 1], array or tensor -> Y (N, 1, H, W) in 16/255..235/255."""
    return mix_channels(constant(_TO[:1]), rgb) + constant(_OFFSET[:1, :, None])


def rgb_to_ycbcr(rgb: Any, constant: Constant = np.asarray) -> Any:
    """(N, 3, H, W) RGB in [0, 1], array or tensor -> YCbCr in units of 255."""
    return mix_channels(constant(_TO), rgb) + constant(_OFFSET[:, :, None])


def on_luma(enlarge: Callable[[Any], Any], rgb: Any, scale: int, constant: Constant = np.asarray) -> Any:
    """Apply a network for luma to colour images.

    Args:
        enlarge: (N, 1, H, W) in [0, 1] -> (N, 1, sH, sW).
        rgb: (N, 3, H, W) in [0, 1], array or tensor.
        constant: `paddle.to_tensor` for tensors.

    Returns:
        (N, 3, sH, sW) RGB, not clipped.
    """
    rows, columns = (cubic_matrix(side, side * scale).toarray() for side in rgb.shape[2:])
    ycbcr = rgb_to_ycbcr(rgb, constant)
    chroma = constant(rows) @ ycbcr[:, 1:] @ constant(np.ascontiguousarray(columns.T))
    y = enlarge(ycbcr[:, :1])
    mixed = mix_channels(constant(_FROM_Y), y) + mix_channels(constant(_FROM_CHROMA), chroma)
    return mixed + constant(_FROM_OFFSET[:, :, None])


def mix_channels(weights: Any, image: Any) -> Any:
    """(N, C, H, W) -> (N, K, H, W) by a (K, C) matrix; both are arrays or both tensors."""
    n, _, h, w = image.shape
    return (weights @ image.reshape([n, -1, h * w])).reshape([n, -1, h, w])
