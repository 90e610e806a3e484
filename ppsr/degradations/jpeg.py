"""JPEG compression as a function of floats: what DiffJPEG computes, in NumPy.

After mlomnitz/DiffJPEG as used by Real-ESRGAN: 4:2:0 chroma by default, Annex K tables (luma transposed, as
published networks learned with it), tables neither rounded nor clamped, no entropy coding.
"""

from __future__ import annotations

import cv2
import numpy as np

from ppsr.errors import DataError

__all__ = ["BLOCK_DCT", "CHROMA", "LUMA", "SUBSAMPLING", "TO_RGB", "TO_YCC", "jpeg", "quality_factor"]

SUBSAMPLING = {"4:2:0": (2, 2), "4:2:2": (1, 2), "4:4:4": (1, 1)}  # rows and columns of a chroma sample

LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
).T
CHROMA = np.full((8, 8), 99, np.float32)
CHROMA[:4, :4] = np.array(
    [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]], np.float32
).T
TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)


def _dct_matrix() -> np.ndarray:
    """Orthonormal 8-point DCT-II, rows are frequencies."""
    x, u = np.meshgrid(np.arange(8), np.arange(8))
    matrix = 0.5 * np.cos((2 * x + 1) * u * np.pi / 16)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


_DCT = _dct_matrix()
# the same of whole blocks: (64 frequencies, 64 pixels), both row by row
BLOCK_DCT = np.kron(_DCT, _DCT)


def quality_factor(quality: float) -> float:
    """Scale of the quantisation tables: 50 / q below 50, else 2 - 0.02 q.

    Raises:
        DataError: outside 0 < q < 100; at 100 the tables would be zero.
    """
    if not 0 < quality < 100:
        raise DataError(f"a JPEG quality must be between 0 and 100, both excluded; got {quality}")
    return 50 / quality if quality < 50 else 2 - quality * 0.02


def _compressed(plane: np.ndarray, table: np.ndarray) -> np.ndarray:
    """A plane around 0 through the DCT, quantised, and back; sides are multiples of 8."""
    height, width = plane.shape
    blocks = plane.reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2)
    blocks = _DCT.T @ (np.rint((_DCT @ blocks @ _DCT.T) / table) * table) @ _DCT
    return blocks.swapaxes(1, 2).reshape(height, width)


def jpeg(image: np.ndarray, quality: float, subsampling: str = "4:2:0") -> np.ndarray:
    """Compress and decompress.

    Args:
        image: H x W x C float32 in [0, 1]: RGB, or other channels, each of which is compressed as gray.
        quality: 0 < q < 100, need not be whole.
        subsampling: chroma subsampling, a key of `SUBSAMPLING`.

    Returns:
        The same shape, in [0, 1].
    """
    factor = np.float32(quality_factor(quality))
    height, width, channels = image.shape
    padded = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0))) * np.float32(255)
    if channels != 3:
        planes = [_compressed(padded[..., c] - 128, LUMA * factor) + 128 for c in range(channels)]
        decoded = np.stack(planes, axis=-1)
    else:
        ycc = padded @ TO_YCC.T
        planes = [_compressed(ycc[..., 0] - 128, LUMA * factor) + 128]
        rows, columns = padded.shape[:2]
        down, across = SUBSAMPLING[subsampling]
        for channel in (1, 2):  # zero without colour, so the 128 that is added and subtracted is left out
            size = columns // across, rows // down
            means = cv2.resize(ycc[..., channel], size, interpolation=cv2.INTER_AREA)
            coded = _compressed(means, CHROMA * factor)
            planes.append(cv2.resize(coded, (columns, rows), interpolation=cv2.INTER_NEAREST))
        decoded = cv2.transform(cv2.merge(planes), TO_RGB)
    return np.clip(decoded[:height, :width], 0, 255) / np.float32(255)
