"""Errors of depth maps in 8-bit units: RMSE, MAD and PE of PaddleDepth's depth super-resolution.

https://github.com/PaddlePaddle/PaddleDepth. Two definitions: "safe", and "published", which keeps what the
released code does: an error of exactly 0 counts as infinite, and the relative error divides by the true
depth even where that is 0 (unknown), so that it may be infinite or not a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import NonNegativeInt

from ppsr.errors import ConfigError, DataError
from ppsr.metrics.images import checked_pair

__all__ = ["MAD", "PE", "RMSE"]

_DEFINITIONS = ("safe", "published")


@dataclass(kw_only=True, eq=False)
class _DepthMetric:
    """An error of depth maps H x W (x C) in 0..255, of which the first channel counts; 0 is perfect.

    Args:
        crop_border: pixels ignored on each side.
        definition: "safe" or "published".
    """

    higher_is_better: ClassVar[bool] = False

    crop_border: NonNegativeInt = 0
    definition: str = "safe"

    def __post_init__(self) -> None:
        if self.definition not in _DEFINITIONS:
            raise ConfigError(f"definition is one of {', '.join(_DEFINITIONS)}; got {self.definition!r}")
        self.published = self.definition == "published"

    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        a, b = (plane[..., 0] for plane in checked_pair(sr, gt, crop_border=self.crop_border))
        value = self._error(a - b, b)
        return float("inf") if self.published and value == 0 else value

    def _error(self, difference: np.ndarray, gt: np.ndarray) -> float:
        raise NotImplementedError


class RMSE(_DepthMetric):
    """Root of the mean squared difference, in steps of 8 bit, at least 0."""

    def _error(self, difference: np.ndarray, gt: np.ndarray) -> float:
        return float(np.sqrt(np.mean(difference**2)))


class MAD(_DepthMetric):
    """Mean absolute difference, in steps of 8 bit, at least 0."""

    def _error(self, difference: np.ndarray, gt: np.ndarray) -> float:
        return float(np.mean(np.abs(difference)))


class PE(_DepthMetric):
    """Mean of |difference| / true depth, a ratio, at least 0; "safe" leaves out pixels of depth 0."""

    def _error(self, difference: np.ndarray, gt: np.ndarray) -> float:
        if self.published:
            with np.errstate(divide="ignore", invalid="ignore"):
                return float(np.mean(np.abs(difference) / gt))
        known = gt != 0
        if not known.any():
            raise DataError("the true depth is 0 (unknown) everywhere; a relative error has no meaning")
        return float(np.mean(np.abs(difference[known]) / gt[known]))
