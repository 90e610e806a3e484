"""LR images, and HR in several sizes, by MATLAB's bicubic; equal to MATLAB's files in every bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ppsr.errors import ConfigError
from ppsr.imaging.arrays import mod_crop
from ppsr.imaging.io import decode_image
from ppsr.imaging.resize import matlab_resize_integers
from ppsr.prepare.jobs import Recipe, SkipImageError

__all__ = ["Bicubic", "MultiScale"]


@dataclass(frozen=True)
class Bicubic(Recipe):
    """`<target>/LR_bicubic/X<s>/<name>x<s>.png`; with `multiple` also `<target>/HR/<name>.png`.

    8-bit and 16-bit images keep their type, gray ones stay gray.

    Args:
        multiple: cut HR to multiples of this (12 for x2 to x4 together) and write it; None cuts to each
            scale for itself and writes no HR.

    Raises:
        ConfigError: scales below 2, or that do not divide `multiple`.

    Example:
        >>> Bicubic(Path("data/Set5"), scales=(2, 4)).make("data/Set5/HR")  # doctest: +SKIP
    """

    scales: tuple[int, ...] = (2, 3, 4)
    multiple: int | None = None
    name: ClassVar[str] = "bicubic"
    unnoted: ClassVar[tuple[str, ...]] = ("target", "scales")

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) < 2:
            raise ConfigError(f"scales must be whole numbers from 2, got {list(self.scales)}")
        least = math.lcm(*self.scales)
        if self.multiple is not None and (self.multiple < 1 or self.multiple % least):
            raise ConfigError(
                f"x{list(self.scales)} need HR sides that are multiples of {least}, got {self.multiple}"
            )

    def files(self, path: Path) -> list[Path]:
        low = [self.target / "LR_bicubic" / f"X{s}" / f"{path.stem}x{s}.png" for s in self.scales]
        return [*low, self.target / "HR" / f"{path.stem}.png"] if self.multiple else low

    def images(self, path: Path) -> Iterator[tuple[Path, np.ndarray]]:
        image = decode_image(path)
        if min(image.shape[:2]) < (self.multiple or max(self.scales)):
            raise SkipImageError(f"{image.shape[1]} x {image.shape[0]} is too small")
        image = mod_crop(image, self.multiple or 1)
        *low, last = files = self.files(path)
        for scale, file in zip(self.scales, low if self.multiple else files, strict=True):
            yield file, matlab_resize_integers(mod_crop(image, scale), 1 / scale)
        if self.multiple:
            yield last, image


@dataclass(frozen=True)
class MultiScale(Recipe):
    """`<target>/<name>_<percent>.png` for every factor, as FSRCNN's and ESRGAN's training sets hold them.

    Args:
        factors: sizes relative to the image, above 0 to 1, in whole percent.
        smallest: leave out results with a shorter side.

    Raises:
        ConfigError: other factors.
    """

    factors: tuple[float, ...] = (1, 0.9, 0.8, 0.7, 0.6)
    smallest: int = 1
    name: ClassVar[str] = "multiscale"

    def __post_init__(self) -> None:
        percents = self._percents
        whole = all(abs(100 * f - p) < 1e-6 for f, p in zip(self.factors, percents, strict=True))
        if not percents or not whole or min(percents) < 1 or max(percents) > 100:
            raise ConfigError(
                f"factors are whole percents above 0 to 1, such as 1,0.9,0.8; got {list(self.factors)}"
            )

    @property
    def _percents(self) -> list[int]:
        return [round(100 * factor) for factor in self.factors]

    def files(self, path: Path) -> list[Path]:
        return [self.target / f"{path.stem}_{percent}.png" for percent in self._percents]

    def images(self, path: Path) -> Iterator[tuple[Path, np.ndarray]]:
        image = decode_image(path)
        sizes = zip(self.files(path), self._percents, strict=True)
        side = min(image.shape[:2])
        fitting = [(file, percent) for file, percent in sizes if side * percent >= 100 * self.smallest]
        if not fitting:
            raise SkipImageError(f"{image.shape[1]} x {image.shape[0]} is too small")
        for file, percent in fitting:
            yield file, matlab_resize_integers(image, percent / 100)
