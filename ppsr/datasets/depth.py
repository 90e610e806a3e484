"""Depth maps: pairs of one channel, or repeated to three as PaddleDepth feeds its networks.

https://github.com/PaddlePaddle/PaddleDepth (Depth_super_resolution).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppsr.datasets.files import Folders
from ppsr.datasets.paired import SRDataset
from ppsr.datasets.sources import read_samples
from ppsr.errors import ConfigError

__all__ = ["DepthDataset"]


class DepthDataset(SRDataset):
    """Pairs of depth maps by name; of colour files the first channel counts.

    Items: lq, gt (channels, H, W) float32 in [0, 1], lq_path, gt_path. 1.0 stands for the largest number of
    the file's type, 255 or 65535, so 16-bit maps keep their range and precision.

    Args:
        gt_folder: HR maps, searched recursively, or an LMDB store; or a list of these.
        lq_folder: LR maps; or a list of as many.
        scale: HR size / LR size.
        gt_size: side of the training window in HR pixels; None yields whole maps.
        channels: 1, or 3 equal ones.
        filename_tmpl: base name of the LR map, `{}` standing for the HR one.
        meta_info: list of HR names.
        shares: parts of the samples that come from each of several folders; by default that of its images.
        use_hflip: random mirroring.
        use_rot: random turning.
        cache: keep decoded maps in memory.
        seed: of the windows.

    Raises:
        ConfigError: another number of channels.
        DataError: folders are missing or empty, or names do not pair.
    """

    def __init__(
        self,
        *,
        gt_folder: Folders,
        lq_folder: Folders,
        scale: int = 4,
        gt_size: int | None = None,
        channels: int = 3,
        filename_tmpl: str = "{}",
        meta_info: str | None = None,
        shares: Sequence[float] | None = None,
        use_hflip: bool = False,
        use_rot: bool = False,
        cache: bool = False,
        seed: int = 0,
    ) -> None:
        if channels not in (1, 3):
            raise ConfigError(f"depth maps have 1 channel or 3 equal ones, got {channels}")
        super().__init__(
            gt_folder=gt_folder,
            lq_folder=lq_folder,
            scale=scale,
            gt_size=gt_size,
            filename_tmpl=filename_tmpl,
            meta_info=meta_info,
            shares=shares,
            use_hflip=use_hflip,
            use_rot=use_rot,
            cache=cache,
            seed=seed,
        )
        self.channels: int = channels

    def _decoded(self, path: Path) -> np.ndarray:
        image = read_samples(path)
        plane = image if image.ndim == 2 else image[..., 0]
        return np.repeat(plane[..., None], self.channels, axis=2)
