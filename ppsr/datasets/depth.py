"""Depth maps: pairs of one channel, or repeated to three as PaddleDepth feeds its networks.

https://github.com/PaddlePaddle/PaddleDepth (Depth_super_resolution).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppsr.datasets.paired import SRDataset
from ppsr.errors import ConfigError

__all__ = ["DepthDataset"]


@dataclass(kw_only=True, eq=False)
class DepthDataset(SRDataset):
    """Pairs of depth maps by name; of colour files the first channel counts. Options: `SRDataset`'s.

    Items: lq, gt (channels, H, W) float32 in [0, 1], lq_path, gt_path. 1.0 is the largest number of
    the file's type, 255 or 65535, so 16-bit maps keep their range and precision.

    Args:
        channels: 1, or 3 equal ones.
    """

    channels: int = 3

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ConfigError(f"depth maps must have 1 channel or 3 equal ones, got {self.channels}")
        super().__post_init__()

    def _read_image(self, path: Path) -> np.ndarray:
        image = self._read_samples(path)
        plane = image[..., None] if image.ndim == 2 else image[..., :1]
        return np.repeat(plane, self.channels, axis=2)
