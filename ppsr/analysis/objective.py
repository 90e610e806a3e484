"""Objective of attributions: the edge strength of the SR image, and how its gradients are shown.

The objective of LAM (Gu, Dong, CVPR 2021, arXiv:2011.11036) and of the channel saliency maps of Reflash
Dropout (Kong et al., CVPR 2022, arXiv:2112.12089). The released code takes the square root over the whole
image; its infinite slope at zero turns every gradient that meets an exactly flat pixel into NaN, even
outside the window. Here flat pixels have slope zero, and all others the published one.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor

__all__ = ["edge_strength", "magnitude_map", "signed_map"]


def edge_strength(sr: Tensor, window: tuple[int, int, int] | None = None) -> Tensor:
    """Sum of the lengths of the gradient vectors, per sample.

    Args:
        sr: (N, C, H, W).
        window: top, left and side in pixels of `sr`; None is the whole image. The last row and column of
            the image have no gradient.

    Returns:
        (N,).
    """
    if window is not None:
        top, left, side = window
        sr = sr[:, :, top : top + side + 1, left : left + side + 1]
    down = sr[:, :, 1:, :-1] - sr[:, :, :-1, :-1]
    right = sr[:, :, :-1, 1:] - sr[:, :, :-1, :-1]
    square = down * down + right * right
    sloped = square > 0
    length = paddle.sqrt(paddle.where(sloped, square, paddle.ones_like(square)))
    return (length * sloped.astype(length.dtype)).sum([1, 2, 3])


def signed_map(gradient: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W) in [-1, 1]: the sum over channels by its largest magnitude."""
    total = gradient.sum(axis=0)
    return total / max(float(np.abs(total).max()), np.finfo(np.float32).tiny)


def magnitude_map(gradient: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W) in [0, 1]: magnitude of `signed_map`."""
    return np.abs(signed_map(gradient))
