"""Checks, warnings and the output description shared by all formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from ppsr.errors import DataError
from ppsr.imaging.metadata import DAMAGED_EXIF, LARGEST_TEXT, Metadata, is_sound_exif

MOST_FRAMES = 10_000  # frames beyond these are not counted
STRIP = 64  # rows
Decoded = tuple[np.ndarray, Metadata, bool]
"""H x W x C uint8 or uint16 as stored, what the file carries, and whether the last channel is alpha."""


@dataclass(frozen=True)
class Target:
    """The image to be written.

    Attributes:
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; in TIFF also more, which are bands.
        dtype: uint8 or uint16, for TIFF also float32.
        quality: JPEG, WebP and AVIF quality, 1 to 100.
        alpha: whether the last channel is alpha.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype
    metadata: Metadata = field(default_factory=Metadata)
    quality: int = 95
    alpha: bool = False


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Check the width and height of an image before it is decoded.

    Raises:
        DataError: empty, or more than `max_pixels`.
    """
    if min(size) < 1:
        raise DataError(f"the image is empty: {size[0]} x {size[1]}")
    if size[0] * size[1] > max_pixels:
        raise DataError(
            f"{size[0]} x {size[1]} are {size[0] * size[1]:,} pixels, allowed are {max_pixels:,}; raise the "
            "limit (--max-pixels) if the file can be trusted"
        )


def sound_exif(exif: bytes | None, warnings: list[str]) -> bytes | None:
    """The EXIF block, or None and a warning if it is damaged."""
    if exif is None or is_sound_exif(exif):
        return exif
    warnings.append(DAMAGED_EXIF)
    return None


def kept_texts(
    texts: list[tuple[bytes, bytes]], warnings: list[str], what: str = "texts"
) -> tuple[tuple[bytes, bytes], ...]:
    """The texts, or none and a warning if they are too large."""
    if sum(len(mark) + len(body) for mark, body in texts) <= LARGEST_TEXT:
        return tuple(texts)
    warnings.append(f"the {what} are too large and are left out")
    return ()


def count_frames(frames: int, warnings: list[str], most: int = MOST_FRAMES) -> None:
    """Warn if a file has more than one frame, as only the first is used."""
    if frames > 1:
        number = f"{frames}" if frames <= most else f"more than {most:,}"
        warnings.append(f"{number} frames or pages, the first is used")


def by_opencv(content: bytes, *, gray: bool) -> np.ndarray:
    """Decode with OpenCV to H x W x C in RGB order, in the stored orientation.

    Args:
        gray: reduce an image that OpenCV decodes to colours to gray, keeping alpha.

    Raises:
        DataError: the image cannot be decoded.
    """
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DataError("cannot decode the image: its data is damaged")
    if pixels.ndim == 2:
        return pixels[..., None]
    if gray:
        return np.ascontiguousarray(pixels[..., [0] if pixels.shape[2] == 3 else [0, -1]])
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def in_strips(rows: Iterator[np.ndarray], target: Target) -> Iterator[np.ndarray]:
    """The same rows, `STRIP` at a time, without a copy of a part that is the whole image."""
    pending = np.empty((0, target.width, target.channels), target.dtype)
    for part in rows:
        pending = np.concatenate([pending, part]) if len(pending) else part
        while len(pending) >= STRIP:
            yield pending[:STRIP]
            pending = pending[STRIP:]
        pending = pending.copy()  # the part may be large, or used again
    if len(pending):
        yield pending
