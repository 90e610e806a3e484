"""DASR's three levels of degradation, and the 33 numbers that describe what was done.

Liang, Zeng, Zhang, ECCV 2022, arXiv:2203.14216; used unchanged by CDDNet. Differences from the released code:
every sample has its own params (there: one per batch), kernels of side 7 occur, and the sinc cut-off keeps
its place in the description (there it is overwritten by 1 when the second blur acts; `published_description`
gives that back).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ppsr.degradations.base import Operation
from ppsr.degradations.kernels import Kernel, sinc_kernel
from ppsr.degradations.operations import MODES, Blur, Jpeg, Noise, Resize
from ppsr.degradations.steps import BlurStep, JpegStep, NoiseStep, ResizeStep, check_probability
from ppsr.errors import ConfigError, did_you_mean

__all__ = [
    "LEVELS",
    "DegradationParams",
    "Level",
    "Stage",
    "StageParams",
    "build_operations",
    "describe",
    "draw_params",
    "levels_with",
]


# Options of a stage by step; other options of the steps have no place among the 33 numbers.
_OPTIONS = {
    "blur": [field.name for field in fields(BlurStep)],
    "resize": ["resize_prob", "resize_range"],
    "noise": [field.name for field in fields(NoiseStep)],
    "jpeg": ["jpeg_range"],
}


@dataclass(frozen=True)
class Stage:
    """Ranges of one round of blur, resize, noise and JPEG."""

    blur: BlurStep
    resize: ResizeStep
    noise: NoiseStep
    jpeg: JpegStep

    @property
    def options(self) -> dict[str, Any]:
        """Options of all steps by their published names."""
        return {key: getattr(getattr(self, step), key) for step, keys in _OPTIONS.items() for key in keys}

    def changed(self, options: Mapping[str, Any]) -> Stage:
        """This stage with other values of some options.

        Raises:
            ConfigError: an unknown option, or a value out of its limits.
        """
        _check_options(options, self.options)
        steps = {
            step: replace(getattr(self, step), **{key: options[key] for key in keys if key in options})
            for step, keys in _OPTIONS.items()
        }
        return Stage(**steps)


@dataclass(frozen=True)
class Level:
    """One or two stages, and the sinc filter at the end."""

    stages: tuple[Stage, ...]
    final_sinc_prob: float = 0.0

    def __post_init__(self) -> None:
        check_probability("sinc", final_sinc_prob=self.final_sinc_prob)


def _stage(
    sigma: Any, prob: Any, resize: Any, noise: Any, poisson: Any, jpeg: Any, blur_prob: float = 1.0
) -> Stage:
    return Stage(
        BlurStep(sigma, blur_prob), ResizeStep(prob, resize), NoiseStep(noise, poisson), JpegStep(jpeg)
    )


LEVELS: dict[str, Level] = {
    "weak": Level((_stage((0.2, 0.8), (0.1, 0.2, 0.7), (0.85, 1.2), (1, 10), (0.05, 0.5), (90, 95)),)),
    "standard": Level((_stage((0.2, 1.5), (0.3, 0.4, 0.3), (0.5, 1.2), (1, 20), (0.05, 1.5), (50, 95)),)),
    "severe": Level(
        (
            _stage((0.2, 3), (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3), (30, 95)),
            _stage((0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5), (30, 95), blur_prob=0.8),
        ),
        final_sinc_prob=0.8,
    ),
}


def levels_with(changes: Mapping[str, Any] | None) -> dict[str, Level]:
    """The published levels with some options changed: `{severe: {stages: [{jpeg_range: [20, 95]}, {}]}}`."""
    levels = dict(LEVELS)
    for name, change in (changes or {}).items():
        if name not in levels:
            raise ConfigError(f"degradation level '{name}' is unknown; {did_you_mean(name, levels)}")
        try:
            levels[name] = _changed_level(levels[name], change)
        except ConfigError as error:
            raise ConfigError(f"degradation {name}: {error}") from None
    return levels


def _changed_level(level: Level, change: Any) -> Level:
    """A level with the options of a configuration."""
    _check_options(change, [field.name for field in fields(Level)])
    given = change.get("stages", ())
    if not isinstance(given, (list, tuple)) or len(given) > len(level.stages):
        raise ConfigError(
            f"stages must be a list of options for up to {len(level.stages)} stages, got {given!r}"
        )
    stages = list(level.stages)
    for index, options in enumerate(given):
        stages[index] = stages[index].changed(options)
    return replace(level, **{**change, "stages": tuple(stages)})


def _check_options(options: Any, names: Collection[str]) -> None:
    if not isinstance(options, Mapping):
        raise ConfigError(f"a mapping of {', '.join(names)} is needed, got {options!r}")
    for key in options:
        if key not in names:
            raise ConfigError(f"unknown option '{key}'; {did_you_mean(key, names)}")


@dataclass(frozen=True)
class StageParams:
    """Random choices for a stage."""

    kernel: Kernel
    blurred: bool
    scale: float
    mode: str
    noise: Noise
    quality: float


@dataclass(frozen=True)
class DegradationParams:
    """Random choices for an image."""

    stages: tuple[StageParams, ...]
    final_mode: str
    sinc: Kernel | None = None
    resize_first: bool = True


def _draw_stage(rng: np.random.Generator, stage: Stage, shared_rng: np.random.Generator) -> StageParams:
    """The order of the draws is part of the result, as one generator may serve both streams."""
    scale = stage.resize.draw_factor(shared_rng)
    kind = stage.noise.draw_kind(rng)
    kernel = stage.blur.draw_kernel(rng)
    blurred = bool(shared_rng.random() < stage.blur.blur_prob)
    mode = str(shared_rng.choice(MODES))
    noise = stage.noise.draw_noise(rng, kind)
    low, high = stage.jpeg.jpeg_range
    return StageParams(kernel, blurred, scale, mode, noise, float(rng.uniform(low, high)))


def draw_params(
    rng: np.random.Generator, level: Level, shared_rng: np.random.Generator | None = None
) -> DegradationParams:
    """Draw everything but the noise itself.

    Args:
        shared_rng: generator of sizes and order, shared by the images of a batch; default: `rng`.
    """
    shared_rng = rng if shared_rng is None else shared_rng
    stages = tuple(_draw_stage(rng, stage, shared_rng) for stage in level.stages)
    sinc = None
    if level.final_sinc_prob or len(stages) == 2:  # the published levels of one stage draw none
        sinc = sinc_kernel(rng, sizes=level.stages[0].blur.kernel_sizes, probability=level.final_sinc_prob)
    mode = str(shared_rng.choice(MODES))
    return DegradationParams(stages, mode, sinc, len(stages) == 1 or bool(shared_rng.random() < 0.5))


def build_operations(params: DegradationParams, size: tuple[int, int], scale: int) -> list[Operation]:
    """The operations that lead from an image of `size` to its LR version."""
    height, width = size
    final = Resize(params.final_mode, size=(height // scale, width // scale))
    shrink: list[Operation] = [final] if params.sinc is None else [final, Blur(params.sinc.values)]
    first, *rest = params.stages
    operations: list[Operation] = [Blur(first.kernel.values)] if first.blurred else []
    operations += [
        Resize(first.mode, scale=first.scale),
        first.noise,
        Jpeg(first.quality),
    ]
    if not rest:
        return [*operations, *shrink]
    second = rest[0]
    if second.blurred:
        operations.append(Blur(second.kernel.values))
    between = int(height / scale * second.scale), int(width / scale * second.scale)
    operations += [Resize(second.mode, size=between), second.noise]
    compress = Jpeg(second.quality)
    return [*operations, *shrink, compress] if params.resize_first else [*operations, compress, *shrink]


def _unit(value: float, limits: Sequence[float]) -> float:
    """Position of a value in its range: 0 to 1, and 0 where the range is a single value."""
    width = limits[1] - limits[0]
    return (value - limits[0]) / width if width else 0.0


def describe(params: DegradationParams, level: Level, *, published_description: bool = False) -> np.ndarray:
    """The 33 degradation parameters; ranges are those of the level, so that they are relative strengths.

    Index: 0-3 first kernel (side, sigma x, sigma y, rotation), 4-7 second, 8-9 sinc (side, cut-off), 10-13
    first resize (scale, one-hot mode), 14-17 second, 18-21 first noise (level, gray, one-hot
    Gaussian/Poisson), 22-25 second, 26-27 JPEG qualities, 28-29 order of the final resize and JPEG, 30-32
    mode of the final resize.

    Args:
        published_description: overwrite index 9 by 1 when the second blur acts, as the released code does.
    """
    vector = np.zeros(33, np.float32)
    for index, (stage, drawn) in enumerate(zip(level.stages, params.stages, strict=True)):
        kernel = drawn.kernel
        vector[4 * index : 4 * index + 4] = (
            (kernel.size - 7) / 14,
            _unit(kernel.sigma_x, stage.blur.blur_sigma),
            _unit(kernel.sigma_y, stage.blur.blur_sigma),
            (kernel.rotation + np.pi) / (2 * np.pi),
        )
        vector[10 + 4 * index] = _unit(drawn.scale, stage.resize.resize_range)
        vector[11 + 4 * index + MODES.index(drawn.mode)] = 1
        noise = drawn.noise
        vector[18 + 4 * index] = _unit(noise.level, stage.noise.level_range(noise.kind))
        vector[19 + 4 * index] = noise.gray
        vector[20 + 4 * index + (noise.kind != "gaussian")] = 1
        vector[26 + index] = _unit(drawn.quality, stage.jpeg.jpeg_range)
    if params.sinc is not None:
        vector[8] = (params.sinc.size - 7) / 14
        vector[9] = (params.sinc.cutoff - np.pi / 3) / (2 * np.pi / 3)
    if len(params.stages) == 2:
        vector[28 if params.resize_first else 29] = 1
        if published_description and params.stages[1].blurred:
            vector[9] = 1
    vector[30 + MODES.index(params.final_mode)] = 1
    return vector
