"""HR pictures alone: for models that degrade by themselves, or with LR made on the fly.

ImageNetPairedDataset follows the pre-training data of HAT (Chen et al., CVPR 2023, arXiv:2205.04437) and DRCT
(Hsu et al., CVPRW 2024, arXiv:2404.00722).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from paddle.io import Dataset

from ppsr.datasets.files import BadFiles, Folders, gather_shares
from ppsr.datasets.sources import read_own
from ppsr.datasets.transforms import Integers, augment, check_window, paired_crop, random_crop_or_pad
from ppsr.degradations.reflash_benchmark import VARIANTS, degrade
from ppsr.errors import ConfigError, did_you_mean
from ppsr.imaging.arrays import mod_crop, seeded
from ppsr.imaging.io import to_rgb, to_uint8
from ppsr.imaging.resize import matlab_resize, matlab_resize_integers

__all__ = ["GTDataset", "ImageNetPairedDataset"]

_MATLAB = "matlab_bicubic"


class GTDataset(Dataset):
    """HR pictures; a (epoch, index) key yields a random window, a plain index the whole picture.

    Items: gt (3, H, W) float32 in [0, 1], gt_path, and with a degradation lq (3, h, w).

    LR of a whole picture equals what `ppsr prepare` writes and `ppsr evaluate` makes with the same seed.

    Args:
        gt_folder: HR pictures, searched recursively, or an LMDB store; or a list of these.
        scale: HR size / LR size.
        gt_size: side of the training window in HR pixels; None always yields whole pictures. Without a
            degradation, smaller pictures are extended by reflection.
        degradation: "matlab_bicubic", one of the eight of Reflash Dropout's benchmark, or None for no LR.
        meta_info: list of HR names.
        shares: parts of the samples that come from each of several folders; by default that of its pictures.
        use_hflip: random mirroring.
        use_rot: random turning.
        seed: of windows and noise.

    Raises:
        ConfigError: unknown degradation, or a window that is no multiple of the scale.
        DataError: folder missing or empty.
    """

    def __init__(
        self,
        *,
        gt_folder: Folders,
        scale: int = 4,
        gt_size: int | None = None,
        degradation: str | None = None,
        meta_info: str | None = None,
        shares: Sequence[float] | None = None,
        use_hflip: bool = False,
        use_rot: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        valid = (_MATLAB, *VARIANTS)
        if degradation is not None and degradation not in valid:
            raise ConfigError(f"unknown degradation '{degradation}'; {did_you_mean(degradation, valid)}")
        check_window(gt_size, scale)
        self.paths = gather_shares(gt_folder, meta_info, shares)
        self.scale = scale
        self.gt_size = gt_size
        self.degradation = degradation
        self.use_hflip = use_hflip
        self.use_rot = use_rot
        self.seed = seed
        self.bad = BadFiles(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        if self.gt_size is None or isinstance(key, int):
            gt, path = self._read(key if isinstance(key, int) else key[1])
            gt, lq = self._pair(gt, seeded(self.seed, self.degradation or "", path.stem))
            if lq is not None:
                gt = gt[: lq.shape[0] * self.scale, : lq.shape[1] * self.scale]
            return self._item(gt, lq, path)
        gt, path = self.bad.read(key[1], self._read)
        rng = np.random.default_rng([self.seed, *key])
        gt, lq = self._pair(gt, rng)
        if lq is None:
            (gt,) = self._augmented([random_crop_or_pad(gt, self.gt_size, Integers(rng))], rng)
        else:
            gt, lq = paired_crop(gt, lq, gt_size=self.gt_size, scale=self.scale, rng=rng, where=path)
            gt, lq = self._augmented([gt, lq], rng)
        return self._item(gt, lq, path)

    def _augmented(self, pictures: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        return augment(pictures, rng, use_hflip=self.use_hflip, use_rot=self.use_rot)

    def _read(self, index: int) -> tuple[np.ndarray, Path]:
        return mod_crop(read_own(self.paths[index]), self.scale), self.paths[index]

    def _pair(self, gt: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """HR and LR of three channels; gray pictures are degraded as gray ones, so that noise is gray too."""
        lq = self._shrunk(gt, rng)
        return to_rgb(gt), None if lq is None else to_rgb(lq)

    def _shrunk(self, gt: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        """LR in [0, 1], in steps of 8 bit."""
        if self.degradation is None:
            return None
        if self.degradation == _MATLAB:
            lq = matlab_resize_integers(to_uint8(gt), 1 / self.scale)
        else:
            lq = degrade(to_uint8(gt), self.degradation, scale=self.scale, rng=rng)
        return lq.astype(np.float32) / np.float32(255)

    @staticmethod
    def _item(gt: np.ndarray, lq: np.ndarray | None, path: Path) -> dict[str, Any]:
        pictures = {"gt": gt} if lq is None else {"lq": lq, "gt": gt}
        chw = {name: np.ascontiguousarray(image.transpose(2, 0, 1)) for name, image in pictures.items()}
        return {**chw, "gt_path": str(path)}


class ImageNetPairedDataset(GTDataset):
    """Pairs of HR and its MATLAB bicubic LR, which is neither rounded nor clipped, as published.

    Sides of HR below `gt_size` are enlarged to it, each for itself.

    Args:
        gt_folder: HR pictures, searched recursively, or an LMDB store; or a list of these.
        scale: HR size / LR size.
        gt_size: side of the training window, and smallest side of any picture, in HR pixels.
        meta_info: list of HR names.
        shares: parts of the samples that come from each of several folders; by default that of its pictures.
        use_hflip: random mirroring.
        use_rot: random turning.
        seed: of the windows.

    Raises:
        DataError: folder missing or empty.
    """

    def __init__(
        self,
        *,
        gt_folder: Folders,
        scale: int = 4,
        gt_size: int = 256,
        meta_info: str | None = None,
        shares: Sequence[float] | None = None,
        use_hflip: bool = True,
        use_rot: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(
            gt_folder=gt_folder,
            scale=scale,
            gt_size=gt_size,
            degradation=_MATLAB,
            meta_info=meta_info,
            shares=shares,
            use_hflip=use_hflip,
            use_rot=use_rot,
            seed=seed,
        )

    def _read(self, index: int) -> tuple[np.ndarray, Path]:
        gt, path = super()._read(index)
        height, width = (max(side, self.gt_size or 0) for side in gt.shape[:2])
        if gt.shape[:2] != (height, width):
            gt = cv2.resize(gt, (width, height), interpolation=cv2.INTER_LINEAR)
        return gt, path

    def _shrunk(self, gt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return matlab_resize(gt, 1 / self.scale)
