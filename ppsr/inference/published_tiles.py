"""The tile loops of the published DRCT and HAT code, for reproducing its images.

Three programs cut in three ways (Hsu et al., "DRCT", CVPRW 2024; Chen et al., "HAT", CVPR 2023):

* `published`: the test of both repositories and of Real-ESRGAN. The image is padded to multiples of the
  window; each SR pixel comes from one tile, which is read with a pad on each side.
* `published-inference`: DRCT's `inference.py`. The image is padded by 1 to `window` pixels; overlapping tiles
  are averaged with equal weights.
* `published-onnx`: DRCT's script for ONNX models. Tiles pass through half precision, are padded on their own
  to multiples of 16, and the result is clipped.

A tile that fails fails the image; the published loops silently reuse the tile before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from ppsr.errors import ConfigError, DataError
from ppsr.generators.network_info import NetworkInfo
from ppsr.inference.backends.base import Backend, apply_backend
from ppsr.memory import is_out_of_memory

PUBLISHED_MODES = ("published", "published-inference", "published-onnx")
_ONNX_MULTIPLE = 16
Run = Callable[[np.ndarray], np.ndarray]  # (N, C, H, W) -> (N, C, scale * H, scale * W), no padding


class PublishedTiles:
    """A backend that runs another one by a published tile loop; see `upscale_as_published`."""

    def __init__(self, backend: Backend, mode: str, tile: int, overlap: int) -> None:
        self.backend, self.mode, self.tile, self.overlap = backend, mode, tile, overlap
        self.name, self.info = backend.name, replace(backend.info, size_multiple=1)  # the loop pads
        self.note = f"{mode}, tiles of {tile} with overlap {overlap}" if tile else mode

    def run(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """See `Backend`."""
        vector = None if degradation is None else degradation[0]  # one for all images
        highest = np.float32(self.info.rgb_range)

        def part(lq: np.ndarray) -> np.ndarray:
            try:
                return apply_backend(self.backend, lq, vector)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            size = f"{lq.shape[3]} x {lq.shape[2]}"
            raise DataError(
                f"memory is short for a tile of {size}, which {self.mode} never halves; give a smaller --tile"
            )

        info = self.backend.info
        return upscale_as_published(self.mode, part, x / highest, info, self.tile, self.overlap) * highest

    def degradation_map(self, x: np.ndarray) -> np.ndarray:
        """See `Backend`."""
        return self.backend.degradation_map(x)


def upscale_as_published(
    mode: str, run: Run, lq: np.ndarray, info: NetworkInfo, tile: int, overlap: int
) -> np.ndarray:
    """Apply a network tile by tile.

    Args:
        mode: one of `PUBLISHED_MODES`.
        lq: (N, C, H, W) in [0, 1].
        tile: side of a tile; 0: the whole image.
        overlap: overlap of neighbouring tiles in `published-inference`, otherwise the padding on each side.

    Raises:
        ConfigError: sizes that the mode does not take.
        DataError: the image is too small to be padded.
    """
    window, scale = info.size_multiple, info.scale
    height, width = lq.shape[2:]
    mirrored = mode == "published-inference"  # with the edge pixel; by reflection one pixel less is there
    sides = [height, width]
    if mode != "published-onnx":
        sides = [side + (window - side % window if mirrored else -side % window) for side in sides]
    if sides[0] - height >= height + mirrored or sides[1] - width >= width + mirrored:
        raise DataError(
            f"tile mode {mode} cannot pad an image of {width} x {height} to multiples of {window}; use tile "
            "mode blend"
        )
    margins = ((0, 0), (0, 0), (0, sides[0] - height), (0, sides[1] - width))
    x = np.pad(lq, margins, mode="symmetric" if mirrored else "reflect")

    def part(lq: np.ndarray) -> np.ndarray:
        if any(side % window for side in lq.shape[2:]):
            raise ConfigError(
                f"tile mode {mode} cuts a part of {lq.shape[3]} x {lq.shape[2]}; tile and overlap must be "
                f"multiples of the window {window}"
            )
        return run(lq)

    prepared = _half_precision(part, scale) if mode == "published-onnx" else part
    if not tile:
        sr = prepared(x)
    elif mirrored:
        sr = _averaged(prepared, x, scale, min(tile, *sides), overlap)
    else:
        sr = _pasted(prepared, x, scale, tile, overlap)
    sr = sr[:, :, : height * scale, : width * scale]
    return np.clip(sr, 0, 1) if mode == "published-onnx" else sr


def _half_precision(run: Run, scale: int) -> Run:
    """Narrow tiles are mirrored more than once, as OpenCV does it in the script."""

    def half(part: np.ndarray) -> np.ndarray:
        margins = [(0, 0), (0, 0), *((0, -length % _ONNX_MULTIPLE) for length in part.shape[2:])]
        padded = np.pad(part.astype(np.float16).astype(np.float32), margins, mode="reflect")
        return run(padded)[:, :, : part.shape[2] * scale, : part.shape[3] * scale]

    return half


def _pasted(run: Run, lq: np.ndarray, scale: int, tile: int, pad: int) -> np.ndarray:
    """Each tile of the grid is read with a pad, clipped to the image, and its centre is kept."""
    n, channels, height, width = lq.shape
    sr = np.empty((n, channels, height * scale, width * scale), np.float32)
    for top, left in product(range(0, height, tile), range(0, width, tile)):
        bottom, right = min(top + tile, height), min(left + tile, width)
        above, before = max(top - pad, 0), max(left - pad, 0)
        part = run(lq[:, :, above : min(bottom + pad, height), before : min(right + pad, width)])
        y, x = (top - above) * scale, (left - before) * scale
        sr[:, :, top * scale : bottom * scale, left * scale : right * scale] = part[
            :, :, y : y + (bottom - top) * scale, x : x + (right - left) * scale
        ]
    return sr


def _averaged(run: Run, lq: np.ndarray, scale: int, tile: int, overlap: int) -> np.ndarray:
    n, channels, height, width = lq.shape
    if overlap >= tile < max(height, width):
        raise ConfigError(f"the overlap {overlap} must be smaller than the tile {tile}")
    total = np.zeros((n, channels, height * scale, width * scale), np.float32)
    count = np.zeros(total.shape[2:], np.float32)
    # the last tile of a row ends at the border
    starts = ([*range(0, side - tile, max(tile - overlap, 1)), side - tile] for side in (height, width))
    for top, left in product(*starts):
        rows = slice(top * scale, (top + tile) * scale)
        columns = slice(left * scale, (left + tile) * scale)
        total[:, :, rows, columns] += run(lq[:, :, top : top + tile, left : left + tile])
        count[rows, columns] += 1
    return total / count
