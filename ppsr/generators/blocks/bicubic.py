"""Bicubic shrinking of an enlarged image by a fraction, in operators that every export path has."""

from __future__ import annotations

import math

import numpy as np
from paddle import Tensor
from paddle.nn import functional as F

from ppsr.memory import device_array

__all__ = ["bicubic_shrink"]

_A = -0.75  # of Keys' kernel, as in PyTorch, Paddle and ncnn


def bicubic_shrink(x: Tensor, numerator: int, denominator: int) -> Tensor:
    """Resize by numerator / denominator as `interpolate(mode="bicubic", align_corners=False)` does.

    No antialiasing, half-pixel centres, repeated borders. Every `numerator` results come from the same taps
    at steps of `denominator`, so it is one convolution and a pixel shuffle.

    Args:
        x: (N, C, H, W); H and W multiples of the reduced denominator.

    Returns:
        (N, C, H * numerator / denominator, W * numerator / denominator).
    """
    shared = math.gcd(numerator, denominator)
    up, down = numerator // shared, denominator // shared
    if up == down:
        return x
    rows, before = _taps(up, down)
    size = rows.shape[1]
    weight = (rows[:, None, :, None] * rows[None, :, None, :]).reshape(up * up, 1, size, size)
    n, c, h, w = x.shape
    after = size - before - down
    padded = F.pad(x.reshape([n * c, 1, h, w]), [before, after, before, after], mode="replicate")
    phases = F.conv2d(padded, device_array(weight.astype(np.float32)).astype(x.dtype), stride=down)
    return F.pixel_shuffle(phases, up).reshape([n, c, h // down * up, w // down * up])


def _taps(up: int, down: int) -> tuple[np.ndarray, int]:
    """Weights of the `up` results of a step (up, taps), and how many samples lie before the step."""
    centres = [(k + 0.5) * down / up - 0.5 for k in range(up)]
    before = 1 - math.floor(min(centres))
    size = math.floor(max(centres)) + 2 + before + 1
    places = np.arange(size)[None] - before
    return _keys(np.abs(np.array(centres)[:, None] - places)), before


def _keys(distance: np.ndarray) -> np.ndarray:
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * _A - 4 * _A
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
