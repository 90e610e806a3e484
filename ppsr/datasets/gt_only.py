"""HR images alone: for models that degrade by themselves, or with LR made on the fly.

ImageNetPairedDataset follows the pre-training data of HAT (Chen et al., CVPR 2023, arXiv:2205.04437) and DRCT
(Hsu et al., CVPRW 2024, arXiv:2404.00722).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ppsr.datasets.samples import TrainingDataset, to_chw
from ppsr.datasets.sources import read_size, with_channels
from ppsr.datasets.transforms import paired_crop, random_crop_or_pad
from ppsr.degradations.reflash_benchmark import VARIANTS, degrade
from ppsr.errors import ConfigError, DataError, did_you_mean
from ppsr.imaging.arrays import image_rng, mod_crop
from ppsr.imaging.io import to_uint8, to_unit
from ppsr.imaging.resize import matlab_resize, matlab_resize_integers

__all__ = ["GTDataset", "ImageNetPairedDataset"]

_MATLAB = "matlab_bicubic"


@dataclass(kw_only=True, eq=False)
class GTDataset(TrainingDataset):
    """HR images, with LR made on the fly where a degradation is named. Options: `TrainingDataset`'s.

    Items: gt (C, H, W) float32 in [0, 1], gt_path, and with a degradation lq (C, h, w). LR of a whole image
    equals what `ppsr prepare` writes and `ppsr evaluate` makes with the same seed. Without a degradation,
    images smaller than the window are extended by reflection.

    Args:
        degradation: "matlab_bicubic", one of the eight of Reflash Dropout's benchmark, or None for no LR.
    """

    degradation: str | None = None

    def __post_init__(self) -> None:
        valid = (_MATLAB, *VARIANTS)
        if self.degradation is not None and self.degradation not in valid:
            raise ConfigError(
                f"unknown degradation '{self.degradation}'; {did_you_mean(self.degradation, valid)}"
            )
        super().__post_init__()

    def sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        if self.gt_size is None or isinstance(key, int):
            gt, path = self._read(key if isinstance(key, int) else key[1])
            gt, lq = self._pair(gt, image_rng(self.seed, self.degradation or "", path.stem))
            if lq is not None:
                gt = gt[: lq.shape[0] * self.scale, : lq.shape[1] * self.scale]
            return self._item(gt, lq, path)
        gt, path = self.bad.read(key[1], self._read_window)
        rng = np.random.default_rng([self.seed, *key])
        gt, lq = self._pair(gt, rng)
        if lq is None:
            (gt,) = self._augmented([random_crop_or_pad(gt, self.gt_size, rng)], rng)
        else:
            gt, lq = paired_crop(gt, lq, gt_size=self.gt_size, scale=self.scale, rng=rng, where=path)
            gt, lq = self._augmented([gt, lq], rng)
        return self._item(gt, lq, path)

    def _read(self, index: int) -> tuple[np.ndarray, Path]:
        """H x W of gray images, which are degraded as such, so that noise is gray too; else H x W x C."""
        path = self.items[index]
        image = self._read_samples(path)
        with_channels(image, self.channels or 3, path)  # which checks them
        return mod_crop(image, self.scale), path

    def _read_window(self, index: int) -> tuple[np.ndarray, Path]:
        """An image that has a training window; DataError without one."""
        gt, path = self._read(index)
        if self.degradation is not None and min(gt.shape[:2]) < (self.gt_size or 0):
            raise DataError(
                f"{path}: HR {gt.shape[:2]} is smaller than the {self.gt_size} pixel window; lower gt_size, "
                "or leave such images out"
            )
        return gt, path

    def _looks_usable(self, index: int) -> bool:
        size = read_size(self.items[index])
        return self.gt_size is None or self.degradation is None or min(size) - self.scale >= self.gt_size

    def _check(self, index: int) -> None:
        self._read_window(index)

    def _pair(self, gt: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """HR and LR of the network's channels."""
        lq = self._shrunk(gt, rng)
        channels, path = self.channels or 3, Path("LR")
        if lq is not None and channels == 1 and lq.ndim == 3:
            lq = lq[..., 0]  # JPEG of gray images is RGB, of equal channels
        return with_channels(gt, channels, path), None if lq is None else with_channels(lq, channels, path)

    def _shrunk(self, gt: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        """LR, 8 bit."""
        if self.degradation is None:
            return None
        values = gt if gt.dtype == np.uint8 else to_uint8(to_unit(gt))
        if self.degradation == _MATLAB:
            return matlab_resize_integers(values, 1 / self.scale)
        return degrade(values, self.degradation, scale=self.scale, rng=rng)

    @staticmethod
    def _item(gt: np.ndarray, lq: np.ndarray | None, path: Path) -> dict[str, Any]:
        images = {"gt": gt} if lq is None else {"lq": lq, "gt": gt}
        return {**{name: to_chw(image) for name, image in images.items()}, "gt_path": str(path)}


@dataclass(kw_only=True, eq=False)
class ImageNetPairedDataset(GTDataset):
    """Pairs of HR and its MATLAB bicubic LR, which is neither rounded nor clipped, as published.

    Sides of HR below `gt_size` are enlarged to it, each for itself. Options: `TrainingDataset`'s.
    """

    gt_size: int | None = 256
    use_hflip: bool = True
    use_rot: bool = True
    degradation: str | None = field(default=_MATLAB, init=False)

    def _read(self, index: int) -> tuple[np.ndarray, Path]:
        gt, path = super()._read(index)
        height, width = (max(side, self.gt_size or 0) for side in gt.shape[:2])
        if gt.shape[:2] != (height, width):
            gt = cv2.resize(to_unit(gt), (width, height), interpolation=cv2.INTER_LINEAR)
        return gt, path

    def _shrunk(self, gt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return matlab_resize(to_unit(gt), 1 / self.scale)
