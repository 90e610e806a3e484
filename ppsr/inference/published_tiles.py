"""The tile modes of the published DRCT and HAT code, for reproducing its images.

Three programs cut in three ways (Hsu et al., "DRCT", CVPRW 2024; Chen et al., "HAT", CVPR 2023):

* `published`: the test of both repositories and of Real-ESRGAN. Each SR pixel comes from one tile, which is
  read with a pad on each side.
* `published-inference`: DRCT's `inference.py`. Overlapping tiles are averaged with equal weights, and the
  image is always padded, even where its size is a multiple of the window.
* `published-onnx`: DRCT's script for ONNX models. Tiles pass through half precision, are padded on their own
  to multiples of 16, and the result is clipped.

A tile that fails fails the image; the published loops silently reuse the tile before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np

from ppsr.errors import ConfigError, DataError
from ppsr.inference.network_info import NetworkInfo

__all__ = [
    "PUBLISHED_MODES",
    "average_tiles",
    "count_tiles",
    "cut_as_published",
    "half_tiles",
    "mirror_pad",
    "paste_tiles",
    "reflect_pad",
]

Run = Callable[[np.ndarray], np.ndarray]  # (N, C, H, W) -> (N, C, scale * H, scale * W), no padding
_ONNX_MULTIPLE = 16


def reflect_pad(lq: np.ndarray, multiple: int) -> np.ndarray:
    """Pad (N, C, H, W) bottom and right to a multiple by reflection without the edge.

    Raises:
        DataError: the image is smaller than the padding.
    """
    bottom, right = -lq.shape[2] % multiple, -lq.shape[3] % multiple
    if bottom >= lq.shape[2] or right >= lq.shape[3]:
        raise DataError(
            f"a published tile mode cannot pad an image of {lq.shape[2:]} to multiples of {multiple}; use "
            "tile mode blend"
        )
    return np.pad(lq, ((0, 0), (0, 0), (0, bottom), (0, right)), mode="reflect")


def mirror_pad(lq: np.ndarray, window: int) -> np.ndarray:
    """Pad (N, C, H, W) bottom and right by 1 to `window` pixels to a multiple, edge pixels repeated.

    Raises:
        DataError: the image is smaller than the padding.
    """
    bottom, right = window - lq.shape[2] % window, window - lq.shape[3] % window
    if bottom > lq.shape[2] or right > lq.shape[3]:
        raise DataError(
            f"this published tile mode needs {bottom} x {right} pixels to mirror and the image has "
            f"{lq.shape[2:]}; use tile mode blend"
        )
    return np.pad(lq, ((0, 0), (0, 0), (0, bottom), (0, right)), mode="symmetric")


def _checked(tile: int, window: int, what: str) -> None:
    """Raise for a size that does not consist of windows.

    Raises:
        ConfigError: not a positive multiple.
    """
    if tile % window or tile < 0:
        raise ConfigError(f"{what} {tile} of a published tile mode must be a multiple of the window {window}")


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


def paste_tiles(run: Run, lq: np.ndarray, *, scale: int, window: int, tile: int, pad: int) -> np.ndarray:
    """Mode `published`.

    Args:
        run: the network.
        lq: (N, C, H, W) in [0, 1].
        scale: of the network.
        window: the image is padded to multiples of it; tile and pad are multiples of it.
        tile: side of a tile without its pad; 0: the whole image.
        pad: read beyond the tile on each side.

    Raises:
        ConfigError: tile or pad is not a multiple of the window.
        DataError: the image is too small.
    """
    _checked(tile, window, "tile")
    _checked(pad, window, "overlap")
    height, width = lq.shape[2:]
    padded = reflect_pad(lq, window)
    sr = _pasted(run, padded, scale, tile, pad) if tile else run(padded)
    return sr[:, :, : height * scale, : width * scale]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where the tiles begin on an axis; the last ends with it."""
    return [*range(0, length - tile, tile - overlap), length - tile]


def average_tiles(
    run: Run, lq: np.ndarray, *, scale: int, window: int, tile: int, overlap: int
) -> np.ndarray:
    """Mode `published-inference`; arguments as `paste_tiles`, but neighbouring tiles share `overlap` pixels.

    Raises:
        ConfigError: the tile is not a multiple of the window, or not larger than the overlap.
        DataError: the image is too small.
    """
    _checked(tile, window, "tile")
    height, width = lq.shape[2:]
    padded = mirror_pad(lq, window)
    if not tile:
        return run(padded)[:, :, : height * scale, : width * scale]
    tile = min(tile, *padded.shape[2:])
    if overlap >= tile:
        raise ConfigError(f"the overlap {overlap} must be smaller than the tile {tile}")
    starts = [_starts(length, tile, overlap) for length in padded.shape[2:]]
    total = np.zeros((*lq.shape[:2], *(scale * length for length in padded.shape[2:])), np.float32)
    count = np.zeros(total.shape[2:], np.float32)
    for top, left in product(*starts):
        where = (
            slice(top * scale, (top + tile) * scale),
            slice(left * scale, (left + tile) * scale),
        )
        total[:, :, where[0], where[1]] += run(padded[:, :, top : top + tile, left : left + tile])
        count[where] += 1
    return (total / count)[:, :, : height * scale, : width * scale]


def half_tiles(run: Run, lq: np.ndarray, *, scale: int, window: int, tile: int, pad: int) -> np.ndarray:
    """Mode `published-onnx`; arguments as `paste_tiles`, result in [0, 1].

    Narrow tiles are mirrored more than once, as OpenCV does it in the script.

    Raises:
        ConfigError: the network's window does not divide 16.
    """
    _checked(_ONNX_MULTIPLE, window, "the padding")

    def half(part: np.ndarray) -> np.ndarray:
        margins = [(0, 0), (0, 0), *((0, -length % _ONNX_MULTIPLE) for length in part.shape[2:])]
        padded = np.pad(part.astype(np.float16).astype(np.float32), margins, mode="reflect")
        return run(padded)[:, :, : part.shape[2] * scale, : part.shape[3] * scale]

    return np.clip(_pasted(half, lq, scale, tile, pad) if tile else half(lq), 0, 1)


def cut_as_published(
    mode: str, run: Run, count: Callable[[], None], lq: np.ndarray, info: NetworkInfo, tile: int, pad: int
) -> np.ndarray:
    """Apply a network by one of `PUBLISHED_MODES`; `count` is called after each tile.

    Raises:
        ConfigError: sizes that the mode does not take.
        DataError: the image is too small.
    """

    def counted(part: np.ndarray) -> np.ndarray:
        sr = run(part)
        count()
        return sr

    common = {"scale": info.scale, "window": info.size_multiple, "tile": tile}
    if mode == "published":
        return paste_tiles(counted, lq, **common, pad=pad)
    if mode == "published-onnx":
        return half_tiles(counted, lq, **common, pad=pad)
    return average_tiles(counted, lq, **common, overlap=pad)


def count_tiles(mode: str, height: int, width: int, *, window: int, tile: int, overlap: int) -> int:
    """How often a mode runs the network for an image.

    Args:
        mode: one of `PUBLISHED_MODES`.
        height: of the LR image.
        width: of the LR image.
        window: of the network.
        tile: side of a tile; 0: the whole image.
        overlap: as the mode takes it.
    """
    if not tile:
        return 1
    if mode == "published-inference":
        sides = [length + window - length % window for length in (height, width)]
        tile = min(tile, *sides)
        return math.prod(len(_starts(side, tile, min(overlap, tile - 1))) for side in sides)
    multiple = window if mode == "published" else 1
    return math.prod(-(-(length + -length % multiple) // tile) for length in (height, width))


PUBLISHED_MODES = ("published", "published-inference", "published-onnx")
