"""Degradation operations, one small object each. Pipelines are lists of these.

An operation holds its choices; numbers that fill a whole image (noise) are drawn when it is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ppsr.degradations import blur, jpeg, noise
from ppsr.degradations.noise import quantise
from ppsr.imaging.resize import interpolate

__all__ = ["MODES", "Blur", "Jpeg", "Noise", "Operation", "Resize", "Skipped", "apply_operations", "quantise"]

MODES = ("area", "bilinear", "bicubic")  # of published degradations


class Operation(Protocol):
    """H x W x C float32 -> the same, of another size perhaps."""

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The changed image; the input is untouched."""


@dataclass(frozen=True)
class Blur:
    """Filter with a kernel."""

    kernel: np.ndarray

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return blur.filter2d(image, self.kernel)


@dataclass(frozen=True)
class Resize:
    """Resize by a factor or to a size."""

    mode: str
    scale: float | None = None
    size: tuple[int, int] | None = None

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return interpolate(image, mode=self.mode, scale=self.scale, size=self.size)


@dataclass(frozen=True)
class Noise:
    """Gaussian (level: standard deviation of 255) or Poisson (level: factor) noise, clipped to [0, 1]."""

    kind: str
    level: float
    gray: bool

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.kind == "gaussian":
            drawn = noise.gaussian_noise(image.shape, sigma=self.level, gray=self.gray, rng=rng)
        else:
            drawn = noise.poisson_noise(image, scale=self.level, gray=self.gray, rng=rng)
        return noise.add_noise(image, drawn)


@dataclass(frozen=True)
class Jpeg:
    """JPEG compression of an image clipped to [0, 1]."""

    quality: float
    subsampling: str = "4:2:0"

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return jpeg.jpeg(np.clip(image, 0, 1), self.quality, self.subsampling)


@dataclass(frozen=True)
class Skipped:
    """In place of an operation that leaves an image out."""

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image


def apply_operations(
    image: np.ndarray, operations: Sequence[Operation], rng: np.random.Generator
) -> np.ndarray:
    """Apply one after the other."""
    for operation in operations:
        image = operation.apply(image, rng)
    return image
