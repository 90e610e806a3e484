"""Cutting large images into overlapping windows that are quick to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np

from ppsr.errors import ConfigError
from ppsr.imaging.arrays import mod_crop
from ppsr.imaging.io import decode_image
from ppsr.prepare.jobs import Recipe, SkipImageError

__all__ = ["SubImages", "window_starts"]

_SCALES = re.compile(r"([_-]?x[2348])+$")


def window_starts(side: int, size: int, step: int, threshold: int = 0) -> list[int]:
    """Start positions of windows along one side: every `step` pixels, and one at the end if more
    than `threshold` pixels remain. Empty if the side is shorter than a window."""
    starts = list(range(0, side - size + 1, step))
    if starts and side - (starts[-1] + size) > threshold:
        starts.append(side - size)
    return starts


@dataclass(frozen=True)
class SubImages(Recipe):
    """The windows of every image, row by row: `<target>/<name>_s001.png`, ...

    A scale at the end of the name (`0001x4`) is left out, so that windows of HR and LR have equal names. They
    show the same regions if `size`, `step`, `threshold` and `multiple` of HR are those of LR times the
    scale. The source is searched recursively.

    Args:
        size: side of a window.
        step: distance from one window to the next.
        threshold: add a last window at the end of a side only if more pixels than this remain.
        multiple: cut images to sides that are multiples of this, before the last windows are placed.

    Raises:
        ConfigError: size, step or multiple is not positive, or threshold is negative.
    """

    size: int = 480
    step: int = 240
    threshold: int = 0
    multiple: int = 1
    name: ClassVar[str] = "subimages"
    recursive: ClassVar[bool] = True
    lists_all: ClassVar[bool] = False

    def __post_init__(self) -> None:
        sizes = (self.size, self.step, self.multiple, self.threshold)
        if min(sizes[:3]) < 1 or self.threshold < 0:
            raise ConfigError(f"size, step and multiple are at least 1, threshold at least 0; got {sizes}")

    def files(self, path: Path) -> list[Path]:
        return [self._file(path, 1)]

    def _file(self, path: Path, number: int) -> Path:
        return self.target / f"{_SCALES.sub('', path.stem) or path.stem}_s{number:03d}.png"

    def images(self, path: Path) -> Iterator[tuple[Path, np.ndarray]]:
        image = mod_crop(decode_image(path), self.multiple)
        tops, lefts = (window_starts(n, self.size, self.step, self.threshold) for n in image.shape[:2])
        if not tops or not lefts:
            shape = f"{image.shape[1]} x {image.shape[0]}"
            raise SkipImageError(f"{shape} is smaller than a window of {self.size}")
        for number, (top, left) in enumerate(product(tops, lefts), start=1):
            yield self._file(path, number), image[top : top + self.size, left : left + self.size]
