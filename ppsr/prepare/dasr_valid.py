"""Degraded validation sets of DASR: type 1 weak, 2 standard, 3 severe.

The published sets were made without a seed and can only be downloaded; ours are drawn from (seed, name), so
that every machine makes the same ones.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ppsr.degradations.dasr import LEVELS, build_operations, describe, draw_params
from ppsr.degradations.noise import round_to_8bit
from ppsr.degradations.operations import apply_operations
from ppsr.errors import ConfigError
from ppsr.files import atomic_write
from ppsr.imaging.arrays import mod_crop
from ppsr.imaging.io import read_image
from ppsr.prepare.jobs import Recipe, SkipImageError, Summary

__all__ = ["TYPES", "DASRValidation"]

TYPES = {1: "weak", 2: "standard", 3: "severe"}


@dataclass(frozen=True)
class DASRValidation(Recipe):
    """LR of every image, and `params.json`, the 33 degradation parameters of each.

    Sharpening and cropping are for training only. Sides of HR are cut to multiples of `scale`.

    Args:
        kind: 1, 2 or 3.
        seed: seed of all random choices, combined with the image name.

    Raises:
        ConfigError: unknown type.
    """

    kind: int
    scale: int = 4
    seed: int = 0
    name: ClassVar[str] = "dasr-valid"

    def __post_init__(self) -> None:
        if self.kind not in TYPES:
            raise ConfigError(f"--type must be 1 (weak), 2 (standard) or 3 (severe), got {self.kind}")

    def files(self, path: Path) -> list[Path]:
        return [self.target / f"{path.stem}.png"]

    def images(self, path: Path) -> Iterator[tuple[Path, np.ndarray]]:
        image = mod_crop(read_image(path), self.scale)
        if not image.size:
            raise SkipImageError(f"is smaller than {self.scale} pixels")
        params, rng = self._drawn(path.stem)
        operations = build_operations(params, image.shape[:2], self.scale)
        yield self.files(path)[0], round_to_8bit(apply_operations(image, operations, rng))

    def make_each(self, images: Sequence[Path], root: Path, *, workers: int | None, force: bool) -> Summary:
        summary = super().make_each(images, root, workers=workers, force=force)
        made = [path.stem for path in images if self.files(path)[0].exists()]
        level = LEVELS[TYPES[self.kind]]
        described = {stem: describe(self._drawn(stem)[0], level).tolist() for stem in made}
        if made:
            side_file = {"type": self.kind, "seed": self.seed, "params": described}
            atomic_write(self.target / "params.json", json.dumps(side_file, indent=1))
        return summary

    def _drawn(self, stem: str) -> tuple[Any, np.random.Generator]:
        """The parameters of an image, and the generator of what is drawn after them."""
        spelled = stem.encode(errors="surrogateescape")  # names of files need not be text
        rng = np.random.default_rng([self.seed, self.kind, zlib.crc32(spelled)])
        return draw_params(rng, LEVELS[TYPES[self.kind]]), rng
