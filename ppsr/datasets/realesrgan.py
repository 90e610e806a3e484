"""HR images, degraded on the fly by a list of random steps; by default Real-ESRGAN's of second order.

Wang et al., ICCVW 2021, arXiv:2107.10833. The data of Real-SRResNet and Real-RRDB (Kong et al., CVPR 2022,
arXiv:2112.12089), of Navigating Beyond Dropout (CVPR 2024, arXiv:2402.18929) and of Real-DRCT (CVPRW 2024,
arXiv:2404.00722).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ppsr.datasets.degrading import DegradingDataset
from ppsr.degradations.base import ImageSizes, Operation
from ppsr.degradations.second_order import (
    SECOND_ORDER,
    build_steps,
    draw_operations,
    host_operations,
    smallest_filtered,
)
from ppsr.errors import ConfigError, did_you_mean

__all__ = ["RealESRGANDataset"]


@dataclass(kw_only=True, eq=False)
class RealESRGANDataset(DegradingDataset):
    """Items: lq, gt (C, H, W) float32 in [0, 1], gt_path; gt_usm like gt with `keep_gt`.

    Options: `DegradingDataset`'s; `degradation` holds `operations`, the list of steps for
    `ppsr.degradations.second_order.build_steps` (default: the published one).
    """

    def _configure(self, options: dict[str, Any]) -> float:
        for key in options:
            if key != "operations":
                valid = ("backend", "operations")
                raise ConfigError(f"degradation has no option '{key}'; {did_you_mean(key, valid)}")
        self.steps = build_steps(options.get("operations") or SECOND_ORDER)
        sizes = ImageSizes((self.crop_pad_size, self.crop_pad_size), self.scale)
        on_host = host_operations(self.steps, sizes)
        if self.backend == "device" and on_host:
            self.use_host(f"degradation.backend: {', '.join(on_host)} need the backend 'host'")
        return smallest_filtered(self.steps, self.crop_pad_size, self.crop_pad_size // self.scale)

    def draw(
        self, rng: np.random.Generator, shared_rng: np.random.Generator
    ) -> tuple[list[Operation], dict[str, np.ndarray]]:
        size = (self.crop_pad_size, self.crop_pad_size)
        return draw_operations(self.steps, rng, size=size, scale=self.scale, shared_rng=shared_rng), {}
