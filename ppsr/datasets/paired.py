"""LR/HR pairs from two folders, and LR images alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.datasets.files import BadFiles, Folders, gather_images, gather_pairs
from ppsr.datasets.samples import ImageDataset, to_chw
from ppsr.datasets.sources import read_samples, read_size, with_channels
from ppsr.datasets.transforms import augment, check_pair, check_window, cut_excess, paired_crop

__all__ = ["SRDataset", "SingleImageDataset"]


class SRDataset(ImageDataset):
    """Pairs by name; whole images for evaluation, random windows for training.

    Items: lq, gt (C, H, W) float32 in [0, 1], lq_path, gt_path. Rows and columns of HR that LR does not
    cover, fewer than `scale`, are cut off.

    Args:
        gt_folder: HR images, searched recursively, or an LMDB store (`name.lmdb`); or a list of these.
        lq_folder: LR images, or an LMDB store; or a list of as many.
        scale: HR size / LR size.
        gt_size: side of the training window in HR pixels; None yields whole images.
        filename_tmpl: base name of the LR image, `{}` standing for the HR one.
        meta_info: list of HR names.
        shares: parts of the samples that come from each of several folders; by default that of its pairs.
        use_hflip: random mirroring.
        use_rot: random turning.
        cache: keep decoded images in memory, a copy per loader worker: for small sets and small windows, of
            which decoding takes most of the time.
        seed: of the windows.

    Raises:
        ConfigError: a window that is no multiple of the scale.
        DataError: folders are missing or empty, or names do not pair.
    """

    def __init__(
        self,
        *,
        gt_folder: Folders,
        lq_folder: Folders,
        scale: int = 4,
        gt_size: int | None = None,
        filename_tmpl: str = "{}",
        meta_info: str | None = None,
        shares: Sequence[float] | None = None,
        use_hflip: bool = False,
        use_rot: bool = False,
        cache: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_window(gt_size, scale)
        self.pairs = gather_pairs(gt_folder, lq_folder, filename_tmpl, meta_info, shares)
        self.scale = scale
        self.gt_size = gt_size
        self.use_hflip = use_hflip
        self.use_rot = use_rot
        self.kept: dict[Path, np.ndarray] | None = {} if cache else None
        self.seed = seed
        self.bad = BadFiles(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray, Path, Path]:
        gt_path, lq_path = self.pairs[index]
        lq = self._image(lq_path)
        return cut_excess(self._image(gt_path), lq, self.scale), lq, gt_path, lq_path

    def _image(self, path: Path) -> np.ndarray:
        """H x W x C, in the file's sample type where only the window that is used needs to become float."""
        if self.kept is None:
            return self._decoded(path)
        if path not in self.kept:
            self.kept[path] = self._decoded(path)
        return self.kept[path]

    def _decoded(self, path: Path) -> np.ndarray:
        return with_channels(read_samples(path), self.channels or 3, path)

    def _read_pair(self, index: int) -> tuple[np.ndarray, np.ndarray, Path, Path]:
        """A pair that has a training window.

        Raises:
            DataError: it has none, or cannot be read.
        """
        assert self.gt_size is not None
        gt, lq, gt_path, lq_path = self._read(index)
        check_pair(gt, lq, scale=self.scale, side=self.gt_size // self.scale, where=gt_path)
        return gt, lq, gt_path, lq_path

    def _looks_usable(self, index: int) -> bool:
        if self.gt_size is None:
            return True
        gt, lq = map(read_size, self.pairs[index])
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
            gt, lq = augment([gt, lq], rng, use_hflip=self.use_hflip, use_rot=self.use_rot)
        return {"lq": to_chw(lq), "gt": to_chw(gt), "lq_path": str(lq_path), "gt_path": str(gt_path)}


class SingleImageDataset(ImageDataset):
    """LR images without ground truth. Items: lq (C, H, W) float32 in [0, 1], lq_path."""

    def __init__(self, *, lq_folder: str, meta_info: str | None = None) -> None:
        super().__init__()
        self.paths = gather_images(lq_folder, meta_info)

    def __len__(self) -> int:
        return len(self.paths)

    def sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        path = self.paths[key if isinstance(key, int) else key[1]]
        image = with_channels(read_samples(path), self.channels or 3, path)
        return {"lq": to_chw(image), "lq_path": str(path)}
