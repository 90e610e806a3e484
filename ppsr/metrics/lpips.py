"""LPIPS of two 8-bit images: the network of `ppsr.criterions.lpips` as a metric.

Zhang et al., CVPR 2018, arXiv:1801.03924.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle

from ppsr.criterions.lpips import build_lpips
from ppsr.metrics.images import checked_pair

__all__ = ["LPIPSMetric"]


class LPIPSMetric:
    """Perceptual distance of H x W x 3 RGB images in 0..255; at least 0, which is perfect.

    Scores of "alex" and "vgg" are not comparable; name the network with every number.

    Args:
        net: "alex" (DASR, CDDNet) or "vgg" (BasicSR's script).
        weights: torchvision's file of the backbone; None means data/pretrained/<published name>.
        crop_border: pixels ignored on each side.

    Raises:
        ConfigError: unknown network, or the file is absent.
    """

    name = "lpips"
    higher_is_better = False

    def __init__(self, *, net: str = "alex", weights: str | Path | None = None, crop_border: int = 0) -> None:
        self.crop_border = crop_border
        self.distance = build_lpips(net=net, weights=weights, otherwise="Or leave this metric out.")

    @paddle.no_grad()
    def __call__(self, sr: np.ndarray, gt: np.ndarray) -> float:
        pair = checked_pair(sr, gt, crop_border=self.crop_border)
        a, b = (paddle.to_tensor((x / 255).astype(np.float32).transpose(2, 0, 1)[None]) for x in pair)
        return float(self.distance(a, b, normalize=True).item())
