"""DRN: a U-shaped network that runs at the SR size, and small dual networks that map its outputs back to LR.

Guo et al., "Closed-loop Matters", CVPR 2020, arXiv:2003.07018 (https://github.com/guoyongcs/DRN); the names
are PaddleGAN's. The mean shift is trained in the published weights, so it is loaded like any parameter.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, LeakyReLU
from ppsr.generators.blocks.detection import count, rgb_range
from ppsr.generators.blocks.residual import RCAB, MeanShift, upsampler
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["DRNDual", "DRNGenerator", "parse_scale"]

_PAPER = "DRN, CVPR 2020, arXiv:2003.07018"
_REDUCTION = 16


def parse_scale(scale: int | str | Sequence[int]) -> tuple[int, ...]:
    """The intermediate factors: `4`, `(2, 4)`, `[2, 4]` and `"(2, 4)"` all mean (2, 4)."""
    value: Any = scale
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise ConfigError(
                f"DRN: scale {scale!r} cannot be read; write [2], [2, 4] or [2, 4, 8]"
            ) from error
    valid = {2: (2,), 4: (2, 4), 8: (2, 4, 8)}
    if isinstance(value, int) and value in valid:
        return valid[value]
    if isinstance(value, (tuple, list)) and tuple(value) in valid.values():
        return tuple(value)
    raise ConfigError(f"DRN: scale must be [2], [2, 4] or [2, 4, 8], got {scale!r}")


class DRNDual(nn.Layer):
    """Halves an image: (N, in, H, W) -> (N, out, H / 2, W / 2), rounded up; the dual of one scale step.

    Args:
        n_feats: width in between.
    """

    fp16_safe: ClassVar[bool] = True
    produces_image: ClassVar[bool] = False  # it makes images smaller, so it is not an lq -> sr network
    test_args: ClassVar[dict[str, Any]] = {"n_feats": 4}

    def __init__(
        self, *, in_channels: int = 3, n_feats: int = 16, out_channels: int = 3, negval: float = 0.2
    ) -> None:
        super().__init__()
        self.dual_module = nn.Sequential(
            nn.Sequential(
                Conv2D(in_channels, n_feats, 3, stride=2, padding=1, bias=False), LeakyReLU(negval)
            ),
            Conv2D(n_feats, out_channels, 3, padding=1, bias=False),
        )

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        if "dual_module.0.0.weight" not in state:
            return None
        width, channels = state["dual_module.0.0.weight"].shape[:2]
        out = state["dual_module.1.weight"].shape[0]
        return {"in_channels": channels, "n_feats": width, "out_channels": out}

    def forward(self, x: Tensor) -> Tensor:
        return self.dual_module(x)


class DRNGenerator(nn.Layer):
    """LR image (N, n_colors, H, W) in 0..rgb_range -> images at x1, x2, ... full scale (the SR).

    Args:
        scale: the intermediate factors (2,), (2, 4) or (2, 4, 8), also as a string; a number means its
            doublings.
        n_blocks: channel attention blocks per step.
        n_feats: width at the SR size; it doubles with every step down.
        n_colors: 3, or 1.
        rgb_range: largest value of an image.
        train_mean_shift: whether the mean shift is trained (the original trains it, PaddleGAN freezes it).
    """

    fp16_safe: ClassVar[bool] = True
    test_args: ClassVar[dict[str, Any]] = {"scale": (2, 4), "n_blocks": 1, "n_feats": 8}
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("DRN-S_x2", 606_378, 2_477_727_488, _PAPER, {"scale": (2,), "n_blocks": 30, "n_feats": 16}),
        Variant(
            "DRN-S_x4", 4_804_065, 48_767_256_576, _PAPER, {"scale": (2, 4), "n_blocks": 30, "n_feats": 16}
        ),
        Variant(
            "DRN-S_x8", 5_403_000, 87_748_007_680, _PAPER, {"scale": (2, 4, 8), "n_blocks": 30, "n_feats": 8}
        ),
        Variant(
            "DRN-L_x4", 9_825_893, 99_753_445_888, _PAPER, {"scale": (2, 4), "n_blocks": 40, "n_feats": 20}
        ),
        Variant(
            "DRN-L_x8",
            10_004_018,
            162_501_740_416,
            _PAPER,
            {"scale": (2, 4, 8), "n_blocks": 36, "n_feats": 10},
        ),
    )

    def __init__(
        self,
        *,
        scale: int | str | Sequence[int] = (2, 4),
        n_blocks: int = 30,
        n_feats: int = 16,
        n_colors: int = 3,
        rgb_range: float = 255,
        negval: float = 0.2,
        kernel_size: int = 3,
        train_mean_shift: bool = True,
    ) -> None:
        super().__init__()
        self.scales = parse_scale(scale)
        self.scale = self.scales[-1]
        self.rgb_range = float(rgb_range)
        self.n_feats, self.num_channels, self.negval = n_feats, n_colors, negval
        self.size_multiple = 1
        self.receptive_radius = None  # channel attention averages over the whole image
        phases = len(self.scales)
        # width of the blocks in each step up: the first two are equal
        widths = [n_feats * 2 ** min(phases, phases - i + 1) for i in range(phases)]
        if n_colors not in (1, 3):
            raise ConfigError(f"DRNGenerator: n_colors must be 1 or 3, got {n_colors}")
        if min(widths) < _REDUCTION:
            raise ConfigError(
                f"DRNGenerator: n_feats {n_feats} is too narrow for channel attention at x{self.scale}; "
                f"use at least {-(-_REDUCTION * n_feats // min(widths))}"
            )
        if not 0 <= negval <= 1:
            raise ConfigError(f"DRNGenerator: negval must be in [0, 1], got {negval}")

        def conv(width_in: int, width_out: int) -> Conv2D:
            return Conv2D(width_in, width_out, kernel_size, padding=kernel_size // 2)

        self.sub_mean = MeanShift(n_colors, rgb_range, -1, train_mean_shift)
        self.head = conv(n_colors, n_feats)
        self.down = nn.LayerList(
            [
                DRNDual(in_channels=width, n_feats=width, out_channels=2 * width, negval=negval)
                for width in (n_feats * 2**p for p in range(phases))
            ]
        )
        self.up_blocks = nn.LayerList(
            [
                nn.Sequential(
                    *(RCAB(width, kernel_size, _REDUCTION) for _ in range(n_blocks)),
                    upsampler(2, width, kernel_size),
                    Conv2D(width, n_feats * 2 ** (phases - 1 - i), 1),
                )
                for i, width in enumerate(widths)
            ]
        )
        tails = [n_feats * 2**phases, *(n_feats * 2 ** (phases - i) for i in range(phases))]
        self.tail = nn.LayerList([conv(width, n_colors) for width in tails])
        self.add_mean = MeanShift(n_colors, rgb_range, 1, train_mean_shift)

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        if "up_blocks.0.0.body.0.weight" not in state:
            return None
        width, colors, kernel = state["head.weight"].shape[:3]
        return {
            "scale": tuple(2 ** (i + 1) for i in range(count(state, r"down\.(\d+)\."))),
            "n_blocks": count(state, r"up_blocks\.0\.(\d+)\.body\."),
            "n_feats": width,
            "n_colors": colors,
            "rgb_range": rgb_range(state),
            "kernel_size": kernel,
        }

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.interpolate(x, scale_factor=self.scale, mode="bicubic", align_corners=False)
        features = self.head(self.sub_mean(x))
        skips = []
        for down in self.down:
            skips.append(features)
            features = down(features)
        images = [self.add_mean(self.tail[0](features))]
        for up, tail, skip in zip(self.up_blocks, self.tail[1:], reversed(skips)):  # noqa: B905 - a tracer knows no strict
            features = paddle.concat([up(features), skip], axis=1)
            images.append(self.add_mean(tail(features)))
        return images
