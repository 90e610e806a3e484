"""The random steps that a degradation is a list of: each holds its ranges and draws operations from them.

Options have the names of Real-ESRGAN's (Wang et al., ICCVW 2021, arXiv:2107.10833), without the "2" of those
of the second round.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import permutations
from typing import Any

import numpy as np

from ppsr.degradations.base import ImageSizes, Operation, Rng, SizeBounds, Step
from ppsr.degradations.jpeg import SUBSAMPLING
from ppsr.degradations.kernels import (
    KERNEL_SHAPES,
    KERNEL_SIZE,
    Kernel,
    circular_lowpass,
    gaussian,
    mixed_kernel,
    pad_kernel,
    sinc_kernel,
    unit_pulse,
)
from ppsr.degradations.operations import MODES, Blur, Jpeg, Noise, Resize, Skipped
from ppsr.errors import ConfigError, did_you_mean
from ppsr.imaging.resize import RESIZE_MODES

__all__ = [
    "BlurStep",
    "JpegStep",
    "NoiseStep",
    "RandomOrder",
    "ResizeStep",
    "SincStep",
    "Sometimes",
    "UnsharpStep",
    "are_shares",
    "bounds_after",
    "check_names",
    "check_probability",
    "check_range",
]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_list_of_numbers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_number, value))


def check_range(step: str, key: str, value: Sequence[float], low: float, high: float = np.inf) -> None:
    """Raise a ConfigError unless the option of a step is two rising finite numbers within limits."""
    fits = _is_list_of_numbers(value) and len(value) == 2 and math.isfinite(value[1])
    if not fits or not low <= value[0] <= value[1] <= high:
        limits = f"at least {low}" if high == np.inf else f"between {low} and {high}"
        raise ConfigError(f"{step}: {key} must be [low, high], numbers {limits}, got {value}")


def check_probability(step: str, **values: float) -> None:
    """Raise a ConfigError unless all options, by name, of a step are between 0 and 1."""
    for key, value in values.items():
        if not _is_number(value) or not 0 <= value <= 1:
            raise ConfigError(f"{step}: {key} must be a number between 0 and 1, got {value}")


def are_shares(value: Any, count: int) -> bool:
    """Whether a value is `count` probabilities that sum to 1, as exactly as `numpy.random.Generator.choice`
    wants it."""
    fits = _is_list_of_numbers(value) and len(value) == count
    return fits and min(value) >= 0 and abs(sum(value) - 1) <= 1e-8


def check_shares(step: str, key: str, value: Sequence[float], count: int) -> None:
    """Raise a ConfigError unless the option of a step is `are_shares`."""
    if not are_shares(value, count):
        raise ConfigError(f"{step}: {key} is {count} probabilities that sum to 1, got {value}")


def check_names(step: str, key: str, value: Sequence[str], valid: Collection[str]) -> None:
    """Raise a ConfigError unless the option of a step is a list of valid names."""
    if not isinstance(value, (list, tuple)) or not value:
        raise ConfigError(f"{step}: {key} must be a list of names of {', '.join(valid)}, got {value!r}")
    for name in value:
        if name not in valid:
            raise ConfigError(f"{step}: {key} has the unknown '{name}'; {did_you_mean(name, valid)}")


def _odd_sides(step: str, limits: Sequence[int]) -> list[int]:
    check_range(step, "kernel_range", limits, 1, 21)
    if not all(isinstance(side, int) and side % 2 for side in limits):
        raise ConfigError(f"{step}: kernel_range must be two odd numbers, got {list(limits)}")
    return list(range(limits[0], limits[1] + 1, 2))


@dataclass(frozen=True)
class BlurStep(Step):
    """Filter with a (generalised) Gaussian, plateau or sinc kernel of an odd side in `kernel_range`."""

    blur_sigma: Sequence[float]
    blur_prob: float = 1.0
    kernel_list: Sequence[str] = ("iso", "aniso")
    kernel_prob: Sequence[float] = (0.65, 0.35)
    kernel_range: Sequence[int] = (7, 21)
    betag_range: Sequence[float] = (0.5, 4)
    betap_range: Sequence[float] = (1, 2)
    sinc_prob: float = 0.0

    def __post_init__(self) -> None:
        check_range("blur", "blur_sigma", self.blur_sigma, 1e-3)
        check_range("blur", "betag_range", self.betag_range, 0)
        check_range("blur", "betap_range", self.betap_range, 0)
        check_probability("blur", blur_prob=self.blur_prob, sinc_prob=self.sinc_prob)
        check_names("blur", "kernel_list", self.kernel_list, KERNEL_SHAPES)
        check_shares("blur", "kernel_prob", self.kernel_prob, len(self.kernel_list))
        _odd_sides("blur", self.kernel_range)

    @property
    def kernel_sizes(self) -> list[int]:
        """Odd sides of the range."""
        return _odd_sides("blur", self.kernel_range)

    def draw_kernel(self, rng: Rng) -> Kernel:
        """A kernel padded to 21 x 21: its side, whether it is a sinc, family and parameters, in this order.

        A sinc kernel in this place is described by its side, the smallest sigma and no rotation.
        """
        size = int(rng.choice(self.kernel_sizes))
        if rng.uniform() < self.sinc_prob:
            cutoff = rng.uniform(np.pi / 3 if size < 13 else np.pi / 5, np.pi)
            low = self.blur_sigma[0]
            return Kernel(circular_lowpass(cutoff, size, KERNEL_SIZE), size, low, low, 0.0, cutoff)
        kernel = mixed_kernel(
            rng,
            kernel_list=self.kernel_list,
            kernel_prob=self.kernel_prob,
            kernel_size=size,
            sigma_x_range=self.blur_sigma,
            sigma_y_range=self.blur_sigma,
            betag_range=self.betag_range,
            betap_range=self.betap_range,
        )
        return replace(kernel, values=pad_kernel(kernel.values, KERNEL_SIZE))

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        kernel = self.draw_kernel(rng)
        return [Blur((kernel if rng.random() < self.blur_prob else unit_pulse()).values)]

    def bounds(self, before: SizeBounds) -> SizeBounds:
        return before.after_filter()


@dataclass(frozen=True)
class SincStep(Step):
    """Filter with a sinc kernel, which rings as sharpened images do, or with none."""

    final_sinc_prob: float = 0.8
    kernel_range: Sequence[int] = (7, 21)

    def __post_init__(self) -> None:
        check_probability("sinc", final_sinc_prob=self.final_sinc_prob)
        _odd_sides("sinc", self.kernel_range)

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        sides = _odd_sides("sinc", self.kernel_range)
        return [Blur(sinc_kernel(rng, sizes=sides, probability=self.final_sinc_prob).values)]

    def bounds(self, before: SizeBounds) -> SizeBounds:
        return before.after_filter()


@dataclass(frozen=True)
class ResizeStep(Step):
    """Resize in a random mode, by a random factor.

    Attributes:
        resize_prob: probabilities of enlarging, shrinking and neither; by default always neither.
        resize_range: smallest and largest factor, 1 between them.
        relative_to: what the factor is relative to: the "image" as it is, or the size of the final "lq".
        resize_mode_list: names of `ppsr.imaging.resize.RESIZE_MODES`.
        resize_mode_prob: their probabilities; by default equal.
    """

    is_shared = True

    resize_prob: Sequence[float] = (0, 0, 1)
    resize_range: Sequence[float] = (1, 1)
    relative_to: str = "image"
    resize_mode_list: Sequence[str] = MODES
    resize_mode_prob: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_shares("resize", "resize_prob", self.resize_prob, 3)
        check_names("resize", "resize_mode_list", self.resize_mode_list, RESIZE_MODES)
        if self.resize_mode_prob is not None:
            check_shares("resize", "resize_mode_prob", self.resize_mode_prob, len(self.resize_mode_list))
        check_range("resize", "resize_range", self.resize_range, 1e-3)
        if not self.resize_range[0] <= 1 <= self.resize_range[1]:
            raise ConfigError(f"resize: resize_range must hold 1, got {list(self.resize_range)}")
        if self.relative_to not in ("image", "lq"):
            raise ConfigError(f"resize: relative_to must be 'image' or 'lq', got '{self.relative_to}'")

    def draw_factor(self, shared_rng: Rng) -> float:
        """A factor: the direction, then one number for enlarging and one for shrinking, used or not."""
        low, high = self.resize_range
        direction = int(shared_rng.choice(3, p=self.resize_prob))
        return float((shared_rng.uniform(1, high), shared_rng.uniform(low, 1), 1.0)[direction])

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        factor = self.draw_factor(shared_rng)
        mode = str(shared_rng.choice(self.resize_mode_list, p=self.resize_mode_prob))
        if self.relative_to == "image":
            return [Resize(mode, scale=factor)]
        height, width = (int(side / sizes.scale * factor) for side in sizes.size)
        return [Resize(mode, size=(height, width))]

    def bounds(self, before: SizeBounds) -> SizeBounds:
        smallest = self.resize_range[0] if self.resize_prob[1] else 1.0
        side = np.floor((before.lq_side if self.relative_to == "lq" else before.side) * float(smallest))
        return before._replace(side=side, at_lq=self.relative_to == "lq" and self.resize_prob[2] == 1)


@dataclass(frozen=True)
class NoiseStep(Step):
    """Gaussian noise (`noise_range`: deviations of 255) or Poisson noise (factors), gray or in colour."""

    noise_range: Sequence[float]
    poisson_scale_range: Sequence[float]
    gaussian_noise_prob: float = 0.5
    gray_noise_prob: float = 0.4

    def __post_init__(self) -> None:
        check_range("noise", "noise_range", self.noise_range, 0)
        check_range("noise", "poisson_scale_range", self.poisson_scale_range, 0)
        check_probability(
            "noise", gaussian_noise_prob=self.gaussian_noise_prob, gray_noise_prob=self.gray_noise_prob
        )

    def draw_kind(self, rng: Rng) -> str:
        """Kind of noise, "gaussian" or "poisson"."""
        return "gaussian" if rng.random() < self.gaussian_noise_prob else "poisson"

    def level_range(self, kind: str) -> Sequence[float]:
        """Range of the level of one kind of noise."""
        return self.noise_range if kind == "gaussian" else self.poisson_scale_range

    def draw_noise(self, rng: Rng, kind: str) -> Noise:
        """Noise of a kind: its level, then whether it is gray."""
        low, high = self.level_range(kind)
        return Noise(kind, float(rng.uniform(low, high)), bool(rng.random() < self.gray_noise_prob))

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        return [self.draw_noise(rng, self.draw_kind(rng))]


@dataclass(frozen=True)
class JpegStep(Step):
    """JPEG compression of a random quality, with one of several subsamplings of the chroma."""

    jpeg_range: Sequence[float]
    subsampling_list: Sequence[str] = ("4:2:0",)

    def __post_init__(self) -> None:
        check_range("jpeg", "jpeg_range", self.jpeg_range, 1, 99.9)
        check_names("jpeg", "subsampling_list", self.subsampling_list, SUBSAMPLING)

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        quality = float(rng.uniform(self.jpeg_range[0], self.jpeg_range[1]))
        several = len(self.subsampling_list) > 1
        subsampling = str(rng.choice(self.subsampling_list)) if several else self.subsampling_list[0]
        return [Jpeg(quality, subsampling)]


@dataclass(frozen=True)
class UnsharpStep(Step):
    """Unsharp masking, which leaves halos at edges: image + weight * (image - its Gaussian blur)."""

    unsharp_weight: Sequence[float]
    unsharp_sigma: Sequence[float] = (0.5, 3)

    def __post_init__(self) -> None:
        check_range("unsharp", "unsharp_weight", self.unsharp_weight, 0)
        check_range("unsharp", "unsharp_sigma", self.unsharp_sigma, 0.1, 3.3)

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        ranges = self.unsharp_weight, self.unsharp_sigma
        weight, sigma = (float(rng.uniform(low, high)) for low, high in ranges)
        blurred = gaussian(KERNEL_SIZE, sigma, sigma, 0.0, isotropic=True)
        return [Blur((1 + weight) * unit_pulse().values - weight * blurred)]

    def bounds(self, before: SizeBounds) -> SizeBounds:
        return before.after_filter()


@dataclass(frozen=True)
class Sometimes(Step):
    """A step that acts with a probability."""

    step: Step
    prob: float

    def __post_init__(self) -> None:
        check_probability("degradation", prob=self.prob)

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        operations = self.step.draw(rng, shared_rng, sizes)
        if self.step.is_shared:
            return operations if shared_rng.random() < self.prob else []
        return operations if rng.random() < self.prob else [Skipped()] * len(operations)

    def bounds(self, before: SizeBounds) -> SizeBounds:
        return before.merged(self.step.bounds(before))

    def inner_steps(self) -> Sequence[Step]:
        return [self.step]


@dataclass(frozen=True)
class RandomOrder(Step):
    """Groups of steps that follow each other in a random order."""

    is_shared = True

    groups: Sequence[Sequence[Step]]

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        order = shared_rng.permutation(len(self.groups))
        return [op for i in order for step in self.groups[i] for op in step.draw(rng, shared_rng, sizes)]

    def bounds(self, before: SizeBounds) -> SizeBounds:
        orders = [[step for group in order for step in group] for order in permutations(self.groups)]
        return reduce(SizeBounds.merged, [bounds_after(order, before) for order in orders])

    def inner_steps(self) -> Sequence[Step]:
        return [step for group in self.groups for step in group]


def bounds_after(steps: Sequence[Step], before: SizeBounds) -> SizeBounds:
    """Sizes after all steps."""
    return reduce(lambda bounds, step: step.bounds(bounds), steps, before)
