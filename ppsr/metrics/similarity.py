"""MS-SSIM and DISTS of two 8-bit images: the losses of `ppsr.criterions` as metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle

from ppsr.criterions.dists import build_dists
from ppsr.criterions.ssim import MSSSIMLoss
from ppsr.metrics.images import checked_pair, luma

__all__ = ["MSSSIM", "DISTSMetric"]


def _batch(image: np.ndarray, dtype: type) -> paddle.Tensor:
    """H x W x C in 0..255 as (1, C, H, W) in [0, 1]."""
    return paddle.to_tensor((image / 255).astype(dtype).transpose(2, 0, 1)[None])


class MSSSIM:
    """Multi-scale structural similarity of H x W x C RGB images in 0..255; at most 1, for equal images.

    Wang, Simoncelli, Bovik, Asilomar 2003.

    Args:
        crop_border: pixels ignored on each side, usually the scale.
        test_y_channel: measure luma only.
        scales: see `MSSSIMLoss`; 5 scales need sides of 176 pixels inside the border.

    Raises:
        ConfigError: another number of scales.
    """

    name = "ms_ssim"
    higher_is_better = True

    def __init__(self, *, crop_border: int = 0, test_y_channel: bool = False, scales: int = 5) -> None:
        self.crop_border = crop_border
        self.test_y_channel = test_y_channel
        self.loss = MSSSIMLoss(scales=scales)

    @paddle.no_grad()
    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        pair = checked_pair(sr, gt, crop_border=self.crop_border)
        if self.test_y_channel and pair[0].shape[2] == 3:
            pair = luma(pair[0])[..., None], luma(pair[1])[..., None]
        return 1 - float(self.loss(*(_batch(image, np.float64) for image in pair)))


class DISTSMetric:
    """DISTS distance of H x W x 3 RGB images in 0..255; 0 for equal images.

    Ding et al., TPAMI 2020, arXiv:2004.07728. The images keep their size; the released script may shrink them
    to 256 pixels first, which gives other numbers.

    Args:
        weights: torchvision's VGG16; None means data/pretrained/<published name>.
        calibration: the file with alpha and beta; None means data/pretrained/dists_weights.pt.
        crop_border: pixels ignored on each side.

    Raises:
        ConfigError: a file is absent.
    """

    name = "dists"
    higher_is_better = False

    def __init__(
        self,
        *,
        weights: str | Path | None = None,
        calibration: str | Path | None = None,
        crop_border: int = 0,
    ) -> None:
        self.crop_border = crop_border
        self.distance = build_dists(weights=weights, calibration=calibration)

    @paddle.no_grad()
    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        pair = checked_pair(sr, gt, crop_border=self.crop_border)
        return float(self.distance(*(_batch(image, np.float32) for image in pair)).item())
