"""LR depth maps as PaddleDepth's scripts make them, without MATLAB.

https://github.com/PaddlePaddle/PaddleDepth (Depth_super_resolution). Noise has the variance 651 / depth. The
script that makes the published test images passes OpenCV's cubic flag in the place of the destination, so
it really shrinks bilinearly; both ways are here.
"""

from __future__ import annotations

import cv2
import numpy as np

from ppsr.imaging.resize import matlab_resize_integers

__all__ = ["add_depth_noise", "benchmark_lr", "benchmark_lr_from_upsampled", "lr_of_training", "to_png"]

_VARIANCE = 651.0


def _matlab_uint8(values: np.ndarray) -> np.ndarray:
    """MATLAB's uint8(): half away from zero, saturating."""
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def to_png(unit: np.ndarray) -> np.ndarray:
    """Depth in [0, 1] -> 8 bit, rounding half to even as NumPy does."""
    return np.clip(np.round(255 * unit), 0, 255).astype(np.uint8)


def add_depth_noise(depth: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Add noise of deviation sqrt(651 / depth); depth 0 stays without.

    Args:
        depth: H x W uint8.
        normal: standard normal numbers of the same shape.
    """
    values = depth.astype(np.float64)
    deviation = np.sqrt(_VARIANCE / np.maximum(values, 1))
    return _matlab_uint8(values + np.where(depth == 0, 0, normal * deviation))


def lr_of_training(depth: np.ndarray, *, scale: int, rng: np.random.Generator) -> np.ndarray:
    """HR map H x W uint8 (sides multiples of `scale`) -> LR: MATLAB's bicubic shrinking, 8 bit, noise."""
    small = matlab_resize_integers(depth, 1 / scale)
    return add_depth_noise(small, rng.standard_normal(small.shape))


def benchmark_lr_from_upsampled(
    upsampled: np.ndarray, *, scale: int = 4, published: bool = True
) -> np.ndarray:
    """The LR image of the test set from `im_b_y`, a noisy LR map that was enlarged to HR size.

    Args:
        upsampled: H x W in [0, 1].
        published: shrink bilinearly, as the released script does, not cubically, as it intends.
    """
    size = (upsampled.shape[1] // scale, upsampled.shape[0] // scale)
    method = cv2.INTER_LINEAR if published else cv2.INTER_CUBIC
    return to_png(cv2.resize(upsampled, size, interpolation=method))


def benchmark_lr(
    depth: np.ndarray, *, scale: int, rng: np.random.Generator, published: bool = True
) -> np.ndarray:
    """HR map H x W uint8 -> LR of the test protocol: noisy LR, enlarged to HR size, shrunk again."""
    noisy = lr_of_training(depth, scale=scale, rng=rng)
    upsampled = matlab_resize_integers(noisy, scale) / 255
    return benchmark_lr_from_upsampled(upsampled, scale=scale, published=published)
