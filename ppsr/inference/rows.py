"""Resizing an image of which only some rows are there at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ppsr.imaging.resize import cubic_matrix

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
    last_tap = np.array([down.indices[a:b].max() for a, b in zip(down.indptr, down.indptr[1:], strict=False)])
    first_tap = np.array(
        [down.indices[a:b].min() for a, b in zip(down.indptr, down.indptr[1:], strict=False)]
    )
    last_tap = np.maximum.accumulate(last_tap)
    first_tap = np.minimum.accumulate(first_tap[::-1])[::-1]
    held: np.ndarray | None = None
    base = done = 0
    for band in bands:
        for start in range(0, len(band), _CHUNK):
            rows = _across(band[start : start + _CHUNK], across)
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


def _across(rows: np.ndarray, matrix: object) -> np.ndarray:
    """Resize along the second axis."""
    turned = np.ascontiguousarray(rows.transpose(1, 0, 2))
    resized = (matrix @ turned.reshape(len(turned), -1)).reshape(-1, *turned.shape[1:])  # type: ignore[operator]
    return np.ascontiguousarray(resized.transpose(1, 0, 2), dtype=np.float32)
