"""Loss on artifacts: pixels that vary wildly and where the trained generator is worse than its average.

LDL, Liang, Zeng, Zhang, CVPR 2022, arXiv:2203.09195. Differences from the released code: a perfect image
has the gradient 0 instead of NaN, and window variances come from box means instead of unfolded copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from paddle import Tensor
from paddle.nn import functional as F

from ppsr.criterions.pixel import charbonnier
from ppsr.errors import ConfigError
from ppsr.generators.blocks.layers import safe_power
from ppsr.precision import in_float32

__all__ = ["ArtifactLoss", "artifact_map", "local_variance"]


def local_variance(x: Tensor, ksize: int = 7) -> Tensor:
    """Unbiased variance in ksize x ksize windows around every pixel, mirrored at the border; (N, 1, H, W)."""
    # a variance does not change by a shift; without the mean, the difference of squares keeps its digits
    x = x - x.mean(axis=[1, 2, 3], keepdim=True).detach()
    x = F.pad(x, [ksize // 2] * 4, mode="reflect")
    mean = F.avg_pool2d(x, ksize, stride=1)
    variance = F.avg_pool2d(x * x, ksize, stride=1) - mean * mean
    return F.relu(variance) * (ksize**2 / (ksize**2 - 1))


def artifact_map(gt: Tensor, sr: Tensor, averaged: Tensor, ksize: int = 7) -> Tensor:
    """How likely each pixel of `sr` is an artifact: (N, 1, H, W), at least 0.

    Args:
        gt: truth (N, C, H, W) in [0, 1].
        sr: image of the trained generator.
        averaged: image of the generator with averaged parameters.
        ksize: side of the window for local variances; odd, at most 2 * min(H, W) - 1.
    """
    residual = (gt - sr).abs().sum(axis=1, keepdim=True)
    reference = (gt - averaged).abs().sum(axis=1, keepdim=True)
    centred = residual - residual.mean(axis=[1, 2, 3], keepdim=True)
    variance = (centred * centred).sum(axis=[1, 2, 3], keepdim=True) / (gt.shape[2] * gt.shape[3] - 1)
    patch = safe_power(variance, 1 / 5)
    worse = (residual >= reference).astype(residual.dtype)
    return patch * local_variance(residual, ksize) * worse


@dataclass(kw_only=True, eq=False)
class ArtifactLoss:
    """(sr, gt, averaged sr) -> Charbonnier distance of the images multiplied by the artifact map.

    Args:
        ksize: window of the map.
        detach: hold the map constant. The released code does not: gradients flow through the variances too.
    """

    ksize: int = 7
    detach: bool = False

    of: ClassVar[tuple[str, ...]] = ("sr", "gt", "averaged")

    def __post_init__(self) -> None:
        if self.ksize < 3 or self.ksize % 2 == 0:
            raise ConfigError(f"ArtifactLoss: ksize must be odd and at least 3, got {self.ksize}")

    @in_float32
    def __call__(self, sr: Tensor, gt: Tensor, averaged: Tensor) -> Tensor:
        """Compare images (N, C, H, W)."""
        weight = artifact_map(gt, sr, averaged.detach(), self.ksize)
        if self.detach:
            weight = weight.detach()
        return charbonnier(weight * sr - weight * gt).mean()
