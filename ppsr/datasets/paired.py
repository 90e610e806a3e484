"""LR/HR pairs from two folders, of images or depth maps, and LR images alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.datasets.gather import Folders, gather_images, gather_pairs
from ppsr.datasets.samples import ImageDataset, TrainingDataset, to_chw
from ppsr.datasets.sources import read_size
from ppsr.datasets.transforms import check_pair, cut_excess, paired_crop
from ppsr.errors import ConfigError
from ppsr.imaging.reading import check_value_range

__all__ = ["DepthDataset", "SRDataset", "SingleImageDataset"]


@dataclass(kw_only=True, eq=False)
class SRDataset(TrainingDataset):
    """Pairs by name; whole images for evaluation, random windows for training. Options: `TrainingDataset`'s.

    Items: lq, gt (C, H, W) float32 in [0, 1], lq_path, gt_path. Rows and columns of HR that LR does not
    cover, fewer than `scale`, are cut off.

    Args:
        lq_folder: LR images, or an LMDB store; or a list of as many as HR has.
        filename_tmpl: base name of the LR image, `{}` standing for the HR one.
        cache: keep decoded images in memory, a copy per loader worker: for small sets and small windows, of
            which decoding takes most of the time.
    """

    lq_folder: Folders
    filename_tmpl: str = "{}"
    cache: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cached: dict[Path, np.ndarray] = {}

    def _gather(self) -> list[Any]:
        return self._pairs_with(self.lq_folder)

    def _pairs_with(self, folders: Folders) -> list[tuple[Path, Path]]:
        """HR images with those of other folders."""
        return gather_pairs(self.gt_folder, folders, self.filename_tmpl, self.meta_info)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray, Path, Path]:
        gt_path, lq_path = self.items[index]
        lq = self._image(lq_path)
        return cut_excess(self._image(gt_path), lq, self.scale), lq, gt_path, lq_path

    def _image(self, path: Path) -> np.ndarray:
        """H x W x C, in the file's sample type: only the window that is used needs to become float."""
        if not self.cache:
            return self._read_image(path)
        if path not in self.cached:
            self.cached[path] = self._read_image(path)
        return self.cached[path]

    def _read_pair(self, index: int) -> tuple[np.ndarray, np.ndarray, Path, Path]:
        """A pair that has a training window; DataError without one."""
        assert self.gt_size is not None
        gt, lq, gt_path, lq_path = self._read(index)
        check_pair(gt, lq, scale=self.scale, side=self.gt_size // self.scale, where=gt_path)
        return gt, lq, gt_path, lq_path

    def _looks_usable(self, index: int) -> bool:
        if self.gt_size is None:
            return True
        gt, lq = map(read_size, self.items[index])
        fits = all(0 <= a - b * self.scale < self.scale for a, b in zip(gt, lq, strict=True))
        return fits and min(lq) * self.scale >= self.gt_size

    def _check(self, index: int) -> None:
        self._read_pair(index)

    def sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        if self.gt_size is None or isinstance(key, int):
            gt, lq, gt_path, lq_path = self._read(key if isinstance(key, int) else key[1])
        else:
            gt, lq, gt_path, lq_path = self.bad.read(key[1], self._read_pair)
            rng = np.random.default_rng([self.seed, *key])
            gt, lq = paired_crop(gt, lq, gt_size=self.gt_size, scale=self.scale, rng=rng, where=gt_path)
            gt, lq = self._augmented([gt, lq], rng)
        return {"lq": to_chw(lq), "gt": to_chw(gt), "lq_path": str(lq_path), "gt_path": str(gt_path)}


class SingleImageDataset(ImageDataset):
    """LR images without ground truth. Items: lq (C, H, W) float32 in [0, 1], lq_path."""

    def __init__(
        self, *, lq_folder: str, meta_info: str | None = None, value_range: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        check_value_range(value_range)
        self.value_range = value_range
        self.paths = gather_images(lq_folder, meta_info)

    def __len__(self) -> int:
        return len(self.paths)

    def sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        path = self.paths[key if isinstance(key, int) else key[1]]
        return {"lq": to_chw(self._read_image(path)), "lq_path": str(path)}


@dataclass(kw_only=True, eq=False)
class DepthDataset(SRDataset):
    """Pairs of depth maps by name, of one channel, or repeated to three as PaddleDepth feeds its networks.

    https://github.com/PaddlePaddle/PaddleDepth (Depth_super_resolution). Of colour files the first channel
    counts. Options: `SRDataset`'s.

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
