"""CDDNet: blind super-resolution with expert convolutions mixed by a degradation predictor.

CDDNet (https://github.com/Aries1213/CDDNet) extends DASR (Liang, Zeng, Zhang, ECCV 2022, arXiv:2203.14216)
by a large-kernel attention and a cross dropout before the last convolution. Without these two
(`use_rc=False`, no dropout) it is DASR's generator. Published class name: MSRResNetDynamic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.errors import ConfigError
from ppsr.generators.blocks import bilinear_upsample, leaky_relu
from ppsr.generators.blocks.detection import count, square_root
from ppsr.generators.blocks.dynamic_conv import DynamicConv2D
from ppsr.generators.blocks.layers import GELU, Conv2D
from ppsr.generators.variants import Variant
from ppsr.registry import GENERATORS
from ppsr.weights.identify import StateDict, identify

__all__ = ["DASR_PARTS", "LKAT", "BlindSR", "CDDNet", "LineDropout"]


class LineDropout(nn.Layer):
    """Keeps a row (axis 2) or a column (axis 3) with probability 1 - p, divided by 1 - p; identity in
    evaluation.

    CDDNet's cross dropout: columns first, then rows. The released row dropout has the mask shape
    (6, 1, 256, 1) written in; here the mask follows the input.
    """

    def __init__(self, p: float, axis: int) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ConfigError(f"a dropout probability must be between 0 and 1, got {p}")
        self.p = p
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        shape = [x.shape[0], 1, 1, 1]
        shape[self.axis] = x.shape[self.axis]
        kept = (paddle.rand(shape) >= self.p).astype(x.dtype)
        return x * (kept / (1 - self.p))


class LKAT(nn.Layer):
    """(N, C, H, W) -> the same shape: 1x1 and GELU, times its own large-kernel attention, 1x1.

    A 31x31 neighbourhood seen through two depthwise convolutions: CDDNet's "gyroscope" local attention, after
    the tail of MAN (Wang et al., arXiv:2209.14145).
    """

    receptive_radius = 15

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(Conv2D(num_feat, num_feat, 1), GELU())
        self.att = nn.Sequential(
            Conv2D(num_feat, num_feat, 7, padding=3, groups=num_feat),
            Conv2D(num_feat, num_feat, 9, padding=12, dilation=3, groups=num_feat),
            Conv2D(num_feat, num_feat, 1),
        )
        self.conv1 = Conv2D(num_feat, num_feat, 1)
        # attention starts near one instead of near zero, so that the signal passes before it is learnt
        self.att[2].bias.set_value(paddle.ones([num_feat]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv0(x)
        return self.conv1(x * self.att(x))


_CDDNET = "CDDNet, github.com/Aries1213/CDDNet"
_DASR = "DASR, ECCV 2022, arXiv:2203.14216"
DASR_PARTS = {"use_rc": False, "column_dropout": 0.0, "row_dropout": 0.0}  # CDDNet with these is DASR's


class DynamicResidualBlock(nn.Layer):
    """x + res_scale * conv2(relu(conv1(x))) with expert convolutions."""

    def __init__(self, num_feat: int, num_models: int, res_scale: float = 1.0) -> None:
        super().__init__()
        self.conv1 = DynamicConv2D(num_feat, num_feat, 3, K=num_models, init_scale=0.1)
        self.conv2 = DynamicConv2D(num_feat, num_feat, 3, K=num_models, init_scale=0.1)
        self.res_scale = res_scale

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x, weights)), weights) * self.res_scale


class CDDNet(nn.Layer):
    """LR image (N, C, H, W) in [0, 1] and mixing weights (N, num_models) -> SR image (N, C, sH, sW).

    Args:
        num_in_ch: channels; the enlarged input is added, so as many as the output has, or 1.
        num_feat: width.
        num_models: experts per convolution.
        upscale: 1, 2, 3 or 4.
        use_rc: the large-kernel attention before the last convolution (CDDNet); off for DASR.
        column_dropout: probability of dropping columns before the last convolution (CDDNet: 0.2).
        row_dropout: the same for rows (CDDNet: 0.01).
    """

    fp16_safe: ClassVar[bool] = True
    test_args: ClassVar[dict[str, Any]] = {"num_feat": 8, "num_block": 1, "num_models": 3, "upscale": 2}

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 16,
        num_models: int = 5,
        upscale: int = 4,
        use_rc: bool = True,
        column_dropout: float = 0.2,
        row_dropout: float = 0.01,
    ) -> None:
        super().__init__()
        if upscale not in (1, 2, 3, 4):
            raise ConfigError(f"CDDNet: upscale must be 1, 2, 3 or 4, got {upscale}")
        if num_in_ch not in (1, num_out_ch):
            raise ConfigError(
                f"CDDNet adds its input: num_in_ch {num_in_ch} is neither 1 nor num_out_ch {num_out_ch}"
            )
        self.scale = upscale
        self.num_models = num_models
        self.num_channels = num_in_ch
        # each 3x3 convolution reaches one pixel of its own size: conv_first, body and upconv1 an LR pixel,
        # upconv2 half of one (2 of 4 output pixels), conv_hr and conv_last an output pixel
        hr_reach = 2 + (LKAT.receptive_radius if use_rc else 0) + (2 if upscale == 4 else 0)
        self.receptive_radius = 1 + 2 * num_block + (upscale > 1) + math.ceil(hr_reach / upscale)
        self.conv_first = DynamicConv2D(num_in_ch, num_feat, 3, K=num_models)
        self.body = nn.LayerList([DynamicResidualBlock(num_feat, num_models) for _ in range(num_block)])
        steps = {1: (), 2: (2,), 3: (3,), 4: (2, 2)}[upscale]
        self.shuffles = steps
        for index, factor in enumerate(steps, 1):
            conv = DynamicConv2D(num_feat, num_feat * factor**2, 3, K=num_models)
            self.add_sublayer(f"upconv{index}", conv)
        self.conv_hr = DynamicConv2D(num_feat, num_feat, 3, K=num_models)
        self.RC = LKAT(num_feat) if use_rc else None
        self.dropout1 = LineDropout(column_dropout, 3)
        self.dropout2 = LineDropout(row_dropout, 2)
        # A first output near the enlarged input: a large error there would push the mixing weights, which all
        # layers share, to zero within a few steps, and nothing learns after that.
        self.conv_last = DynamicConv2D(num_feat, num_out_ch, 3, K=num_models, init_scale=0.1)

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        first = state.get("conv_first.weight")
        if first is None or first.ndim != 5 or "body.0.conv1.weight" not in state:
            return None  # without an axis for the experts it is MSRResNet
        models, width, channels = first.shape[:3]
        enlarging = [state[name].shape for name in ("upconv1.weight", "upconv2.weight") if name in state]
        attention = any(key.startswith("RC.") for key in state)
        arguments = {
            "num_in_ch": channels,
            "num_out_ch": state["conv_last.weight"].shape[1],
            "num_feat": width,
            "num_block": count(state, r"body\.(\d+)\."),
            "num_models": models,
            "upscale": math.prod(square_root(shape[1] / shape[2]) for shape in enlarging),
            "use_rc": attention,
        }
        return arguments if attention else {**arguments, **DASR_PARTS}

    def example_inputs(self, n: int, h: int, w: int) -> tuple[np.ndarray, ...]:
        """An image and mixing weights, as forward takes them."""
        rng = np.random.default_rng(0)
        image = rng.random((n, self.num_channels, h, w), dtype=np.float32)
        return image, rng.standard_normal((n, self.num_models)).astype(np.float32)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        features = leaky_relu(self.conv_first(x, weights), 0.1)
        for block in self.body:
            features = block(features, weights)
        for index, factor in enumerate(self.shuffles, 1):
            upconv = getattr(self, f"upconv{index}")
            features = leaky_relu(F.pixel_shuffle(upconv(features, weights), factor), 0.1)
        features = leaky_relu(self.conv_hr(features, weights), 0.1)
        if self.RC is not None:
            features = self.RC(features)
        features = self.dropout2(self.dropout1(features))
        return self.conv_last(features, weights) + bilinear_upsample(x, self.scale)

    def adapt_state(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Repeat the tensors of a static network for every expert, as a start for this one.

        Only tensors that lack exactly the leading expert axis are repeated; all others pass through. The
        experts start equal and separate because samples mix them differently.
        """
        shapes = {key: list(value.shape) for key, value in self.state_dict().items()}
        result = {}
        for key, value in state.items():
            shape = shapes.get(key)
            lacking = shape is not None and shape[1:] == list(value.shape) and len(shape) == value.ndim + 1
            result[key] = np.repeat(value[None], shape[0], axis=0) if lacking and shape else value
        return result


def _blind(scale: int, **generator: Any) -> dict[str, Any]:
    return {
        "generator": {"name": "CDDNet", "upscale": scale, **generator},
        "predictor": {"name": "DegradationPredictor", "num_params": 33, "num_networks": 5},
    }


class BlindSR(nn.Layer):
    """A generator steered by a predictor, as one network: LR image (N, C, H, W) -> SR image (N, C, sH, sW).

    Given degradation parameters (N, num_params) as well, the predictor's convolutions are not used: this is
    how tiles of an image share the parameters of the whole, and how a user sets them by hand.

    Args:
        generator: a network (or its config) called with the image and mixing weights.
        predictor: a network (or its config) that returns degradation parameters and mixing weights.
    """

    fp16_safe: ClassVar[bool] = True
    test_args: ClassVar[dict[str, Any]] = {
        "generator": {"name": "CDDNet", **CDDNet.test_args},
        "predictor": {"name": "DegradationPredictor", "nf": 8, "num_params": 33, "num_networks": 3},
    }
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("CDDNet_x4", 8_076_926, 12_868_438_601, _CDDNET, _blind(4)),
        Variant("CDDNet_x3", 8_261_566, 9_510_296_457, _CDDNET, _blind(3)),
        Variant("CDDNet_x2", 7_338_366, 7_541_982_537, _CDDNET, _blind(2)),
        Variant("DASR_x4", 8_055_998, 11_517_872_713, _DASR, _blind(4, **DASR_PARTS)),
        Variant("DASR_x3", 8_240_638, 8_750_603_145, _DASR, _blind(3, **DASR_PARTS)),
        Variant("DASR_x2", 7_317_438, 7_204_341_065, _DASR, _blind(2, **DASR_PARTS)),
    )

    def __init__(
        self, *, generator: Mapping[str, Any] | nn.Layer, predictor: Mapping[str, Any] | nn.Layer
    ) -> None:
        super().__init__()
        self.generator = generator if isinstance(generator, nn.Layer) else GENERATORS.build(generator)
        self.predictor = predictor if isinstance(predictor, nn.Layer) else GENERATORS.build(predictor)
        self.scale = self.generator.scale
        self.num_channels = getattr(self.generator, "num_channels", 3)
        self.receptive_radius = None  # the predictor averages over the whole image

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        if "predictor.ConvNet.0.weight" not in state:
            return None
        arguments = {}
        for name in ("generator", "predictor"):
            prefix = f"{name}."
            part = {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
            found, options = identify(part)
            arguments[name] = {"name": found, **options}
        return arguments

    @property
    def degradation_params(self) -> int:
        """Number of degradation parameters."""
        return self.predictor.num_params

    def degradation_map(self, x: Tensor) -> Tensor:
        """The map whose mean is the degradation parameters; see `DegradationPredictor`."""
        return self.predictor.degradation_map(x)

    def forward(self, x: Tensor, degradation: Tensor | None = None) -> Tensor:
        if degradation is None:
            degradation = self.degradation_map(x).mean(axis=[2, 3])
        return self.generator(x, self.predictor.mixing_weights(degradation))
