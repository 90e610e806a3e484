"""Pairs of depth maps for training and testing, instead of PaddleDepth's MATLAB scripts.

https://github.com/PaddlePaddle/PaddleDepth (Depth_super_resolution). All maps are 8-bit gray.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ppsr.degradations.depth import benchmark_lr, benchmark_lr_from_upsampled, lr_of_training, to_png
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.arrays import image_rng, mod_crop
from ppsr.imaging.io import decode_image
from ppsr.prepare.jobs import Recipe, SkipImageError, Summary, gather_flat
from ppsr.prepare.mat_files import read_mat
from ppsr.prepare.subimages import SubImages

__all__ = ["DepthTest", "DepthTraining"]

_LARGEST = 1.5  # of a map in [0, 1]; enlarging may overshoot


@dataclass(frozen=True)
class DepthTraining(Recipe):
    """`<target>/data_all_HR_x<s>/<name>_x<s>.png`, and noisy LR of the same names in `data_all_LR_x<s>`.

    Args:
        seed: seed of the noise, combined with the name.
    """

    scale: int = 4
    seed: int = 0
    name: ClassVar[str] = "dsr-train"
    folders: ClassVar[tuple[str, str]] = ("data_all_HR_x{}", "data_all_LR_x{}")

    @property
    def command(self) -> str:
        return f"{self.name} x{self.scale}"  # a folder may hold several scales

    @property
    def _folders(self) -> tuple[Path, Path]:
        hr, lr = (self.target / folder.format(self.scale) for folder in self.folders)
        return hr, lr

    def files(self, path: Path) -> list[Path]:
        name = f"{path.stem.removesuffix(f'_x{self.scale}')}_x{self.scale}.png"
        return [folder / name for folder in self._folders]

    def images(self, path: Path) -> Iterator[tuple[Path, np.ndarray]]:
        return zip(self.files(path), self._pair(path), strict=True)

    def _pair(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        depth = _read_depth(path, self.scale)
        rng = image_rng(self.seed, "training", path.stem)
        return depth, lr_of_training(depth, scale=self.scale, rng=rng)

    def crop(
        self, *, size: int = 128, step: int = 64, workers: int | None = None, force: bool = False
    ) -> Summary:
        """Cut the pairs into windows: `data_all_HR_x<s>_sub`, `data_all_LR_x<s>_sub`.

        Args:
            size: side of HR windows, a multiple of `scale`.
            step: distance of HR windows, a multiple of `scale`.
            workers: see `make`, as `force`.

        Raises:
            ConfigError: size or step does not fit the scale.
            DataError: the pairs are not there.
        """
        if size % self.scale or step % self.scale:
            raise ConfigError(f"size {size} and step {step} must be multiples of the scale {self.scale}")
        summary = Summary()
        for source, factor in zip(self._folders, (1, self.scale), strict=True):
            target = source.with_name(f"{source.name}_sub")
            windows = SubImages(target, size=size // factor, step=step // factor)
            summary.merge(windows.make(source, workers=workers, force=force), source.name)
        return summary


@dataclass(frozen=True)
class DepthTest(DepthTraining):
    """`<target>/test_HR/<name>_x<s>.png` and `test_LR_x<s>/<name>_x<s>.png`.

    From `.mat` files with `im_gt_y` and `im_b_y` this gives the published images; from raw depth maps the
    noise is drawn here, so that scores are close to published ones, not equal.

    Args:
        seed: seed of the noise, combined with the name; .mat files contain their noise.
        published: shrink as the released script really does (bilinear), not as it intends (cubic).
    """

    published: bool = True
    name: ClassVar[str] = "dsr-test"
    folders: ClassVar[tuple[str, str]] = ("test_HR", "test_LR_x{}")

    def gather(self, source: Path) -> list[Path]:
        return sorted(source.glob("[!.]*.mat")) or gather_flat(source)

    def _pair(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        if path.suffix == ".mat":
            gt, upsampled = _read_mat(path, self.scale)
            lr = benchmark_lr_from_upsampled(upsampled, scale=self.scale, published=self.published)
            return to_png(gt), lr
        depth = _read_depth(path, self.scale)
        rng = image_rng(self.seed, "", path.stem)
        return depth, benchmark_lr(depth, scale=self.scale, rng=rng, published=self.published)


def _read_depth(path: Path, scale: int) -> np.ndarray:
    """An 8-bit map, cut to multiples of the scale; of colour images the first channel, as in the scripts."""
    image = decode_image(path)
    if image.dtype != np.uint8:
        raise DataError(f"the published noise is defined on 8-bit maps, this has {image.dtype} samples")
    depth = mod_crop(image if image.ndim == 2 else image[..., 0], scale)
    if not depth.size:
        raise SkipImageError(f"is smaller than {scale} pixels")
    return depth


def _read_mat(path: Path, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """`im_gt_y` and `im_b_y`, h x w in [0, 1]."""
    gt, upsampled = read_mat(path, ("im_gt_y", "im_b_y"))
    if gt.dtype.kind != "f" or upsampled.dtype.kind != "f" or gt.shape != upsampled.shape:
        raise DataError(
            f"{path}: im_gt_y is {gt.dtype} {gt.shape}, im_b_y {upsampled.dtype} {upsampled.shape}; both "
            "must be h x w numbers with a fraction"
        )
    if min(gt.shape) < scale:
        raise DataError(f"{path}: {gt.shape} is smaller than {scale} pixels")
    largest = max(float(np.abs(values).max()) for values in (gt, upsampled))
    if not largest <= _LARGEST:
        raise DataError(f"{path}: depth must be in [0, 1], the largest is {largest:g}")
    return gt, upsampled
