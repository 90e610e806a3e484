"""Colours for what is fully transparent.

Editors leave any colour there, often black; a network would spread it into the visible edge as a halo.
"""

from __future__ import annotations

import cv2
import numpy as np

_ROWS = 64  # filled at once: the search takes some 40 bytes a pixel
_MARGIN = 64  # rows above and below in which the nearest visible pixel is sought; no tile is read wider


def has_alpha(pixels: np.ndarray, channels: int) -> bool:
    """Whether the last of 2 or 4 bands is alpha; for a network of other channels it is a band like others."""
    return pixels.shape[2] in (2, 4) and channels in (1, 3)


def readable_pixels(pixels: np.ndarray, channels: int) -> tuple[np.ndarray, float | None]:
    """An image as tiles read it, and its alpha where that is the same everywhere and needs no network."""
    if not has_alpha(pixels, channels):
        return pixels, None
    alpha = pixels[..., -1]
    if alpha.min() == alpha.max():  # nothing to compute, and it stays exact
        largest = 1 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max
        return pixels[..., :-1], float(np.float32(alpha.flat[0]) / np.float32(largest))
    return (pixels if alpha.min() else fill_hidden(pixels)), None


def fill_hidden(pixels: np.ndarray) -> np.ndarray:
    """A copy whose fully transparent pixels have the colour of the nearest visible one.

    The nearest is sought among 64 rows above and below each 64 rows; where nothing there is visible, the mean
    of all that is takes its place.

    Args:
        pixels: H x W x 2 or 4, alpha last, not constant.
    """
    filled, mean = pixels.copy(), _mean(pixels)
    for top in range(0, len(pixels), _ROWS):
        own = filled[top : top + _ROWS]
        if own[..., -1].min() > 0:
            continue
        start = max(0, top - _MARGIN)
        around = pixels[start : top + _ROWS + _MARGIN]
        hidden = around[..., -1] == 0
        if hidden.all():
            own[..., :-1] = mean
            continue
        _, nearest = cv2.distanceTransformWithLabels(
            hidden.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        colours = np.zeros((int(nearest.max()) + 1, own.shape[2] - 1), own.dtype)
        colours[nearest[~hidden]] = around[~hidden][:, :-1]
        inner = slice(top - start, top - start + len(own))
        own[hidden[inner], :-1] = colours[nearest[inner][hidden[inner]]]
    return filled


def _mean(pixels: np.ndarray) -> np.ndarray:
    """The mean colour of what is visible."""
    total, count = np.zeros(pixels.shape[2] - 1), 0
    for top in range(0, len(pixels), _ROWS):
        part = pixels[top : top + _ROWS]
        visible = part[..., -1] > 0
        total += part[visible][:, :-1].sum(axis=0, dtype=np.float64)
        count += int(visible.sum())
    mean = total / max(1, count)
    return (np.rint(mean) if pixels.dtype.kind == "u" else mean).astype(pixels.dtype)
