"""Structural similarity over several scales, as a loss.

Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment", Asilomar 2003.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.errors import ConfigError, DataError
from ppsr.generators.blocks.layers import safe_power
from ppsr.precision import in_float32

__all__ = ["MSSSIMLoss"]

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SIZE, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


class MSSSIMLoss(nn.Layer):
    """(sr, gt), each (N, C, H, W) in [0, 1] -> 1 - MS-SSIM, averaged over channels and images.

    Contrast and structure of every scale and the luminance of the last one to the powers 0.0448, 0.2856,
    0.3001, 0.2363 and 0.1333, in Gaussian windows of 11x11 (sigma 1.5) without border; each scale averages
    2x2 pixels of the one before.

    Args:
        scales: scales, 1 to 5; fewer than 5 take the first powers, divided by their sum. Sides must be
            11 * 2^(scales - 1) pixels or more: 176 for 5 scales, 44 for 3. One scale is SSIM.

    Raises:
        ConfigError: another number of scales.
        DataError: an image too small for the scales.

    Example:
        >>> loss = MSSSIMLoss(scales=3)(sr, gt)
    """

    window: Tensor

    test_args: ClassVar[dict[str, Any]] = {"scales": 1}

    def __init__(self, *, scales: int = 5) -> None:
        super().__init__()
        if not 1 <= scales <= len(_WEIGHTS):
            raise ConfigError(f"MSSSIMLoss: scales must be 1 to {len(_WEIGHTS)}, got {scales}")
        self.powers = [weight / sum(_WEIGHTS[:scales]) for weight in _WEIGHTS[:scales]]
        line = np.exp(-((np.arange(_SIZE) - _SIZE // 2) ** 2) / (2 * _SIGMA**2))
        window = (line / line.sum()).astype(np.float32).reshape(1, 1, -1, 1)
        self.register_buffer("window", paddle.to_tensor(window), persistable=False)

    @in_float32
    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        least = _SIZE * 2 ** (len(self.powers) - 1)
        if min(sr.shape[2:]) < least:
            raise DataError(
                f"MSSSIMLoss: {len(self.powers)} scales need sides of {least} pixels or more, got "
                f"{list(sr.shape[2:])}; take fewer `scales` or a larger dataset.train.gt_size"
            )
        n, c, h, w = sr.shape
        x, y = (image.reshape([n * c, 1, h, w]) for image in (sr, gt))
        similarity = paddle.ones([n * c], x.dtype)
        for number, power in enumerate(self.powers, 1):
            luminance, structure = self._similarities(x, y)
            last = number == len(self.powers)
            value = (luminance * structure if last else structure).mean(axis=[1, 2, 3])
            # a negative value has no power, and no gradient; a single scale needs neither
            similarity = similarity * (value if power == 1 else safe_power(F.relu(value), power))
            if not last:
                x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return 1 - similarity.mean()

    def _similarities(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Luminance, and contrast times structure, at every place of a window."""
        mean_x, mean_y = self._blurred(x), self._blurred(y)
        var_x, var_y = self._blurred(x * x) - mean_x**2, self._blurred(y * y) - mean_y**2
        covariance = self._blurred(x * y) - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
        return luminance, (2 * covariance + _C2) / (var_x + var_y + _C2)

    def _blurred(self, x: Tensor) -> Tensor:
        window = self.window.astype(x.dtype)
        return F.conv2d(F.conv2d(x, window), window.transpose([0, 1, 3, 2]))
