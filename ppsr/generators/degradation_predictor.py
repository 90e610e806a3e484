"""Degradation predictor of DASR and CDDNet.

Liang, Zeng, Zhang, ECCV 2022, arXiv:2203.14216. Published class name: Degradation_Predictor.
"""

from __future__ import annotations

from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn

from ppsr.generators.blocks import Conv2D, LeakyReLU, Linear
from ppsr.weights.identify import StateDict

__all__ = ["DegradationPredictor"]


class DegradationPredictor(nn.Layer):
    """LR image (N, in_nc, H, W) -> parameters (N, num_params) and mixing weights (N, num_networks).

    The parameters are the mean over a map, so that they can be computed in parts: `forward` equals
    `mixing_weights(degradation_map(x).mean(axis=[2, 3]))`. The mixing weights are a linear map of the
    parameters: raw numbers, neither positive nor normalised.

    Args:
        nf: width.
        num_networks: experts of the generator.
        use_bias: bias of all convolutions but the first, which always has one.
    """

    fp16_safe: ClassVar[bool] = True
    produces_image: ClassVar[bool] = False
    test_args: ClassVar[dict[str, Any]] = {"nf": 8, "num_params": 33, "num_networks": 3}
    map_stride: ClassVar[int] = 2  # pixels per value of the map
    map_radius: ClassVar[int] = (
        16  # pixels that a value sees on each side: 4 * 2 before the stride, then 2 * 4
    )

    def __init__(
        self,
        *,
        in_nc: int = 3,
        nf: int = 64,
        num_params: int = 100,
        num_networks: int = 5,
        use_bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_channels = in_nc
        self.num_params = num_params
        self.num_networks = num_networks

        def stage(width_in: int, width_out: int, stride: int = 1, bias: bool = use_bias) -> list[nn.Layer]:
            return [Conv2D(width_in, width_out, 5, stride=stride, padding=2, bias=bias), LeakyReLU(0.2)]

        self.ConvNet = nn.Sequential(
            *stage(in_nc, nf, bias=True),
            *stage(nf, nf),
            *stage(nf, nf),
            *stage(nf, nf, stride=2),
            *stage(nf, nf),
            *stage(nf, num_params),
        )
        self.MappingNet = nn.Sequential(Linear(num_params, 15), Linear(15, num_networks))
        # Independent experts mixed by 1 / sqrt(K) keep the variance of one; near zero, which a plain
        # initialisation gives, every convolution of the generator starts at nothing and hardly learns.
        self.MappingNet[1].bias.set_value(paddle.full([num_networks], num_networks**-0.5))

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        if "ConvNet.0.weight" not in state:
            return None
        width, channels = state["ConvNet.0.weight"].shape[:2]
        return {
            "in_nc": channels,
            "nf": width,
            "num_params": state["ConvNet.10.weight"].shape[0],
            "num_networks": state["MappingNet.1.bias"].shape[0],
            "use_bias": "ConvNet.2.bias" in state,
        }

    def degradation_map(self, x: Tensor) -> Tensor:
        """(N, in_nc, H, W) -> (N, num_params, ceil(H / 2), ceil(W / 2)); its mean is the parameters."""
        return self.ConvNet(x)

    def mixing_weights(self, params: Tensor) -> Tensor:
        """(N, num_params) -> (N, num_networks)."""
        return self.MappingNet(params)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        params = self.degradation_map(x).mean(axis=[2, 3])
        return params, self.mixing_weights(params)
