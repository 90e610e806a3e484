"""ESPCN: convolutions on the LR image and one pixel shuffle.

Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
Neural Network", CVPR 2016, arXiv:1609.05158. Parameter names are those of the common PyTorch file.
"""

from __future__ import annotations

from typing import Any, ClassVar

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D
from ppsr.generators.blocks.detection import square_root
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["ESPCN"]

_PAPER = "ESPCN, CVPR 2016, arXiv:1609.05158"


class ESPCN(nn.Layer):
    """LR image (N, num_channels, H, W) in [0, 1] -> SR image (N, num_channels, sH, sW).

    With one channel the network works on luma: colour images are enlarged by applying it to Y of YCbCr, and
    MATLAB's bicubic to Cb and Cr.

    Args:
        scale: any whole factor.

    Example:
        >>> net = ESPCN(scale=3)
        >>> net(paddle.zeros([1, 1, 8, 8])).shape
        [1, 1, 24, 24]
    """

    fp16_safe: ClassVar[bool] = True
    test_args: ClassVar[dict[str, Any]] = {"scale": 2, "num_channels": 3}
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("ESPCN_x3", 22_729, 92_667_904, _PAPER, {"scale": 3}),
        Variant("ESPCN_x4", 24_752, 100_925_440, _PAPER, {"scale": 4}),
    )

    def __init__(self, *, scale: int, num_channels: int = 1) -> None:
        super().__init__()
        if scale < 1:
            raise ConfigError(f"ESPCN: scale must be at least 1, got {scale}")
        self.scale = scale
        self.num_channels = num_channels
        self.luma = num_channels == 1
        self.receptive_radius = 4  # 5x5, 3x3, 3x3
        self.first_part = nn.LayerList(
            [Conv2D(num_channels, 64, 5, padding=2), nn.Tanh(), Conv2D(64, 32, 3, padding=1), nn.Tanh()]
        )
        self.last_part = nn.LayerList([Conv2D(32, num_channels * scale**2, 3, padding=1)])

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        if "first_part.2.weight" not in state:
            return None
        channels = state["first_part.0.weight"].shape[1]
        return {
            "scale": square_root(state["last_part.0.weight"].shape[0] / channels),
            "num_channels": channels,
        }

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.first_part:
            x = layer(x)
        return F.pixel_shuffle(self.last_part[0](x), self.scale)
