"""Feature alignment: two degraded views of one image shall have features of equal statistics.

Wang et al., "Navigating Beyond Dropout: An Intriguing Solution towards Generalizable Image Super-Resolution",
CVPR 2024, arXiv:2402.18929; https://github.com/Dreamzz5/Simple-Align. The random Fourier features are those
of StableNet (Zhang et al., CVPR 2021), with which the released code shares the routine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import paddle
from paddle import Tensor

from ppsr.errors import ConfigError
from ppsr.precision import in_float32

__all__ = ["AlignmentLoss", "fourier_features", "statistics_distance"]


def statistics_distance(p: Tensor, q: Tensor) -> Tensor:
    """First- plus second-order distance of vectors (..., C): mean squared difference of the vectors, and of
    their outer products, over all C and C x C entries. Shape (...)."""
    first = (p - q).square().mean(axis=-1)
    outer_p = p.unsqueeze(-1) * p.unsqueeze(-2)
    outer_q = q.unsqueeze(-1) * q.unsqueeze(-2)
    return first + (outer_p - outer_q).square().mean(axis=[-2, -1])


def fourier_features(p: Tensor, frequencies: Tensor, phases: Tensor) -> Tensor:
    """Random Fourier features of vectors p (B, C): sqrt(2) (cos t + sin t), shape (B, F, C).

    t is w p + 2 pi u, stretched over the channels to [0, pi / 2].

    Args:
        p: (B, C).
        frequencies: w (B, F).
        phases: u (B, F, C) in [0, 1).
    """
    t = frequencies.unsqueeze(-1) * p.unsqueeze(1) + 2 * math.pi * phases
    t = t - t.min(axis=-1, keepdim=True)
    t = t / t.max(axis=-1, keepdim=True) * (math.pi / 2)
    return math.sqrt(2) * (paddle.cos(t) + paddle.sin(t))


@dataclass(kw_only=True, eq=False)
class AlignmentLoss:
    """Linear and non-linear alignment of the pooled features of two views.

    The features are centred over the pairs of this process, separately per view, so a batch of one pair has
    the loss zero, and under distributed training each rank uses its own pairs.

    Args:
        linear_weight: factor on the distance of the centred features (1 as published).
        nonlinear_weight: factor on the distance of their random Fourier features (1 as published).
        num_features: frequencies per pair, averaged (1 as published).
        sigma: standard deviation of the frequencies.
        reduction: "sum" (as published) or "mean" over the pairs.
    """

    linear_weight: float = 1.0
    nonlinear_weight: float = 1.0
    num_features: int = 1
    sigma: float = 1.0
    reduction: str = "sum"

    of: ClassVar[tuple[str, ...]] = ("view1", "view2")

    def __post_init__(self) -> None:
        if self.reduction not in ("sum", "mean"):
            raise ConfigError(f"AlignmentLoss: reduction must be 'sum' or 'mean', got {self.reduction!r}")
        if self.num_features < 1:
            raise ConfigError(f"AlignmentLoss: num_features must be at least 1, got {self.num_features}")

    @in_float32
    def __call__(
        self, view1: Tensor, view2: Tensor, *, frequencies: Tensor | None = None, phases: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The terms `l_reg` (linear) and `n_reg` (non-linear) that have a weight; float scalars.

        Args:
            view1: pooled features (B, C) of the first views.
            view2: features of the second views of the same images.
            frequencies: (B, F), drawn from N(0, sigma^2) by default.
            phases: (B, F, C), drawn from [0, 1) by default.
        """
        u, v = (view - view.mean(axis=0, keepdim=True) for view in (view1, view2))
        losses = {}
        if self.linear_weight:
            losses["l_reg"] = self.linear_weight * self._reduce(statistics_distance(u, v))
        if self.nonlinear_weight:
            pairs, channels = u.shape
            if frequencies is None:
                frequencies = self.sigma * paddle.randn([pairs, self.num_features], u.dtype)
            if phases is None:
                phases = paddle.rand([pairs, self.num_features, channels], u.dtype)
            mapped = [fourier_features(p, frequencies, phases) for p in (u, v)]
            losses["n_reg"] = self.nonlinear_weight * self._reduce(statistics_distance(*mapped).mean(axis=1))
        return losses

    def _reduce(self, per_pair: Tensor) -> Tensor:
        return per_pair.sum() if self.reduction == "sum" else per_pair.mean()
