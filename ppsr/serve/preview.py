"""The middle of an image before and after, collected while the result streams by."""

from __future__ import annotations

import cv2
import numpy as np

from ppsr.inference.tiling import as_float

__all__ = ["Preview"]

_SIDE = 1600  # of what is shown, in pixels of the result


def _shown(pixels: np.ndarray) -> np.ndarray:
    """h x w x 1 to 4, float in [0, 1] -> h x w x 3 uint8, transparent parts white."""
    colours = pixels[..., :-1] if pixels.shape[2] in (2, 4) else pixels
    if pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1:]
        colours = colours * alpha + (1 - alpha)
    rgb = np.broadcast_to(colours, (*colours.shape[:2], 3))
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


class Preview:
    """Both sides of a comparison at the size of the result: enlarged by bicubic interpolation, and by the
    network.

    Args:
        pixels: the LR image, H x W x C.
        size: height and width of the result.
    """

    def __init__(self, pixels: np.ndarray, size: tuple[int, int]) -> None:
        height, width = pixels.shape[:2]
        self._places = []
        source = []
        for length, result in ((height, size[0]), (width, size[1])):
            kept = min(length, max(1, _SIDE * length // result))
            start = (length - kept) // 2
            source.append(slice(start, start + kept))
            self._places.append((start * result // length, (start + kept) * result // length))
        self._pixels = pixels[source[0], source[1]]
        self._bands: list[np.ndarray] = []
        self._row = 0

    def take(self, band: np.ndarray) -> None:
        """The next finished rows of the result, (rows, W', C) float32 in [0, 1]."""
        (top, bottom), (left, right) = self._places
        first, last = max(top - self._row, 0), min(bottom - self._row, len(band))
        if first < last:
            self._bands.append(_shown(band[first:last, left:right]))
        self._row += len(band)

    def before(self) -> np.ndarray:
        """What plain interpolation makes of the image, h x w x 3 uint8."""
        (top, bottom), (left, right) = self._places
        size = (max(1, right - left), max(1, bottom - top))
        larger = cv2.resize(as_float(self._pixels), size, interpolation=cv2.INTER_CUBIC)
        return _shown(larger[..., None] if larger.ndim == 2 else larger)

    def after(self) -> np.ndarray:
        """The same part of the result, h x w x 3 uint8."""
        return np.concatenate(self._bands)
