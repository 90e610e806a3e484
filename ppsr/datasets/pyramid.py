"""Pairs with the sizes between them, for networks that learn by doubling, and real LR images among them.

For DRN (Guo et al., CVPR 2020, arXiv:2003.07018). The original reads the middle sizes from folders made with
MATLAB's bicubic; PaddleGAN shrinks the HR window with OpenCV's bicubic, which aliases; both are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ppsr.datasets.gather import BadFiles, Folders, gather_images
from ppsr.datasets.paired import SRDataset
from ppsr.datasets.samples import to_chw
from ppsr.datasets.transforms import crop_window, cut_excess, random_crop_or_pad
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import to_uint8, to_unit
from ppsr.imaging.resize import matlab_resize

__all__ = ["PyramidDataset", "middle_sizes", "opencv_level"]

_SOURCES = ("matlab", "opencv")


def middle_sizes(scale: int) -> tuple[int, ...]:
    """The doublings strictly between LR and HR: 8 -> (2, 4)."""
    if scale < 2 or scale & (scale - 1):
        raise ConfigError(f"scale must be 2, 4, 8, ..., got {scale}")
    return tuple(2**k for k in range(1, scale.bit_length() - 1))


def opencv_level(gt: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """PaddleGAN's image of a size between LR and HR: OpenCV's bicubic of 8 bit, without antialiasing.

    Args:
        gt: H x W x C, 8 or 16 bit.
    """
    shrunk = cv2.resize(to_uint8(to_unit(gt)), size[::-1], interpolation=cv2.INTER_CUBIC)
    return shrunk.reshape(*size, gt.shape[2])


@dataclass(kw_only=True, eq=False)
class PyramidDataset(SRDataset):
    """SRDataset whose training items also hold `lq_x2`, `lq_x4`, ...; with unpaired images `paired`, 1 or 0.

    Options: `SRDataset`'s; the scale is a power of two.

    Args:
        level_folders: factor from LR -> folder of images of that size, named as the LR ones.
        level_source: how sizes without a folder are made from the HR image: "matlab" (bicubic with
            antialiasing of the whole image, 8 bit) or "opencv" (PaddleGAN: bicubic without antialiasing of
            the window).
        unpaired_folder: real LR images without ground truth, taken as they are.
        unpaired_ratio: share of samples that come from there (the paper uses about 0.3).
    """

    level_folders: Mapping[int, Folders] | None = None
    level_source: str = "matlab"
    unpaired_folder: str | None = None
    unpaired_ratio: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.level_source not in _SOURCES:
            raise ConfigError(f"level_source must be 'matlab' or 'opencv', got {self.level_source!r}")
        if not 0 <= self.unpaired_ratio < 1:
            raise ConfigError(f"unpaired_ratio must be in [0, 1), got {self.unpaired_ratio}")
        self.factors = middle_sizes(self.scale)
        folders = {int(factor): folder for factor, folder in (self.level_folders or {}).items()}
        if unknown := set(folders) - set(self.factors):
            raise ConfigError(
                f"level_folders has {sorted(unknown)}, but x{self.scale} has only {self.factors}"
            )
        self.level_paths = {
            factor: [low for _, low in self._pairs_with(folder)] for factor, folder in folders.items()
        }
        self.unpaired = gather_images(self.unpaired_folder) if self.unpaired_folder else []
        self.unpaired_share = self.unpaired_ratio if self.unpaired_folder else 0.0
        self.bad_unpaired = BadFiles(len(self.unpaired))

    def sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        if self.gt_size is None or isinstance(key, int):
            return super().sample(key)
        rng = np.random.default_rng([self.seed, *key])
        if self.unpaired_share and rng.random() < self.unpaired_share:
            return self._unpaired_item(rng)
        return self._paired_item(key[1], rng)

    def _read_all(self, index: int) -> tuple[dict[int, np.ndarray], Path, Path]:
        """Images by factor from LR: {1: lq, 2: ..., scale: gt}."""
        gt, lq, gt_path, lq_path = self._read_pair(index)
        images = {1: lq, self.scale: gt}
        for factor in self.factors:
            if factor in self.level_paths:
                images[factor] = cut_excess(self._image(self.level_paths[factor][index]), lq, factor)
            elif self.level_source == "matlab":
                images[factor] = to_uint8(matlab_resize(to_unit(gt), factor / self.scale))
        height, width = lq.shape[:2]
        for factor, image in images.items():
            if image.shape[:2] != (height * factor, width * factor):
                raise DataError(
                    f"{gt_path}: the image of x{factor} has {image.shape[:2]}, not {factor} times "
                    f"LR {(height, width)}"
                )
        return images, gt_path, lq_path

    def _paired_item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        assert self.gt_size is not None
        images, gt_path, lq_path = self.bad.read(index, self._read_all)
        side = self.gt_size // self.scale
        top, left = crop_window(images[1].shape[:2], side, rng)
        windows = {
            factor: image[top * factor : (top + side) * factor, left * factor : (left + side) * factor]
            for factor, image in images.items()
        }
        for factor in set(self.factors) - set(windows):
            size = (side * factor, side * factor)
            windows[factor] = opencv_level(windows[self.scale], size)
        order = sorted(windows)
        turned = self._augmented([windows[f] for f in order], rng)
        return self._item(dict(zip(order, turned, strict=True)), 1.0, str(lq_path), str(gt_path))

    def _unpaired_item(self, rng: np.random.Generator) -> dict[str, Any]:
        """A window of a real LR image; the targets that it lacks are zeros, which no loss looks at."""
        assert self.gt_size is not None
        side = self.gt_size // self.scale
        chosen = int(rng.integers(len(self.unpaired)))
        image, path = self.bad_unpaired.read(
            chosen, lambda index: (self._image(self.unpaired[index]), self.unpaired[index])
        )
        window = random_crop_or_pad(image, side, rng)
        (window,) = self._augmented([window], rng)
        channels = window.shape[2]
        windows = {f: np.zeros((side * f, side * f, channels), np.uint8) for f in (*self.factors, self.scale)}
        return self._item({1: window, **windows}, 0.0, str(path), "")

    def _item(self, windows: dict[int, np.ndarray], paired: float, lq: str, gt: str) -> dict[str, Any]:
        levels = {f"lq_x{factor}": to_chw(windows[factor]) for factor in self.factors}
        flag = {"paired": np.float32(paired)} if self.unpaired_share else {}
        return {
            "lq": to_chw(windows[1]),
            "gt": to_chw(windows[self.scale]),
            **levels,
            **flag,
            "lq_path": lq,
            "gt_path": gt,
        }
