"""MS-SSIM, DISTS and LPIPS of two 8-bit images: the losses of `ppsr.criterions` as metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from pydantic import NonNegativeInt

from ppsr.criterions.dists import build_dists
from ppsr.criterions.lpips import build_lpips
from ppsr.criterions.ssim import MSSSIMLoss
from ppsr.metrics.images import checked_pair, luma

__all__ = ["MSSSIM", "DISTSMetric", "LPIPSMetric"]


def _batch(image: np.ndarray, dtype: type) -> paddle.Tensor:
    """H x W x C in 0..255 as (1, C, H, W) in [0, 1]."""
    return paddle.to_tensor((image / 255).astype(dtype).transpose(2, 0, 1)[None])


class MSSSIM:
    """Multi-scale structural similarity of H x W x C RGB images in 0..255; at most 1, for equal images.

    Wang, Simoncelli, Bovik, Asilomar 2003.

    Args:
        crop_border: pixels ignored on each side, usually the scale.
        scales: see `MSSSIMLoss`; 5 scales need sides of 176 pixels inside the border.
    """

    higher_is_better = True

    def __init__(
        self, *, crop_border: NonNegativeInt = 0, test_y_channel: bool = False, scales: int = 5
    ) -> None:
        self.crop_border = crop_border
        self.test_y_channel = test_y_channel
        self.loss = MSSSIMLoss(scales=scales)

    @paddle.no_grad()
    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        pair = checked_pair(sr, gt, crop_border=self.crop_border)
        if self.test_y_channel and pair[0].shape[2] == 3:
            pair = luma(pair[0])[..., None], luma(pair[1])[..., None]
        return 1 - float(self.loss(*(_batch(image, np.float64) for image in pair)))


class _FeatureDistance:
    """A distance of features of H x W x 3 RGB images in 0..255; at least 0, which is perfect."""

    higher_is_better = False
    whole_image = True

    def __init__(self, distance: Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor], crop: int) -> None:
        self.distance = distance
        self.crop_border = crop

    @paddle.no_grad()
    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        pair = checked_pair(sr, gt, crop_border=self.crop_border)
        return float(self.distance(*(_batch(image, np.float32) for image in pair)).item())


class DISTSMetric(_FeatureDistance):
    """DISTS distance of H x W x 3 RGB images in 0..255; 0 for equal images.

    Ding et al., TPAMI 2020, arXiv:2004.07728. The images keep their size; the released script may shrink them
    to 256 pixels first, which gives other numbers.

    Args:
        weights: torchvision's VGG16; None means data/pretrained/<published name>.
        calibration: the file with alpha and beta; None means data/pretrained/dists_weights.pt.

    Raises:
        ConfigError: a file is absent.
    """

    def __init__(
        self,
        *,
        weights: str | Path | None = None,
        calibration: str | Path | None = None,
        crop_border: NonNegativeInt = 0,
    ) -> None:
        super().__init__(build_dists(weights=weights, calibration=calibration), crop_border)


class LPIPSMetric(_FeatureDistance):
    """LPIPS distance of H x W x 3 RGB images in 0..255; 0 for equal images.

    Zhang et al., CVPR 2018, arXiv:1801.03924. Scores of "alex" and "vgg" are not comparable; name the network
    with every number.

    Args:
        net: "alex" (DASR, CDDNet) or "vgg" (BasicSR's script).
        weights: torchvision's file of the backbone; None means data/pretrained/<published name>.

    Raises:
        ConfigError: unknown network, or the file is absent.
    """

    def __init__(
        self, *, net: str = "alex", weights: str | Path | None = None, crop_border: NonNegativeInt = 0
    ) -> None:
        distance: Any = build_lpips(net=net, weights=weights)
        super().__init__(partial(distance, normalize=True), crop_border)
