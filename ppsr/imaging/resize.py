"""Resizing by two sparse matrices, one for the rows and one for the columns, which are cached.

Modes: MATLAB's imresize (bicubic a = -0.5, antialiased, symmetric border), and the sampling of torch's
`F.interpolate` (area, bilinear, bicubic a = -0.75; half-pixel centres, clamped border) that the published
degradation pipelines use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import cv2
import numpy as np
from scipy.sparse import csr_matrix

from ppsr.errors import DataError

__all__ = [
    "RESIZE_MODES",
    "cubic_matrix",
    "interpolate",
    "matlab_resize",
    "resize_rows",
    "resize_separable",
    "torch_matrix",
]

_CHUNK = 64  # rows resized at once, which bounds the temporary memory
RESIZE_MODES = ("area", "bilinear", "bicubic", "nearest", "lanczos")


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=256)
def _matlab_matrix(size: int, scale: float, antialiasing: bool) -> csr_matrix:
    """(ceil(size * scale), size) weights of MATLAB's imresize.

    Raises:
        DataError: no samples, or the factor is not positive.
    """
    if size < 1:
        raise DataError("an image without pixels cannot be resized")
    if not 0 < scale < math.inf:
        raise DataError(f"a resize factor must be positive, got {scale}")
    return _keys_matrix(size, math.ceil(size * scale), scale, antialiasing)


def cubic_matrix(size: int, length: int) -> csr_matrix:
    """(length, size) weights of MATLAB's bicubic resizing, antialiased, to a length instead of by a factor.

    Raises:
        DataError: a length is not positive.
    """
    if min(size, length) < 1:
        raise DataError(f"cannot resize {size} samples to {length}")
    return _keys_matrix(size, length, length / size, True)


def _keys_matrix(size: int, length: int, scale: float, antialiasing: bool) -> csr_matrix:
    """Weights of Keys' kernel; samples beyond an end are mirrored."""
    shrink = scale < 1 and antialiasing
    width = 4.0 / scale if shrink else 4.0
    centre = np.arange(1, length + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2)
    taps = first[:, None] + np.arange(math.ceil(width) + 2)[None]
    distance = centre[:, None] - taps
    weights = scale * _cubic(distance * scale, -0.5) if shrink else _cubic(distance, -0.5)
    weights /= weights.sum(axis=1, keepdims=True)
    position = np.mod(taps.astype(np.int64) - 1, 2 * size)  # symmetric: 0..n-1, n-1..0, ...
    position = np.where(position < size, position, 2 * size - 1 - position)
    rows = np.broadcast_to(np.arange(length)[:, None], position.shape)
    matrix = csr_matrix((weights.ravel(), (rows.ravel(), position.ravel())), shape=(length, size))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix.astype(np.float32)


def matlab_resize(image: np.ndarray, scale: float, *, antialiasing: bool = True) -> np.ndarray:
    """Bicubic resizing as MATLAB's `imresize(image, scale, 'bicubic')`.

    Args:
        image: H x W or H x W x C; computed in float32 (uint8 input gives the 0..255 range).
        scale: factor; the result has ceil(size * scale) rows and columns.
        antialiasing: widen the kernel when shrinking.

    Returns:
        float32, neither rounded nor clipped.

    Raises:
        DataError: the factor is not positive, or the image is empty.
    """
    rows = _matlab_matrix(image.shape[0], float(scale), antialiasing)
    columns = _matlab_matrix(image.shape[1], float(scale), antialiasing)
    return resize_separable(image, rows, columns)


def matlab_resize_integers(image: np.ndarray, scale: float) -> np.ndarray:
    """Bicubic resizing of whole numbers as MATLAB's `imresize` does it: rounded, half up, and saturated after
    the rows and again after the columns. So LR images equal those of MATLAB in every bit.

    Args:
        image: H x W or H x W x C, uint8 or uint16.
        scale: factor; the result has ceil(size * scale) rows and columns.

    Returns:
        The same type.

    Raises:
        DataError: the factor is not positive, or the image is empty or has another type.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"the image must be uint8 or uint16, got {image.dtype}")
    resized = image
    for axis in (0, 1):
        transposed = np.moveaxis(resized, axis, 0)
        matrix = _matlab_matrix(len(transposed), float(scale), True)
        values = matrix @ transposed.reshape(len(transposed), -1).astype(np.float64)
        rounded = np.clip(np.floor(values + 0.5), 0, np.iinfo(image.dtype).max).astype(image.dtype)
        resized = np.moveaxis(rounded.reshape(-1, *transposed.shape[1:]), 0, axis)
    return np.ascontiguousarray(resized)


def resize_separable(image: np.ndarray, rows: csr_matrix, columns: csr_matrix) -> np.ndarray:
    """Apply a (H', H) and a (W', W) matrix to an H x W or H x W x C image, in float32.

    The matrices are sparse: a few taps per sample, and no threads that compete with those of other workers.
    """
    planes = image.astype(np.float32, copy=False)
    planes = planes[..., None] if planes.ndim == 2 else planes
    height, width, channels = planes.shape
    tall = (rows @ planes.reshape(height, width * channels)).reshape(-1, width, channels)
    resized = resize_columns(tall, columns)
    return resized[..., 0] if image.ndim == 2 else resized


def resize_columns(image: np.ndarray, columns: csr_matrix) -> np.ndarray:
    """Apply a (W', W) matrix to an H x W x C image."""
    transposed = _transposed(image)
    wide = (columns @ transposed.reshape(len(transposed), -1)).reshape(-1, *transposed.shape[1:])
    return _transposed(wide).astype(np.float32, copy=False)


def _transposed(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> contiguous (W, H, C); OpenCV is four times as fast as NumPy where it knows the pixel."""
    height, width, channels = image.shape
    if channels <= 4:
        return cv2.transpose(image).reshape(width, height, channels)
    return np.ascontiguousarray(image.transpose(1, 0, 2))


def resize_rows(
    bands: Iterable[np.ndarray], old: tuple[int, int], new: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Bicubic resizing with antialiasing, equal to that of the whole image.

    Args:
        bands: rows from top to bottom, (rows, W, C) float32.
        old: (H, W) of the image.
        new: (H', W') of the result.

    Yields:
        Rows from top to bottom, (rows, W', C) float32, clipped to [0, 1].
    """
    down, across = cubic_matrix(old[0], new[0]), cubic_matrix(old[1], new[1])
    last_tap = np.maximum.accumulate(np.maximum.reduceat(down.indices, down.indptr[:-1]))
    first_tap = np.minimum.accumulate(np.minimum.reduceat(down.indices, down.indptr[:-1])[::-1])[::-1]
    held: np.ndarray | None = None
    base = done = 0
    for band in bands:
        for start in range(0, len(band), _CHUNK):
            rows = resize_columns(band[start : start + _CHUNK], across)
            held = rows if held is None else np.concatenate([held, rows])
            ready = int(np.searchsorted(last_tap, base + len(held), side="left"))
            if ready == done:
                continue
            part = down[done:ready, base : base + len(held)]
            finished = (part @ held.reshape(len(held), -1)).reshape(ready - done, new[1], -1)
            yield np.clip(finished, 0, 1)
            done = ready
            kept = int(first_tap[done]) if done < new[0] else base + len(held)
            held, base = held[max(0, kept - base) :], max(base, kept)


@lru_cache(maxsize=512)
def torch_matrix(size: int, length: int, step: float, mode: str) -> csr_matrix:
    """(length, size) weights of `interpolate`; `step` is the distance of neighbouring source samples."""
    matrix = np.zeros((length, size))
    rows = np.arange(length)
    if mode == "area":  # adaptive average pooling
        for row in range(length):
            first, last = row * size // length, -(-(row + 1) * size // length)
            matrix[row, first:last] = 1.0 / (last - first)
        return csr_matrix(matrix, dtype=np.float32)
    if mode == "nearest":
        matrix[rows, np.minimum(((rows + 0.5) * step).astype(np.int64), size - 1)] = 1.0
        return csr_matrix(matrix, dtype=np.float32)
    if mode == "lanczos":
        distance = ((rows[:, None] + 0.5) * step - (np.arange(size) + 0.5)) / max(step, 1.0)
        matrix = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
        return csr_matrix(matrix / matrix.sum(axis=1, keepdims=True), dtype=np.float32)
    if mode == "bilinear" and length == size:  # torch copies an axis whose size stays, bicubic does not
        step = 1.0
    source = (rows + 0.5) * step - 0.5
    if mode == "bilinear":
        source = np.maximum(source, 0.0)
        taps, weight = [0, 1], lambda d: 1 - np.abs(d)
    else:
        taps, weight = [-1, 0, 1, 2], lambda d: _cubic(d, -0.75)
    base = np.floor(source)
    for tap in taps:
        position = np.clip(base + tap, 0, size - 1).astype(np.int64)
        np.add.at(matrix, (rows, position), weight(source - (base + tap)))
    return csr_matrix(matrix, dtype=np.float32)


def interpolate(
    image: np.ndarray, *, mode: str, scale: float | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Resize as torch's `F.interpolate(..., align_corners=False)` on a CPU, without antialiasing; or by
    Lanczos' filter of three lobes as Pillow, with antialiasing.

    Args:
        image: H x W x C float32.
        mode: one of `RESIZE_MODES`; "nearest" is torch's "nearest-exact", "bicubic" and "lanczos" may leave
            [0, 1].
        scale: factor; the size is rounded down and samples are 1 / scale apart, but a bilinear resize that
            leaves the size of an axis as it is copies along this axis, as torch does.
        size: (height, width) instead of a factor.

    Raises:
        DataError: unknown mode, or an empty result.
    """
    if mode not in RESIZE_MODES:
        raise DataError(f"resize mode '{mode}' is unknown; valid: {', '.join(RESIZE_MODES)}")
    if size is None:
        if scale is None:
            raise DataError("give a scale or a size")
        size = math.floor(image.shape[0] * scale), math.floor(image.shape[1] * scale)
    if min(size) < 1:
        raise DataError(f"resizing {image.shape[:2]} to {size} leaves nothing")
    steps = [
        1 / scale if scale is not None else old / new for old, new in zip(image.shape, size, strict=False)
    ]
    if tuple(size) == image.shape[:2] and (mode == "bilinear" or steps == [1, 1]):
        return image
    matrices = [
        torch_matrix(old, new, step, mode) for old, new, step in zip(image.shape, size, steps, strict=False)
    ]
    return resize_separable(image, matrices[0], matrices[1])
