"""HR images, degraded on the fly by a list of random steps; by default Real-ESRGAN's of second order.

Wang et al., ICCVW 2021, arXiv:2107.10833. The data of Real-SRResNet and Real-RRDB (Kong et al., CVPR 2022,
arXiv:2112.12089), of Navigating Beyond Dropout (CVPR 2024, arXiv:2402.18929) and of Real-DRCT (CVPRW 2024,
arXiv:2404.00722).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppsr.datasets.degrading import DegradingDataset
from ppsr.datasets.files import Folders
from ppsr.datasets.transforms import check_window
from ppsr.degradations.operations import Operation
from ppsr.degradations.second_order import SECOND_ORDER, build_steps, draw_operations, smallest_filtered
from ppsr.errors import ConfigError, did_you_mean

__all__ = ["RealESRGANDataset"]

_OPTIONS = ("backend", "operations")


class RealESRGANDataset(DegradingDataset):
    """Items: lq, gt (3, H, W) float32 in [0, 1], gt_path; gt_usm like gt with `keep_gt`.

    Args:
        gt_folder: HR images, searched recursively; or a list of folders.
        scale: HR size / LR size.
        gt_size: side of the training window in HR pixels, a multiple of `scale`.
        crop_pad_size: side of the window that is degraded, from which the training window is cut.
        meta_info: list of names below `gt_folder`.
        shares: parts of the samples that come from each of several folders; by default that of its images.
        use_hflip: random mirroring.
        use_rot: random turning.
        gt_usm: sharpen the image that is degraded, which is also the target.
        keep_gt: give the plain target as `gt` and the sharpened one as `gt_usm`, so each loss can choose.
        degradation: `backend`, "host" or "device" (default: "device" unless that is a CPU), and `operations`,
            the list of steps for `ppsr.degradations.second_order.build_steps` (default: the published one).
        views: 2 adds `lq_view2`, the same window degraded anew, for `AlignModel`.
        seed: of all choices.

    Raises:
        ConfigError: sizes that do not fit together, or a wrong step.
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
        keep_gt: bool = False,
        degradation: Mapping[str, Any] | None = None,
        views: int = 1,
        seed: int = 0,
    ) -> None:
        check_window(gt_size, scale)
        options = dict(degradation or {})
        for key in options:
            if key not in _OPTIONS:
                raise ConfigError(f"degradation has no option '{key}'; {did_you_mean(key, _OPTIONS)}")
        self.steps = build_steps(options.get("operations") or SECOND_ORDER)
        filter_side = smallest_filtered(self.steps, crop_pad_size, crop_pad_size // scale)
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
            keep_gt=keep_gt,
            views=views,
            backend=options.get("backend"),
            filter_side=filter_side,
            seed=seed,
        )

    def draw(
        self, rng: np.random.Generator, common: np.random.Generator
    ) -> tuple[list[Operation], dict[str, np.ndarray]]:
        size = (self.crop_pad_size, self.crop_pad_size)
        return draw_operations(self.steps, rng, size=size, scale=self.scale, common=common), {}
