"""Losses between images, element by element: L1, MSE, Charbonnier, Huber; and between their gradients.

Argument names and the weighted mean are BasicSR's (https://github.com/XPixelGroup/BasicSR, Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppsr.errors import ConfigError, did_you_mean
from ppsr.precision import in_float32

__all__ = ["CharbonnierLoss", "GradientLoss", "HuberLoss", "L1Loss", "MSELoss", "charbonnier"]

_REDUCTIONS = ("mean", "sum", "none")


def charbonnier(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Element-wise sqrt(x^2 + eps)."""
    return paddle.sqrt(x * x + eps)


def _reduce(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Weight and reduce a map (N, C, ...); a weighted mean divides by the sum of all elements' weights."""
    if weight is not None:
        loss = loss * weight
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if weight is None:
        return loss.mean()
    return loss.sum() / paddle.expand_as(weight, loss).sum()


@dataclass(kw_only=True, eq=False)
class _PixelLoss:
    """(pred, target, optional weight) -> `loss_weight` times the reduced error.

    Args:
        loss_weight: factor on the result.
        reduction: "mean", "sum" or "none" (a map of pred's shape).
    """

    loss_weight: float = 1.0
    reduction: str = "mean"

    def __post_init__(self) -> None:
        if self.reduction not in _REDUCTIONS:
            hint = did_you_mean(self.reduction, _REDUCTIONS)
            raise ConfigError(f"unknown reduction '{self.reduction}'; {hint}")

    def error(self, difference: Tensor) -> Tensor:
        """Loss of every element of pred - target."""
        raise NotImplementedError

    @in_float32
    def __call__(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compare two tensors of one shape; `weight` broadcasts against them, for example (N, 1, H, W)."""
        loss = self.error(pred - target)
        return _reduce(loss, weight, self.reduction) * self.loss_weight


class L1Loss(_PixelLoss):
    """Absolute error."""

    def error(self, difference: Tensor) -> Tensor:
        return difference.abs()


class MSELoss(_PixelLoss):
    """Squared error."""

    def error(self, difference: Tensor) -> Tensor:
        return difference * difference


@dataclass(kw_only=True, eq=False)
class CharbonnierLoss(_PixelLoss):
    """sqrt(error^2 + eps), an L1 that is smooth at 0 (Lai et al., CVPR 2017, arXiv:1704.03915).

    Args:
        eps: above 0, in squared units of the images.
    """

    eps: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps <= 0:
            raise ConfigError(f"CharbonnierLoss: eps must be above 0 (published: 1e-12), got {self.eps}")

    def error(self, difference: Tensor) -> Tensor:
        return charbonnier(difference, self.eps)


@dataclass(kw_only=True, eq=False)
class HuberLoss(_PixelLoss):
    """error^2 / 2 up to `delta`, beyond it delta * (|error| - delta / 2).

    Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35, 1964.

    Args:
        delta: error at which the square turns into the absolute value, in the unit of the images.

    Example:
        >>> loss = HuberLoss(delta=0.05)(sr, gt)
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delta <= 0:
            raise ConfigError(f"HuberLoss: delta must be above 0, got {self.delta}")

    def error(self, difference: Tensor) -> Tensor:
        size = difference.abs()
        clipped = paddle.clip(size, max=self.delta)
        return clipped * (size - clipped / 2)


@dataclass(kw_only=True, eq=False)
class GradientLoss:
    """(sr, gt), each (N, C, H, W) -> mean of ||dgt| - |dsr||^alpha, summed over both axes.

    d is the difference of neighbouring pixels, which penalizes differences in edge sharpness. Mathieu,
    Couprie, LeCun, "Deep multi-scale video prediction beyond mean square error", ICLR 2016, arXiv:1511.05440.

    Args:
        alpha: exponent, at least 1.
        signed: compare the differences themselves instead of their absolute values.

    Example:
        >>> loss = GradientLoss()(sr, gt)
    """

    alpha: float = 1.0
    signed: bool = False

    def __post_init__(self) -> None:
        if self.alpha < 1:
            raise ConfigError(f"GradientLoss: alpha must be at least 1, got {self.alpha}")

    @in_float32
    def __call__(self, sr: Tensor, gt: Tensor) -> Tensor:
        errors = []
        for axis in (2, 3):
            ours, theirs = (paddle.diff(image, axis=axis) for image in (sr, gt))
            error = ours - theirs if self.signed else ours.abs() - theirs.abs()
            errors.append((error.abs() ** self.alpha).mean())
        return sum(errors)
