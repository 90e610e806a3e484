"""Perceived colour difference: Euclidean distance in a colour space made for it.

CIELAB: CIE 15:2004, with the white point D65. Oklab: Ottosson, "A perceptual color space for image
processing", 2020, https://bottosson.github.io/posts/oklab. sRGB: IEC 61966-2-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import paddle
from paddle import Tensor

from ppsr.errors import ConfigError, did_you_mean
from ppsr.generators.blocks.layers import safe_power
from ppsr.imaging.luma import mix_channels
from ppsr.precision import in_float32

__all__ = ["ColorLoss", "to_lab", "to_oklab"]

_TO_XYZ = (
    (0.4123908, 0.3575843, 0.1804808),
    (0.2126390, 0.7151687, 0.0721923),
    (0.0193308, 0.1191948, 0.9505322),
)
_WHITE = (((0.9504559,),), ((1.0,),), ((1.0890578,),))  # 3x1x1
_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_OKLAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_DELTA = 6 / 29


@cache
def _constant(values: tuple[Any, ...], dtype: Any, place: str) -> Tensor:
    """Numbers as a tensor, made once per type and device."""
    return paddle.to_tensor(values, dtype=dtype)


def _mixed(x: Tensor, matrix: tuple[Any, ...]) -> Tensor:
    """A 3x3 matrix times the channels of (N, 3, H, W)."""
    return mix_channels(_constant(matrix, x.dtype, paddle.get_device()), x)


def _linear(rgb: Tensor) -> Tensor:
    """sRGB values as intensities; values below 0 continue the linear part."""
    curve = ((paddle.clip(rgb, min=0.04045) + 0.055) / 1.055) ** 2.4
    return paddle.where(rgb > 0.04045, curve, rgb / 12.92)


def to_lab(rgb: Tensor) -> Tensor:
    """sRGB (N, 3, H, W) in [0, 1] as CIELAB, divided by 100: L in [0, 1]."""
    ratio = _mixed(_linear(rgb), _TO_XYZ) / _constant(_WHITE, rgb.dtype, paddle.get_device())
    root = paddle.clip(ratio, min=_DELTA**3) ** (1 / 3)
    f = paddle.where(ratio > _DELTA**3, root, ratio / (3 * _DELTA**2) + 4 / 29)
    x, y, z = f.chunk(3, axis=1)
    return paddle.concat([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], axis=1)


def to_oklab(rgb: Tensor) -> Tensor:
    """sRGB (N, 3, H, W) in [0, 1] as Oklab, L in [0, 1]; cone responses below 0 count as 0."""
    return _mixed(safe_power(_mixed(_linear(rgb), _TO_LMS), 1 / 3), _TO_OKLAB)


_SPACES = {"oklab": to_oklab, "lab": to_lab}


@dataclass(kw_only=True, eq=False)
class ColorLoss:
    """(sr, gt), each sRGB (N, 3, H, W) in [0, 1] -> mean Euclidean distance of the colours.

    Args:
        space: "oklab", or "lab" for CIELAB's difference of 1976, divided by 100.
        chroma: compare the two chroma channels alone, not the lightness.

    Raises:
        ConfigError: another space; in a step, images that are not RGB.

    Example:
        >>> loss = ColorLoss(space="lab")(sr, gt)
    """

    space: str = "oklab"
    chroma: bool = False

    def __post_init__(self) -> None:
        if self.space not in _SPACES:
            raise ConfigError(f"ColorLoss: unknown space '{self.space}'; {did_you_mean(self.space, _SPACES)}")

    @in_float32
    def __call__(self, sr: Tensor, gt: Tensor) -> Tensor:
        if sr.shape[1] != 3:
            raise ConfigError(f"ColorLoss needs RGB images, got {sr.shape[1]} channel(s)")
        difference = _SPACES[self.space](sr) - _SPACES[self.space](gt)
        if self.chroma:
            difference = difference[:, 1:]
        return safe_power((difference**2).sum(axis=1), 0.5).mean()
