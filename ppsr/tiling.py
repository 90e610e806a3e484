"""Cutting images into overlapping tiles, and joining the results row by row.

A tile is read with an overlap on each side. Where the receptive field of the network fits into it, what is
kept of the tile equals the whole image. Elsewhere the outer half of the overlap, which saw the tile's
border, is thrown away and the inner half is mixed with the neighbour's by a cosine ramp, so that no seam
shows. Only one row of tiles is held.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ppsr.errors import ConfigError, DataError
from ppsr.generators.network_info import NetworkInfo
from ppsr.imaging.io import to_unit
from ppsr.memory import is_out_of_memory, release_memory, trim_heap

__all__ = ["TilePlan", "Tiler", "Tiles", "count_tiles", "default_overlap", "largest_tiles", "make_tiles"]

logger = logging.getLogger(__name__)

_LARGEST_OVERLAP = 64  # theoretical fields of deep networks are far wider than what their outputs depend on
_UNBOUNDED_OVERLAP = 32
_LARGEST_TILE = 512  # beyond, tiles cost memory and save little time
_SMALLEST_TILE = 16
_SMALLEST_HALF = 8  # where halving ends
_ROWS = 64  # handed on at once

Region = tuple[int, int, int, int]  # top, bottom, left, right in LR pixels


@dataclass(frozen=True)
class Tiles:
    """How an image is cut, in LR pixels.

    Attributes:
        size: largest side of what a tile contributes; 0: the image is not cut.
        overlap: read beyond that on each side.
        fade: width on each side of a tile's edge in which neighbours are mixed.
    """

    size: int = 0
    overlap: int = 0
    fade: int = 0


@dataclass(frozen=True)
class TilePlan:
    """How one image will be computed.

    Attributes:
        count: number of tiles.
        memory: predicted additional bytes; None if not predicted.
    """

    tiles: Tiles
    count: int
    memory: int | None

    def __str__(self) -> str:
        memory = "" if self.memory is None else f", {self.memory / 1e6:.0f} MB predicted"
        if not self.tiles.size:
            return f"whole image{memory}"
        return f"{self.count} tiles of {self.tiles.size} with overlap {self.tiles.overlap}{memory}"


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def default_overlap(info: NetworkInfo) -> int:
    """The receptive radius, at most 64; 32 or two windows if the receptive field is unbounded."""
    if info.receptive_radius is None:
        return max(_UNBOUNDED_OVERLAP, 2 * info.size_multiple if info.size_multiple > 1 else 0)
    return _up(min(info.receptive_radius, _LARGEST_OVERLAP), info.size_multiple)


def make_tiles(info: NetworkInfo, size: int, overlap: int | None = None) -> Tiles:
    """Tiles of a wanted size, rounded up to the network's size multiple.

    Args:
        size: side of a tile without its overlap; 0: do not cut.
        overlap: None: from the network.

    Raises:
        ConfigError: negative sizes.
    """
    if size < 0 or (overlap is not None and overlap < 0):
        raise ConfigError(f"tile and overlap must not be negative, got {size} and {overlap}")
    reach = _up(default_overlap(info) if overlap is None else overlap, info.size_multiple)
    radius = info.receptive_radius
    fade = 0 if radius is not None and radius <= reach else reach // 2
    if size == 0:
        return Tiles(0, reach, fade)  # both count if memory turns out to be short
    return Tiles(_up(max(size, 2 * fade, 1), info.size_multiple), reach, fade)


def largest_tiles(
    info: NetworkInfo,
    shape: tuple[int, int, int],
    *,
    per_pixel: float,
    budget: int,
    device_budget: int | None = None,
    overlap: int | None = None,
    tile: int | None = None,
) -> tuple[Tiles, int]:
    """The whole image if it fits into memory, else the largest tiles that do.

    Args:
        shape: height, width and channels of the LR image, alpha included.
        per_pixel: bytes that the network takes per LR pixel of a tile.
        budget: bytes to be used.
        device_budget: bytes that the network may use on a device with its own memory; None: there is none.
        overlap: None: from the network.
        tile: largest side of a tile; 0: the whole image or nothing; None: any.

    Returns:
        The tiles, and the bytes that are predicted for them.

    Raises:
        DataError: not even the smallest tile fits.
    """
    height, width, channels = shape
    size = tile or 0  # not cut
    while True:
        tiles = make_tiles(info, size, overlap)
        cuts = [_edges(length, tiles, info.size_multiple) for length in (height, width)]
        parts = [max(stop - start for start, stop in pairwise(edges)) for edges in cuts]
        read, across = (  # the first and the last tile have one overlap
            min(part + min(len(edges) - 2, 2) * tiles.overlap, edges[-1])
            for part, edges in zip(parts, cuts, strict=True)
        )
        rows = min(parts[0] + 4 * tiles.fade, height)
        network = per_pixel * read * across
        others = rows * width * info.scale**2 * channels * 4  # finished SR values
        others += height * width * channels * 2 if channels in (2, 4) else 0  # `fill_hidden`, of 16 bits
        needed = round(network + others)
        if device_budget is None:
            fits = network + others <= budget
        else:
            fits = network <= device_budget and others <= budget
        if fits:
            return tiles, needed
        if tile == 0:
            break
        largest = min(_LARGEST_TILE, max(height, width)) + info.size_multiple - 1
        size = min(size - info.size_multiple, int(size * 0.9)) if size else largest
        size = size // info.size_multiple * info.size_multiple
        if size < _SMALLEST_TILE:
            break
    left = budget if device_budget is None else min(budget, device_budget)
    subject = f"even the smallest tiles of a {width} x {height} image need"
    if tile == 0:
        subject = f"the whole image of {width} x {height} needs"
    raise DataError(
        f"{subject} {needed / 1e6:.0f} MB and {left / 1e6:.0f} MB are left; allow more memory, or use a "
        "smaller tile, network or overlap"
    )


def _edges(length: int, tiles: Tiles, multiple: int) -> list[int]:
    """Tile boundaries along an axis: equal parts except the last, edges on multiples, room for two fades."""
    if tiles.size == 0 or tiles.size >= length:
        return [0, length]
    count = -(-length // tiles.size)
    step = _up(max(-(-length // count), 2 * tiles.fade), multiple)
    edges = [*range(0, length, step), length]
    if len(edges) > 2 and edges[-1] - edges[-2] < 2 * tiles.fade:
        del edges[-2]
    return edges


def count_tiles(height: int, width: int, tiles: Tiles, multiple: int) -> int:
    """Number of tiles of an image; `multiple` as in `Tiler`."""
    return math.prod(len(_edges(length, tiles, multiple)) - 1 for length in (height, width))


def _rise(fade: int) -> np.ndarray:
    """Weights from 0 to 1 over 2 * fade pixels; with its mirror image it adds up to 1."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(2 * fade) + 0.5) / (2 * fade))).astype(np.float32)


def _ramp(first: int, last: int, length: int, fade: int) -> np.ndarray:
    """Weights of a tile's SR rows or columns from `first - fade` to `last + fade`, all in SR pixels."""
    start, stop = max(0, first - fade), min(length, last + fade)
    weights = np.ones(stop - start, np.float32)
    if not fade:
        return weights
    rise = _rise(fade)
    if first > 0:
        weights[: 2 * fade] = rise
    if last < length:
        weights[-2 * fade :] = 1 - rise
    return weights


@dataclass
class Tiler:
    """Applies a function to an image tile by tile.

    A tile for which memory is short is computed again in halves; once that happened, later tiles of that
    size are halved at once.

    Attributes:
        run: LR tile (h, w, C) float32 in [0, 1] -> SR tile (scale * h, scale * w, C) float32.
        scale: SR size / LR size.
        multiple: tiles start at multiples of it, so that windows are placed as in the whole image.
        tiles: how to cut.
        retile_on_oom: halve tiles that run out of memory; False: raise the error.
        limit_memory: trim the heap after each tile instead of each row of tiles, which takes a little longer.
        on_tile: called after each tile.
    """

    run: Callable[[np.ndarray], np.ndarray]
    scale: int
    multiple: int
    tiles: Tiles
    retile_on_oom: bool = True
    limit_memory: bool = False
    on_tile: Callable[[], None] = lambda: None
    _too_large: float = math.inf

    def bands(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Finished SR rows from top to bottom: (up to 64 rows, scale * W, C) float32.

        They are copies, so that the row of tiles they come from is gone before the next one is computed.

        Args:
            image: (H, W, C), uint8, uint16, or float in [0, 1].

        Raises:
            DataError: a tile failed, even cut small.
        """
        height, width, channels = image.shape
        scale, fade = self.scale, self.tiles.fade
        carry: np.ndarray | None = None
        for top, bottom in pairwise(_edges(height, self.tiles, self.multiple)):
            first, last = max(0, top - fade), min(height, bottom + fade)
            band = np.zeros(((last - first) * scale, width * scale, channels), np.float32)
            down = _ramp(top * scale, bottom * scale, height * scale, fade * scale)[:, None, None]
            for left, right in pairwise(_edges(width, self.tiles, self.multiple)):
                start, stop = max(0, left - fade), min(width, right + fade)
                sr = self._solve(image, (first, last, start, stop))
                if fade:
                    across = _ramp(left * scale, right * scale, width * scale, fade * scale)
                    sr = sr * (down * across[None, :, None])
                band[:, start * scale : stop * scale] += sr
                del sr
                if self.limit_memory:
                    trim_heap()
                self.on_tile()
            if carry is not None:
                band[: len(carry)] += carry
            kept = 2 * fade * scale if bottom < height else 0
            carry = band[len(band) - kept :].copy() if kept else None
            for row in range(0, len(band) - kept, _ROWS):
                yield band[row : min(row + _ROWS, len(band) - kept)].copy()
            del band
            if bottom < height:
                trim_heap()  # holes between what stays would add up over a tall image

    def _solve(self, image: np.ndarray, region: Region) -> np.ndarray:
        """The SR of a region."""
        top, bottom, left, right = region
        rows = self._read(top, bottom, image.shape[0])
        columns = self._read(left, right, image.shape[1])
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        if area < self._too_large:
            try:
                sr = self.run(to_unit(image[rows, columns]))
                y, x = (top - rows.start) * self.scale, (left - columns.start) * self.scale
                return sr[y : y + (bottom - top) * self.scale, x : x + (right - left) * self.scale]
            except Exception as error:
                if not (self.retile_on_oom and is_out_of_memory(error)):
                    raise
                logger.warning("memory is short for a tile of %d pixels; it is halved", area)
            self._too_large = area
            release_memory()
        return self._halved(image, region)

    def _read(self, first: int, last: int, length: int) -> slice:
        """Input range for the part from `first` to `last`, extended by the overlap to multiples."""
        reach = self.tiles.overlap - self.tiles.fade
        start = max(0, first - reach) // self.multiple * self.multiple
        return slice(start, min(length, _up(last + reach, self.multiple)))

    def _halved(self, image: np.ndarray, region: Region) -> np.ndarray:
        """The SR of a region from its halves across the longer side, which are mixed like tiles.

        Raises:
            DataError: it is too small to be halved.
        """
        top, bottom, left, right = region
        if max(bottom - top, right - left) < 2 * max(_SMALLEST_HALF, self.multiple):
            raise DataError(
                f"memory is short even for a tile of {right - left} x {bottom - top} pixels; free some, or "
                "use a smaller network or overlap"
            )
        down = bottom - top >= right - left
        first, last = (top, bottom) if down else (left, right)
        middle = _up((first + last) // 2, self.multiple)
        fade = min(self.tiles.fade, (last - middle) // 2, (middle - first) // 2)
        parts = (first, middle + fade), (middle - fade, last)
        halves = [
            self._solve(image, (*part, left, right) if down else (top, bottom, *part)) for part in parts
        ]
        if fade:
            rise, width = _rise(fade * self.scale), 2 * fade * self.scale
            one, two = (half if down else half.swapaxes(0, 1) for half in halves)
            weights = rise[:, None, None]
            mixed = one[-width:] * (1 - weights) + two[:width] * weights
            joined = np.concatenate([one[:-width], mixed, two[width:]])
            return joined if down else joined.swapaxes(0, 1)
        return np.concatenate(halves, axis=0 if down else 1)
