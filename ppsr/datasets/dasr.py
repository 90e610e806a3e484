"""HR images, degraded on the fly by DASR's three levels.

Liang, Zeng, Zhang, ECCV 2022, arXiv:2203.14216. On the host each sample has random params of its own; with
the backend "device" a batch shares level, resizes and order. The released code shares them too, and the
kind of noise and the gray pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppsr.datasets.degrading import DegradingDataset
from ppsr.degradations.base import Operation
from ppsr.degradations.dasr import build_operations, describe, draw_params, levels_with
from ppsr.errors import ConfigError

__all__ = ["DASRDataset"]


@dataclass(kw_only=True, eq=False)
class DASRDataset(DegradingDataset):
    """Items: lq, gt (C, H, W) float32 in [0, 1], degradation_params (33), gt_path.

    Options: `DegradingDataset`'s; `degradation` holds changes to the published ranges, see
    `ppsr.degradations.dasr.levels_with`.

    Args:
        level_prob: probabilities of weak, standard and severe degradation.
        published_description: the released code's index 9 of the parameters.
    """

    keep_gt: bool = field(default=False, init=False)
    level_prob: Sequence[float] = (0.3, 0.3, 0.4)
    published_description: bool = False

    def _configure(self, options: dict[str, Any]) -> float:
        if len(self.level_prob) != 3 or abs(sum(self.level_prob) - 1) > 1e-6:
            raise ConfigError(
                f"level_prob must hold three probabilities that sum to 1, got {list(self.level_prob)}"
            )
        self.levels = levels_with(options)
        smallest = [min(1.0, level.stages[0].resize.resize_range[0]) for level in self.levels.values()]
        return int(self.crop_pad_size * min(1 / self.scale, *smallest))

    def draw(
        self, rng: np.random.Generator, shared_rng: np.random.Generator
    ) -> tuple[list[Operation], dict[str, np.ndarray]]:
        level = self.levels[str(shared_rng.choice(list(self.levels), p=self.level_prob))]
        params = draw_params(rng, level, shared_rng)
        described = describe(params, level, published_description=self.published_description)
        operations = build_operations(params, (self.crop_pad_size, self.crop_pad_size), self.scale)
        return operations, {"degradation_params": described}

    def variants(self, rng: np.random.Generator) -> dict[str, list[Operation]]:
        size = (self.crop_pad_size, self.crop_pad_size)
        return {
            name: build_operations(draw_params(rng, level), size, self.scale)
            for name, level in self.levels.items()
        }
