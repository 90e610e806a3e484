"""RCAN: residual groups of residual channel attention blocks.

Zhang et al., ECCV 2018, arXiv:1807.02758, with the parameter names of the released code, which builds on
EDSR's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from paddle import Tensor, nn

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D
from ppsr.generators.blocks.detection import count, rgb_range, shuffle_scale
from ppsr.generators.blocks.residual import RCAB, MeanShift, upsampler
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["RCAN"]

_PAPER = "RCAN, ECCV 2018, arXiv:1807.02758"


class ResidualGroup(nn.Layer):
    """Blocks and a convolution inside one residual; (N, C, H, W) -> the same."""

    def __init__(self, n_feats: int, n_resblocks: int, kernel_size: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(RCAB(n_feats, kernel_size, reduction) for _ in range(n_resblocks)),
            Conv2D(n_feats, n_feats, kernel_size, padding=kernel_size // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class RCAN(nn.Layer):
    """LR image (N, n_colors, H, W) in 0..rgb_range -> SR image (N, n_colors, sH, sW).

    Args:
        scale: 2, 3, 4 or 8.
        n_resblocks: blocks per group.
        n_colors: 3, or 1.
        kernel_size: kernel size of the body convolutions, 3 as published.
        reduction: width / inner width of the channel attention.
        train_mean_shift: whether the mean shift is trained (the released code's is not meant to be).
    """

    fp16_safe: ClassVar[bool] = True
    test_args: ClassVar[dict[str, Any]] = {"scale": 3, "n_resgroups": 1, "n_resblocks": 2, "n_feats": 16}
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("RCAN_x2", 15_444_667, 62_698_577_920, _PAPER, {"scale": 2}),
        Variant("RCAN_x3", 15_629_307, 63_489_126_400, _PAPER, {"scale": 3}),
        Variant("RCAN_x4", 15_592_379, 65_199_874_048, _PAPER, {"scale": 4}),
    )

    def __init__(
        self,
        *,
        scale: int = 4,
        n_resgroups: int = 10,
        n_resblocks: int = 20,
        n_feats: int = 64,
        n_colors: int = 3,
        rgb_range: float = 255,
        kernel_size: int = 3,
        reduction: int = 16,
        train_mean_shift: bool = False,
    ) -> None:
        super().__init__()
        if scale not in (2, 3, 4, 8):
            raise ConfigError(f"RCAN: scale must be 2, 3, 4 or 8, got {scale}")
        if n_colors not in (1, 3):
            raise ConfigError(f"RCAN: n_colors must be 1 or 3, got {n_colors}")
        if n_feats < reduction:
            raise ConfigError(
                f"RCAN: n_feats {n_feats} is narrower than reduction {reduction}; lower reduction"
            )
        self.scale = scale
        self.num_channels = n_colors
        self.rgb_range = float(rgb_range)
        self.size_multiple = 1
        self.receptive_radius = None  # channel attention averages over the whole image
        half = kernel_size // 2
        self.sub_mean = MeanShift(n_colors, rgb_range, -1, train_mean_shift)
        self.head = nn.Sequential(Conv2D(n_colors, n_feats, kernel_size, padding=half))
        self.body = nn.Sequential(
            *(ResidualGroup(n_feats, n_resblocks, kernel_size, reduction) for _ in range(n_resgroups)),
            Conv2D(n_feats, n_feats, kernel_size, padding=half),
        )
        self.tail = nn.Sequential(
            upsampler(scale, n_feats, kernel_size), Conv2D(n_feats, n_colors, kernel_size, padding=half)
        )
        self.add_mean = MeanShift(n_colors, rgb_range, 1, train_mean_shift)

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        if "body.0.body.0.body.3.conv_du.0.weight" not in state:
            return None
        width, colors, kernel = state["head.0.weight"].shape[:3]
        return {
            "scale": shuffle_scale(state, "tail.0."),
            "n_resgroups": count(state, r"body\.(\d+)\.body\."),
            "n_resblocks": count(state, r"body\.0\.body\.(\d+)\.body\."),
            "n_feats": width,
            "n_colors": colors,
            "rgb_range": rgb_range(state),
            "kernel_size": kernel,
            "reduction": width // state["body.0.body.0.body.3.conv_du.0.weight"].shape[0],
        }

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(features + self.body(features)))
