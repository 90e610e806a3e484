"""HR images, degraded on the fly by DASR's three levels.

Liang, Zeng, Zhang, ECCV 2022, arXiv:2203.14216. On the host each sample has random choices of its own; with
the backend "device" a batch shares level, resizes and order. The released code shares them too, and the
kind of noise and the gray pattern.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppsr.datasets.degrading import DegradingDataset
from ppsr.datasets.files import Folders
from ppsr.datasets.transforms import check_window
from ppsr.degradations.dasr import build_operations, describe, draw_choices, levels_with
from ppsr.degradations.operations import Operation
from ppsr.errors import ConfigError

__all__ = ["DASRDataset"]


class DASRDataset(DegradingDataset):
    """Items: lq, gt (3, H, W) float32 in [0, 1], degradation_params (33), gt_path.

    Args:
        gt_folder: HR images, searched recursively; or a list of folders.
        scale: HR size / LR size.
        gt_size: side of the training window in HR pixels, a multiple of `scale`.
        crop_pad_size: side of the window that is degraded, from which the training window is cut.
        meta_info: list of names below `gt_folder`.
        shares: parts of the samples that come from each of several folders; by default that of its images.
        use_hflip: random mirroring.
        use_rot: random turning.
        gt_usm: sharpen the target (as published).
        level_prob: probabilities of weak, standard and severe degradation.
        degradation: `backend`, "host" or "device" (default: "device" unless that is a CPU), and changes to
            the published ranges, see `ppsr.degradations.dasr.levels_with`.
        published_description: the released code's index 9 of the parameters.
        views: 2 adds `lq_view2`, the same window degraded anew, for `AlignModel`.
        seed: of all choices.

    Raises:
        ConfigError: sizes that do not fit together.
        DataError: folder missing or empty.
    """

    def __init__(
        self,
        *,
        gt_folder: Folders,
        scale: int = 4,
        gt_size: int = 256,
        crop_pad_size: int = 400,
        meta_info: str | None = None,
        shares: Sequence[float] | None = None,
        use_hflip: bool = True,
        use_rot: bool = False,
        gt_usm: bool = True,
        level_prob: Sequence[float] = (0.3, 0.3, 0.4),
        degradation: Mapping[str, Any] | None = None,
        published_description: bool = False,
        views: int = 1,
        seed: int = 0,
    ) -> None:
        if len(level_prob) != 3 or abs(sum(level_prob) - 1) > 1e-6:
            raise ConfigError(f"level_prob holds three probabilities that sum to 1, got {list(level_prob)}")
        check_window(gt_size, scale)
        changes = dict(degradation or {})
        backend = changes.pop("backend", None)
        self.levels = levels_with(changes)
        smallest = [min(1.0, level.stages[0].resize_range[0]) for level in self.levels.values()]
        super().__init__(
            gt_folder=gt_folder,
            scale=scale,
            gt_size=gt_size,
            crop_pad_size=crop_pad_size,
            meta_info=meta_info,
            shares=shares,
            use_hflip=use_hflip,
            use_rot=use_rot,
            gt_usm=gt_usm,
            keep_gt=False,
            views=views,
            backend=backend,
            filter_side=int(crop_pad_size * min(1 / scale, *smallest)),
            seed=seed,
        )
        self.level_prob = list(level_prob)
        self.published_description = published_description

    def draw(
        self, rng: np.random.Generator, common: np.random.Generator
    ) -> tuple[list[Operation], dict[str, np.ndarray]]:
        level = self.levels[str(common.choice(list(self.levels), p=self.level_prob))]
        choices = draw_choices(rng, level, common)
        described = describe(choices, level, published_description=self.published_description)
        operations = build_operations(choices, (self.crop_pad_size, self.crop_pad_size), self.scale)
        return operations, {"degradation_params": described}

    def variants(self, rng: np.random.Generator) -> dict[str, list[Operation]]:
        size = (self.crop_pad_size, self.crop_pad_size)
        return {
            name: build_operations(draw_choices(rng, level), size, self.scale)
            for name, level in self.levels.items()
        }
