"""Degradation operations, one small object each. Pipelines are lists of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ppsr.degradations import blur, jpeg, noise
from ppsr.degradations.base import Operation
from ppsr.errors import DataError
from ppsr.imaging.resize import interpolate

# `device` is imported where a batch needs it: it imports Paddle, which the host does without
if TYPE_CHECKING:
    from paddle import Tensor

    from ppsr.degradations.device import TensorDraws

MODES = ("area", "bilinear", "bicubic")  # of published degradations


@dataclass(frozen=True)
class Blur(Operation):
    """Filter with a kernel."""

    kernel: np.ndarray

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return blur.filter2d(image, self.kernel)

    @staticmethod
    def apply_batch(x: Tensor, operations: Sequence[Blur], draws: TensorDraws) -> Tensor:
        from ppsr.degradations import device

        return device.filter2d(x, np.stack([operation.kernel for operation in operations]))


@dataclass(frozen=True)
class Resize(Operation):
    """Resize by a factor or to a size."""

    mode: str
    scale: float | None = None
    size: tuple[int, int] | None = None

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return interpolate(image, mode=self.mode, scale=self.scale, size=self.size)

    @staticmethod
    def apply_batch(x: Tensor, operations: Sequence[Resize], draws: TensorDraws) -> Tensor:
        from ppsr.degradations import device

        first = operations[0]
        if any(operation != first for operation in operations):
            raise DataError(
                "the images of a batch are resized alike; draw their factors from a common generator"
            )
        return device.interpolate(x, mode=first.mode, scale=first.scale, size=first.size)


@dataclass(frozen=True)
class Noise(Operation):
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

    @staticmethod
    def apply_batch(x: Tensor, operations: Sequence[Noise], draws: TensorDraws) -> Tensor:
        from ppsr.degradations import device

        level = np.array([operation.level for operation in operations])
        gray = np.array([operation.gray for operation in operations])
        if operations[0].kind == "gaussian":
            drawn = device.gaussian_noise(x, sigma=level, gray=gray, draws=draws)
        else:
            drawn = device.poisson_noise(x, scale=level, gray=gray, draws=draws)
        return (x + drawn).clip(0, 1)

    def batch_group(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Jpeg(Operation):
    """JPEG compression of an image clipped to [0, 1]."""

    quality: float
    subsampling: str = "4:2:0"

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return jpeg.jpeg(np.clip(image, 0, 1), self.quality, self.subsampling)

    @staticmethod
    def apply_batch(x: Tensor, operations: Sequence[Jpeg], draws: TensorDraws) -> Tensor:
        from ppsr.degradations import device

        quality = np.array([operation.quality for operation in operations])
        return device.jpeg(x.clip(0, 1), quality, operations[0].subsampling)

    def batch_group(self) -> str:
        return self.subsampling


@dataclass(frozen=True)
class Skipped(Operation):
    """In place of an operation that leaves an image out."""

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image

    @staticmethod
    def apply_batch(x: Tensor, operations: Sequence[Skipped], draws: TensorDraws) -> Tensor:
        return x


def apply_operations(
    image: np.ndarray, operations: Sequence[Operation], rng: np.random.Generator
) -> np.ndarray:
    """Apply one after the other."""
    for operation in operations:
        image = operation.apply(image, rng)
    return image
