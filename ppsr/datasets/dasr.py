"""HR pictures, degraded on the fly by DASR's three levels.

Liang, Zeng, Zhang, ECCV 2022, arXiv:2203.14216. Each sample has random choices of its own, drawn from (seed,
epoch, index)
alone; the released code shares level, resize modes and gray pattern within a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from paddle.io import Dataset

from ppsr.datasets.files import BadFiles, gather_pictures
from ppsr.datasets.sources import read_image
from ppsr.datasets.transforms import Integers, augment, paired_crop, random_crop_or_pad
from ppsr.degradations.blur import usm_sharpen
from ppsr.degradations.dasr import (
    FILTER_RADIUS,
    build_operations,
    describe,
    draw_choices,
    levels_with,
)
from ppsr.degradations.operations import apply_operations, quantise
from ppsr.errors import ConfigError

__all__ = ["DASRDataset"]


class DASRDataset(Dataset):
    """Items: lq, gt (3, H, W) float32 in [0, 1], degradation_params (33), gt_path.

    Args:
        gt_folder: HR pictures, searched recursively.
        scale: HR size / LR size.
        gt_size: side of the training window in HR pixels, a multiple of `scale`.
        crop_pad_size: side of the window that is degraded, from which the training window is cut.
        meta_info: list of names below `gt_folder`.
        use_hflip: random mirroring.
        use_rot: random turning.
        gt_usm: sharpen the target (as published).
        level_prob: probabilities of weak, standard and severe degradation.
        degradation: changes to the published ranges, see `ppsr.degradations.dasr.levels_with`.
        published_description: the released code's index 9 of the parameters.
        seed: of all choices.

    Raises:
        ConfigError: sizes that do not fit together.
        DataError: folder missing or empty.
    """

    def __init__(
        self,
        *,
        gt_folder: str,
        scale: int = 4,
        gt_size: int = 256,
        crop_pad_size: int = 400,
        meta_info: str | None = None,
        use_hflip: bool = True,
        use_rot: bool = False,
        gt_usm: bool = True,
        level_prob: Sequence[float] = (0.3, 0.3, 0.4),
        degradation: Mapping[str, Any] | None = None,
        published_description: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if gt_size % scale or crop_pad_size % scale or gt_size > crop_pad_size:
            raise ConfigError(
                f"gt_size {gt_size} and crop_pad_size {crop_pad_size} must be multiples of scale {scale}, "
                "the second at least as large"
            )
        if len(level_prob) != 3 or abs(sum(level_prob) - 1) > 1e-6:
            raise ConfigError(f"level_prob holds three probabilities that sum to 1, got {list(level_prob)}")
        self.paths = gather_pictures(gt_folder, meta_info)
        self.scale = scale
        self.gt_size = gt_size
        self.crop_pad_size = crop_pad_size
        self.use_hflip = use_hflip
        self.use_rot = use_rot
        self.gt_usm = gt_usm
        self.level_prob = list(level_prob)
        self.levels = levels_with(degradation)
        smallest = min(
            [1 / scale, *(min(1.0, level.stages[0].resize_range[0]) for level in self.levels.values())]
        )
        if int(crop_pad_size * smallest) <= FILTER_RADIUS:
            raise ConfigError(
                f"crop_pad_size {crop_pad_size} shrinks to {int(crop_pad_size * smallest)} pixels, "
                f"too few for filters of "
                f"side 21; give at least {int(np.ceil((FILTER_RADIUS + 1) / smallest))}"
            )
        self.published_description = published_description
        self.seed = seed
        self.bad = BadFiles(len(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def _read(self, index: int) -> tuple[np.ndarray, str]:
        return read_image(self.paths[index]), str(self.paths[index])

    def _source(self, key: int | tuple[int, int]) -> tuple[np.ndarray, str, np.random.Generator]:
        """The HR window of a sample, sharpened if wanted, its path, and the generator of its further
        draws."""
        epoch, index = (0, key) if isinstance(key, int) else key
        image, path = self.bad.read(index, self._read)
        rng = np.random.default_rng([self.seed, epoch, index])
        (image,) = augment([image], rng, use_hflip=self.use_hflip, use_rot=self.use_rot)
        image = random_crop_or_pad(image, self.crop_pad_size, Integers(rng))
        return (usm_sharpen(image) if self.gt_usm else image), path, rng

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        gt, path, rng = self._source(key)
        name = str(rng.choice(list(self.levels), p=self.level_prob))
        choices = draw_choices(rng, self.levels[name])
        operations = build_operations(choices, gt.shape[:2], self.scale)
        lq = quantise(apply_operations(gt, operations, rng))
        gt, lq = paired_crop(gt, lq, gt_size=self.gt_size, scale=self.scale, rng=rng, where=path)
        description = describe(choices, self.levels[name], published_description=self.published_description)
        return {
            "lq": np.ascontiguousarray(lq.transpose(2, 0, 1)),
            "gt": np.ascontiguousarray(gt.transpose(2, 0, 1)),
            "degradation_params": description,
            "gt_path": path,
        }

    def stages(self, index: int, level: str) -> list[tuple[str, np.ndarray]]:
        """Name and picture of every stage of a sample at one level, for looking at."""
        gt, _, rng = self._source(index)
        result = [("target", gt)]
        for operation in build_operations(draw_choices(rng, self.levels[level]), gt.shape[:2], self.scale):
            result.append((type(operation).__name__.lower(), operation.apply(result[-1][1], rng)))
        return [*result, ("8 bit", quantise(result[-1][1]))]
