"""Resizing an image of which only some rows are there at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ppsr.imaging.resize import cubic_matrix, resize_columns

__all__ = ["resize_rows"]

_CHUNK = 64  # rows resized at once: what this takes beside the result stays small


def resize_rows(
    bands: Iterable[np.ndarray], old: tuple[int, int], new: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Bicubic resizing with antialiasing, equal to that of the whole image.

    Args:
        bands: rows from top to bottom, (rows, W, C) float32.

    Yields:
        Rows from top to bottom, (rows, W', C) float32 in [0, 1].
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
