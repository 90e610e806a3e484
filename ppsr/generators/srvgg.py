"""SRVGGNetCompact: a plain stack of convolutions at LR size, for speed.

Real-ESRGAN's compact network (Wang et al., ICCVW 2021, arXiv:2107.10833; realesr-animevideov3,
realesr-general-x4v3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, LeakyReLU, PReLU, bicubic_shrink, nearest_upsample
from ppsr.generators.blocks.detection import square_root
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["SRVGGNetCompact"]

_PAPER = "Real-ESRGAN, ICCVW 2021, arXiv:2107.10833"
_ACTIVATIONS = ("prelu", "relu", "leakyrelu")


class SRVGGNetCompact(nn.Layer):
    """LR image (N, num_in_ch, H, W) in [0, 1] -> SR image (N, num_out_ch, sH, sW).

    Args:
        num_in_ch: channels; the enlarged input is added, so as many as the output has, or 1.
        num_feat: width.
        num_conv: convolutions between the first and the last.
        outscale: SR size / LR size where it is not `upscale`: the result is then resized bicubically, as in
            the ncnn files of realesr-animevideov3 x2 and x3, which are the x4 network.
        act_type: "prelu", "relu" or "leakyrelu" (slope 0.1).
    """

    fp16_safe: ClassVar[bool] = True
    rgb_range: ClassVar[float] = 1.0
    size_multiple: ClassVar[int] = 1
    test_args: ClassVar[dict[str, Any]] = {"num_feat": 8, "num_conv": 2, "upscale": 2}
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("SRVGG-16_x4", 621_424, 2_536_243_200, _PAPER, {"num_conv": 16, "upscale": 4}),
        Variant("SRVGG-32_x4", 1_213_296, 4_952_162_304, _PAPER, {"num_conv": 32, "upscale": 4}),
    )

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_conv: int = 16,
        upscale: int = 4,
        act_type: str = "prelu",
        outscale: int | None = None,
    ) -> None:
        super().__init__()
        if act_type not in _ACTIVATIONS:
            raise ConfigError(f"SRVGGNetCompact: act_type must be prelu, relu or leakyrelu, got {act_type!r}")
        if num_in_ch not in (1, num_out_ch):
            raise ConfigError(
                f"SRVGGNetCompact adds its input: num_in_ch {num_in_ch} is neither 1 nor "
                f"num_out_ch {num_out_ch}"
            )
        if upscale < 1:
            raise ConfigError(f"SRVGGNetCompact: upscale must be at least 1, got {upscale}")
        if outscale is not None and not 1 <= outscale <= upscale:
            raise ConfigError(f"SRVGGNetCompact: outscale must be 1 to upscale {upscale}, got {outscale}")
        self.num_channels = num_in_ch
        self.upscale = upscale
        self.scale = outscale or upscale
        self.receptive_radius = num_conv + 2 + (self.scale != upscale)

        def activation() -> nn.Layer:
            return {"prelu": lambda: PReLU(num_feat), "relu": nn.ReLU, "leakyrelu": lambda: LeakyReLU(0.1)}[
                act_type
            ]()

        layers: list[nn.Layer] = [Conv2D(num_in_ch, num_feat, 3, padding=1), activation()]
        for _ in range(num_conv):
            layers += [Conv2D(num_feat, num_feat, 3, padding=1), activation()]
        self.body = nn.LayerList([*layers, Conv2D(num_feat, num_out_ch * upscale**2, 3, padding=1)])

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        if "body.0.weight" not in state:
            return None
        width, channels = state["body.0.weight"].shape[:2]
        last = max(int(match[1]) for key in state if (match := re.match(r"body\.(\d+)\.", key)))
        return {
            "num_in_ch": channels,
            "num_out_ch": channels,
            "num_feat": width,
            "num_conv": (last - 2) // 2,
            "upscale": square_root(state[f"body.{last}.weight"].shape[0] / channels),
            "act_type": "prelu" if "body.1.weight" in state else "relu",
        }

    @staticmethod
    def open_choices(arguments: Mapping[str, Any]) -> list[str]:
        """Options that `detect` cannot infer."""
        if arguments["act_type"] != "relu":
            return []
        return ["its keys fit act_type relu and leakyrelu; relu is taken (-o act_type=leakyrelu)"]

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for layer in self.body:
            features = layer(features)
        sr = F.pixel_shuffle(features, self.upscale) + nearest_upsample(x, self.upscale)
        return bicubic_shrink(sr, self.scale, self.upscale)
