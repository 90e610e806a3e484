"""The benchmark of Reflash Dropout: eight degradations of a set, with seeded noise.

Kong et al., "Reflash Dropout in Image Super-Resolution", CVPR 2022, arXiv:2112.12089.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ppsr.degradations.reflash_benchmark import VARIANTS, degrade
from ppsr.errors import DataError
from ppsr.imaging.arrays import image_rng, mod_crop
from ppsr.imaging.io import decode_image
from ppsr.prepare.jobs import Recipe, SkipImageError

__all__ = ["ReflashBenchmark"]


@dataclass(frozen=True)
class ReflashBenchmark(Recipe):
    """`<target>/LR_degra/<variant>/<name>.png` and `<target>/HR/x<scale>/<name>.png`.

    The noise follows from (seed, variant, name) alone, so every machine makes the same images, and `ppsr
    evaluate --protocol reflash` makes them too where they are not there. HR is not written into its own
    source, `<target>/HR`, where every data set would read it twice; the protocol then reads HR there.
    """

    scale: int = 4
    seed: int = 0
    name: ClassVar[str] = "reflash-benchmark"

    def files(self, path: Path) -> list[Path]:
        degraded = [self.target / "LR_degra" / variant / f"{path.stem}.png" for variant in VARIANTS]
        hr = self.target / "HR" / f"x{self.scale}"
        beside = hr.resolve().is_relative_to(path.parent.resolve())
        return degraded if beside else [*degraded, hr / f"{path.stem}.png"]

    def images(self, path: Path) -> Iterator[tuple[Path, np.ndarray]]:
        image = decode_image(path)
        if image.dtype != np.uint8:
            raise DataError(f"8-bit images are needed, this has {image.dtype} samples")
        if min(image.shape[:2]) < self.scale:
            raise SkipImageError(f"{image.shape[1]} x {image.shape[0]} is too small")
        image, files = mod_crop(image, self.scale), self.files(path)
        for variant, file in zip(VARIANTS, files, strict=False):
            yield (
                file,
                degrade(image, variant, scale=self.scale, rng=image_rng(self.seed, variant, path.stem)),
            )
        for file in files[len(VARIANTS) :]:
            yield file, image
