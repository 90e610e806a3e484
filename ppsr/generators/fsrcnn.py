"""FSRCNN: convolutions on the LR image in a narrow middle, one transposed convolution at the end.

Dong et al., "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016, arXiv:1608.00367.
Parameter names are those of the common PyTorch file. Differences from the release: every convolution pads
with zeros, so that the output is exactly `scale` times the input; a slope per channel is the default, one
slope per layer as in the release an option.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn
from paddle.nn import initializer as init

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, PReLU
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["FSRCNN"]

_PAPER = "FSRCNN, ECCV 2016, arXiv:1608.00367"
_DECONVOLUTION = 9  # kernel of the transposed convolution, for every scale


class FSRCNN(nn.Layer):
    """LR image (N, num_channels, H, W) in [0, 1] -> SR image (N, num_channels, sH, sW).

    With one channel the network works on luma: colour images are enlarged by applying it to Y of YCbCr, and
    MATLAB's bicubic to Cb and Cr.

    Args:
        scale: any whole factor; weights of all scales have the same shapes.
        d: width of the first and the last layer.
        s: width of the middle.
        m: 3x3 convolutions in the middle.
        shared_slopes: one PReLU slope per layer instead of one per channel.

    Example:
        >>> net = FSRCNN(scale=3)
        >>> net(paddle.zeros([1, 1, 8, 8])).shape
        [1, 1, 24, 24]
    """

    fp16_safe: ClassVar[bool] = True
    test_args: ClassVar[dict[str, Any]] = {"scale": 2, "num_channels": 3, "d": 8, "s": 4, "m": 1}
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("FSRCNN_x2", 12_809, 51_052_544, _PAPER, {"scale": 2}),
        Variant("FSRCNN_x3", 12_809, 51_052_544, _PAPER, {"scale": 3}),
        Variant("FSRCNN_x4", 12_809, 51_052_544, _PAPER, {"scale": 4}),
        Variant("FSRCNN-s_x3", 4_086, 16_125_952, _PAPER, {"scale": 3, "d": 32, "s": 5, "m": 1}),
    )

    def __init__(
        self,
        *,
        scale: int,
        num_channels: int = 1,
        d: int = 56,
        s: int = 12,
        m: int = 4,
        shared_slopes: bool = False,
    ) -> None:
        super().__init__()
        if scale < 1:
            raise ConfigError(f"FSRCNN: scale must be at least 1, got {scale}")
        self.scale = scale
        self.num_channels = num_channels
        self.luma = num_channels == 1
        # 5x5, then m times 3x3, then what the transposed convolution spreads
        self.receptive_radius = 2 + m + (scale + 3) // scale

        def slopes(width: int) -> PReLU:
            return PReLU(1 if shared_slopes else width)

        self.first_part = nn.LayerList([_convolution(num_channels, d, 5), slopes(d)])
        middle: list[nn.Layer] = [_convolution(d, s, 1), slopes(s)]
        for _ in range(m):
            middle += [_convolution(s, s, 3), slopes(s)]
        self.mid_part = nn.LayerList([*middle, _convolution(s, d, 1), slopes(d)])
        self.last_part = nn.Conv2DTranspose(
            d,
            num_channels,
            _DECONVOLUTION,
            stride=scale,
            padding=_DECONVOLUTION // 2,
            output_padding=scale - 1,
            weight_attr=paddle.ParamAttr(initializer=init.Normal(std=0.001)),
            bias_attr=paddle.ParamAttr(initializer=init.Constant(0.0)),
        )

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        """Constructor arguments, if these are the weights of this network; the scale leaves no trace."""
        if "mid_part.0.weight" not in state:
            return None
        width, channels = state["first_part.0.weight"].shape[:2]
        return {
            "num_channels": channels,
            "d": width,
            "s": state["mid_part.0.weight"].shape[0],
            "m": sum(state[key].ndim == 4 for key in state if key.startswith("mid_part.")) - 2,
            "shared_slopes": state["first_part.1.weight"].shape[0] == 1 < width,
        }

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.first_part, *self.mid_part):
            x = layer(x)
        return self.last_part(x)


def _convolution(inputs: int, outputs: int, kernel: int) -> Conv2D:
    """A convolution that keeps the size, with the paper's initialisation (He et al., ICCV 2015)."""
    layer = Conv2D(inputs, outputs, kernel, padding=kernel // 2)
    init.Normal(std=math.sqrt(2 / (kernel**2 * outputs)))(layer.weight)
    init.Constant(0.0)(layer.bias)
    return layer
