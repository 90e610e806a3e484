"""Degradation as a list of random steps; the published list is Real-ESRGAN's of second order.

Wang et al., "Real-ESRGAN", ICCVW 2021, arXiv:2107.10833; used with the same ranges by Reflash Dropout (CVPR
2022, arXiv:2112.12089), Navigating Beyond Dropout (CVPR 2024, arXiv:2402.18929) and Real-DRCT. Differences
from the released code: the order is data, so that another needs no code; whether the second blur acts and
the kind of noise are drawn per picture. Only what decides sizes and order can be common to a batch
(`common`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from itertools import permutations
from typing import Any, Protocol

import numpy as np

from ppsr.degradations.kernels import KERNEL_SHAPES, draw_kernel, sinc_kernel, unit_pulse
from ppsr.degradations.operations import MODES, Blur, Jpeg, Noise, Operation, Resize
from ppsr.errors import ConfigError, did_you_mean

__all__ = [
    "SECOND_ORDER",
    "BlurStep",
    "JpegStep",
    "NoiseStep",
    "RandomOrder",
    "ResizeStep",
    "SincStep",
    "Step",
    "build_steps",
    "draw_operations",
    "smallest_filtered",
]

_KERNELS = {
    "kernel_list": KERNEL_SHAPES,
    "kernel_prob": (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
    "sinc_prob": 0.1,
}

# What all four recipes share; each entry names a step and its options.
SECOND_ORDER: tuple[dict[str, Any], ...] = (
    {"name": "blur", "blur_sigma": (0.2, 3), **_KERNELS},
    {"name": "resize", "resize_prob": (0.2, 0.7, 0.1), "resize_range": (0.15, 1.5)},
    {"name": "noise", "noise_range": (1, 30), "poisson_scale_range": (0.05, 3)},
    {"name": "jpeg", "jpeg_range": (30, 95)},
    {"name": "blur", "blur_sigma": (0.2, 1.5), "blur_prob": 0.8, **_KERNELS},
    {
        "name": "resize",
        "relative_to": "lq",
        "resize_prob": (0.3, 0.4, 0.3),
        "resize_range": (0.3, 1.2),
    },
    {"name": "noise", "noise_range": (1, 25), "poisson_scale_range": (0.05, 2.5)},
    {
        "name": "random_order",
        "groups": (
            ({"name": "resize", "relative_to": "lq"}, {"name": "sinc", "final_sinc_prob": 0.8}),
            ({"name": "jpeg", "jpeg_range": (30, 95)},),
        ),
    },
)


@dataclass(frozen=True)
class Frame:
    """Sizes that steps refer to: of the HR picture, and how much smaller the LR picture is."""

    size: tuple[int, int]
    scale: int


class Step(Protocol):
    """A random step. `common` draws what decides sizes and order, `rng` all else."""

    def draw(self, rng: np.random.Generator, common: np.random.Generator, frame: Frame) -> list[Operation]:
        """Operations with their choices made; as many, of the same kinds, for equal `common`."""


def _check_range(step: str, key: str, value: Sequence[float], low: float, high: float = np.inf) -> None:
    if len(value) != 2 or not low <= value[0] <= value[1] <= high:
        limits = f"at least {low}" if high == np.inf else f"between {low} and {high}"
        raise ConfigError(f"degradation step {step}: {key} is two rising numbers {limits}, got {list(value)}")


def _check_probability(step: str, **values: float) -> None:
    for key, value in values.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"degradation step {step}: {key} lies between 0 and 1, got {value}")


def _check_shares(step: str, key: str, value: Sequence[float], count: int) -> None:
    if len(value) != count or min(value) < 0 or abs(sum(value) - 1) > 1e-6:
        raise ConfigError(
            f"degradation step {step}: {key} is {count} probabilities that sum to 1, got {list(value)}"
        )


def _odd_sides(step: str, limits: Sequence[int]) -> list[int]:
    _check_range(step, "kernel_range", limits, 1, 21)
    if not all(isinstance(side, int) and side % 2 for side in limits):
        raise ConfigError(f"degradation step {step}: kernel_range is two odd numbers, got {list(limits)}")
    return list(range(limits[0], limits[1] + 1, 2))


@dataclass(frozen=True)
class BlurStep:
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
        _check_range("blur", "blur_sigma", self.blur_sigma, 1e-3)
        _check_probability("blur", blur_prob=self.blur_prob, sinc_prob=self.sinc_prob)
        _check_shares("blur", "kernel_prob", self.kernel_prob, len(self.kernel_list))
        for shape in self.kernel_list:
            if shape not in KERNEL_SHAPES:
                raise ConfigError(
                    f"degradation step blur: unknown kernel '{shape}'; {did_you_mean(shape, KERNEL_SHAPES)}"
                )
        _odd_sides("blur", self.kernel_range)

    @property
    def kernel_sizes(self) -> list[int]:
        """Odd sides of the range."""
        return _odd_sides("blur", self.kernel_range)

    def draw(self, rng: np.random.Generator, common: np.random.Generator, frame: Frame) -> list[Operation]:
        kernel = draw_kernel(rng, self)
        return [Blur((kernel if rng.random() < self.blur_prob else unit_pulse()).values)]


@dataclass(frozen=True)
class SincStep:
    """Filter with a sinc kernel, which rings as sharpened pictures do, or with none."""

    final_sinc_prob: float = 0.8
    kernel_range: Sequence[int] = (7, 21)

    def __post_init__(self) -> None:
        _check_probability("sinc", final_sinc_prob=self.final_sinc_prob)
        _odd_sides("sinc", self.kernel_range)

    def draw(self, rng: np.random.Generator, common: np.random.Generator, frame: Frame) -> list[Operation]:
        sizes = _odd_sides("sinc", self.kernel_range)
        return [Blur(sinc_kernel(rng, sizes=sizes, probability=self.final_sinc_prob).values)]


@dataclass(frozen=True)
class ResizeStep:
    """Resize in a random mode, by a random factor.

    Attributes:
        resize_prob: of enlarging, shrinking and neither; by default neither.
        resize_range: smallest and largest factor, 1 between them.
        relative_to: what the factor is relative to: the "picture" as it is, or the size of the final "lq".
    """

    resize_prob: Sequence[float] = (0, 0, 1)
    resize_range: Sequence[float] = (1, 1)
    relative_to: str = "picture"

    def __post_init__(self) -> None:
        _check_shares("resize", "resize_prob", self.resize_prob, 3)
        _check_range("resize", "resize_range", self.resize_range, 1e-3)
        if not self.resize_range[0] <= 1 <= self.resize_range[1]:
            raise ConfigError(f"degradation step resize: resize_range holds 1, got {list(self.resize_range)}")
        if self.relative_to not in ("picture", "lq"):
            raise ConfigError(
                f"degradation step resize: relative_to is 'picture' or 'lq', got '{self.relative_to}'"
            )

    @property
    def smallest(self) -> float:
        """The smallest factor that is ever drawn."""
        return float(self.resize_range[0]) if self.resize_prob[1] else 1.0

    @property
    def ends_at_lq(self) -> bool:
        """Whether the size afterwards is always that of the LR picture."""
        return self.relative_to == "lq" and self.resize_prob[2] == 1

    def draw(self, rng: np.random.Generator, common: np.random.Generator, frame: Frame) -> list[Operation]:
        low, high = self.resize_range
        direction = int(common.choice(3, p=self.resize_prob))
        factor = (common.uniform(1, high), common.uniform(low, 1), 1.0)[direction]
        mode = str(common.choice(MODES))
        if self.relative_to == "picture":
            return [Resize(mode, scale=float(factor))]
        height, width = (int(side / frame.scale * factor) for side in frame.size)
        return [Resize(mode, size=(height, width))]


@dataclass(frozen=True)
class NoiseStep:
    """Gaussian noise (`noise_range`: deviations of 255) or Poisson noise (factors), gray or in colour."""

    noise_range: Sequence[float]
    poisson_scale_range: Sequence[float]
    gaussian_noise_prob: float = 0.5
    gray_noise_prob: float = 0.4

    def __post_init__(self) -> None:
        _check_range("noise", "noise_range", self.noise_range, 0)
        _check_range("noise", "poisson_scale_range", self.poisson_scale_range, 0)
        _check_probability(
            "noise", gaussian_noise_prob=self.gaussian_noise_prob, gray_noise_prob=self.gray_noise_prob
        )

    def draw(self, rng: np.random.Generator, common: np.random.Generator, frame: Frame) -> list[Operation]:
        gaussian = rng.random() < self.gaussian_noise_prob
        low, high = self.noise_range if gaussian else self.poisson_scale_range
        kind = "gaussian" if gaussian else "poisson"
        return [Noise(kind, float(rng.uniform(low, high)), bool(rng.random() < self.gray_noise_prob))]


@dataclass(frozen=True)
class JpegStep:
    """JPEG compression of a random quality."""

    jpeg_range: Sequence[float]

    def __post_init__(self) -> None:
        _check_range("jpeg", "jpeg_range", self.jpeg_range, 1, 99.9)

    def draw(self, rng: np.random.Generator, common: np.random.Generator, frame: Frame) -> list[Operation]:
        return [Jpeg(float(rng.uniform(self.jpeg_range[0], self.jpeg_range[1])))]


@dataclass(frozen=True)
class RandomOrder:
    """Groups of steps that follow each other in a random order."""

    groups: Sequence[Sequence[Step]]

    def draw(self, rng: np.random.Generator, common: np.random.Generator, frame: Frame) -> list[Operation]:
        order = common.permutation(len(self.groups))
        return [op for i in order for step in self.groups[i] for op in step.draw(rng, common, frame)]


_STEPS: dict[str, type] = {
    "blur": BlurStep,
    "jpeg": JpegStep,
    "noise": NoiseStep,
    "random_order": RandomOrder,
    "resize": ResizeStep,
    "sinc": SincStep,
}


def build_steps(entries: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Make the steps that a configuration lists, each a mapping of `name` and the step's options.

    Raises:
        ConfigError: unknown step or option, a missing one, or a value out of its limits.
    """
    return tuple(_build_step(entry) for entry in entries)


def _build_step(entry: Mapping[str, Any]) -> Step:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ConfigError(f"a degradation step is a mapping with the key 'name', got {entry!r}")
    options = {key: value for key, value in entry.items() if key != "name"}
    name = str(entry["name"])
    if name not in _STEPS:
        raise ConfigError(f"degradation step '{name}' is unknown; {did_you_mean(name, _STEPS)}")
    known = {field.name: field for field in fields(_STEPS[name])}
    for key in options:
        if key not in known:
            raise ConfigError(f"degradation step {name} has no option '{key}'; {did_you_mean(key, known)}")
    for key, field in known.items():
        if key not in options and field.default is MISSING:
            raise ConfigError(f"degradation step {name} needs the option '{key}'")
    if name == "random_order":
        options["groups"] = tuple(build_steps(group) for group in options["groups"])
    return _STEPS[name](**options)


def draw_operations(
    steps: Sequence[Step],
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    scale: int,
    common: np.random.Generator | None = None,
) -> list[Operation]:
    """The operations that lead from one HR picture to its LR version.

    Args:
        steps: made by `build_steps`.
        rng: of the picture.
        size: height and width of the HR picture, multiples of `scale`.
        scale: HR size / LR size.
        common: of what decides sizes and order; generators in equal states give pictures of one batch equal
            sizes. Default: `rng`.
    """
    frame = Frame(size, scale)
    common = rng if common is None else common
    return [operation for step in steps for operation in step.draw(rng, common, frame)]


def smallest_filtered(steps: Sequence[Step], side: float, lq_side: float) -> tuple[float, float]:
    """The smallest side that a picture can have after the steps, and the smallest that a filter can meet.

    Args:
        steps: made by `build_steps`.
        side: of the picture before them.
        lq_side: of the final LR picture.

    Raises:
        ConfigError: the steps may not end at the size of the LR picture.
    """
    smallest, filtered, at_lq = _walk(steps, side, lq_side, False)
    if not at_lq:
        raise ConfigError(
            "the degradation must end at the size of the LR picture; "
            "add {name: resize, relative_to: lq} as its last resize"
        )
    return smallest, filtered


def _walk(steps: Sequence[Step], side: float, lq_side: float, at_lq: bool) -> tuple[float, float, bool]:
    filtered = np.inf
    for step in steps:
        if isinstance(step, RandomOrder):
            orders = [[s for group in order for s in group] for order in permutations(step.groups)]
            walks = [_walk(order, side, lq_side, at_lq) for order in orders]
            side = min(walk[0] for walk in walks)
            filtered = min(filtered, *(walk[1] for walk in walks))
            at_lq = all(walk[2] for walk in walks)
        elif isinstance(step, ResizeStep):
            side = np.floor((lq_side if step.relative_to == "lq" else side) * step.smallest)
            at_lq = step.ends_at_lq
        elif isinstance(step, (BlurStep, SincStep)):
            filtered = min(filtered, side)
    return side, filtered, at_lq
