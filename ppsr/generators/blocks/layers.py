"""Elementary layers: torch's default initialisation, export-safe forms, the accelerated convolution."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn import initializer as init

from ppsr import accelerate

__all__ = [
    "GELU",
    "Conv2D",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "PReLU",
    "bilinear_upsample",
    "has_hooks",
    "leaky_relu",
    "nearest_upsample",
    "pixel_unshuffle",
    "safe_power",
    "twice_differentiable",
]

_TWICE_DIFFERENTIABLE: ContextVar[bool] = ContextVar("twice_differentiable", default=False)


def _uniform(bound: float) -> paddle.ParamAttr:
    return paddle.ParamAttr(initializer=init.Uniform(-bound, bound))


class Conv2D(nn.Conv2D):
    """Convolution with the published code's default initialisation U(+-1/sqrt(fan_in)) of weight and bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        attr = _uniform(1 / math.sqrt(in_channels // groups * kernel_size**2))
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            weight_attr=attr,
            bias_attr=attr if bias else False,
        )
        self.geometry = (stride, padding, dilation, groups)

    def forward(self, x: Tensor) -> Tensor:
        return accelerate.conv2d(x, self.weight, self.bias, *self.geometry)


class Linear(nn.Linear):
    """Linear layer with the published code's default initialisation; weight is (in, out)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        attr = _uniform(1 / math.sqrt(in_features))
        super().__init__(in_features, out_features, weight_attr=attr, bias_attr=attr if bias else False)

    def forward(self, x: Tensor) -> Tensor:
        return accelerate.linear(x, self.weight, self.bias)


class LayerNorm(nn.LayerNorm):
    """LayerNorm of the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return accelerate.layer_norm(x, self.weight, self.bias, self._epsilon)


class GELU(nn.Layer):
    """Exact GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return accelerate.gelu(x)


def has_hooks(layer: nn.Layer) -> bool:
    """Whether something waits for the calls of a layer, so that none may be left out."""
    return bool(layer._forward_pre_hooks or layer._forward_post_hooks)


def leaky_relu(x: Tensor, slope: float) -> Tensor:
    """LeakyReLU for 0 <= slope <= 1; a maximum in graphs, as Paddle 3.3's inference passes crash on it."""
    return F.leaky_relu(x, slope) if accelerate.runs_eagerly() else paddle.maximum(x, slope * x)


class LeakyReLU(nn.Layer):
    """Layer form of `leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.negative_slope)


class PReLU(nn.Layer):
    """PReLU whose key is `weight`, as published; Paddle's has `_weight`.

    Args:
        num_parameters: slopes: one per channel, or 1 for all channels.
    """

    def __init__(self, num_parameters: int) -> None:
        super().__init__()
        self.weight = self.create_parameter([num_parameters], default_initializer=init.Constant(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return accelerate.prelu(x, self.weight)


def nearest_upsample(x: Tensor, scale: int) -> Tensor:
    """Repeat every pixel scale x scale times; (N, C, H, W) -> (N, C, sH, sW). Survives every export path."""
    if scale == 1:
        return x
    n, c, h, w = x.shape
    copies = paddle.stack([x] * (scale * scale), axis=2)
    return F.pixel_shuffle(copies.reshape([n, c * scale * scale, h, w]), scale)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Inside, `bilinear_upsample` has a second derivative, as gradient penalties need it, and is slower."""
    before = _TWICE_DIFFERENTIABLE.set(True)
    try:
        yield
    finally:
        _TWICE_DIFFERENTIABLE.reset(before)


def bilinear_upsample(x: Tensor, scale: int) -> Tensor:
    """Bilinear enlargement by a whole factor, half-pixel centres; (N, C, H, W) -> (N, C, sH, sW).

    Paddle 3.3's oneDNN passes cannot run the interpolation operator, so traced graphs mix shifted copies
    instead. So does `twice_differentiable`, because the operator has no second derivative.
    """
    if scale == 1:
        return x
    twice = _TWICE_DIFFERENTIABLE.get()
    if accelerate.runs_eagerly() and not twice:
        return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    stack = _stack if twice else paddle.stack
    n, c, h, w = x.shape
    tall = paddle.concat([x[:, :, :1], x, x[:, :, -1:]], axis=2)  # no empty part where a side is 1
    rows = stack(_phases(tall[:, :, :-2], x, tall[:, :, 2:], scale), axis=3)
    rows = rows.reshape([n, c, h * scale, w])
    wide = paddle.concat([rows[:, :, :, :1], rows, rows[:, :, :, -1:]], axis=3)
    columns = stack(_phases(wide[:, :, :, :-2], rows, wide[:, :, :, 2:], scale), axis=4)
    return columns.reshape([n, c, h * scale, w * scale])


def _stack(tensors: list[Tensor], axis: int) -> Tensor:
    """`paddle.stack`, which has no second derivative in Paddle 2.6."""
    return paddle.concat([tensor.unsqueeze(axis) for tensor in tensors], axis=axis)


def _phases(before: Tensor, x: Tensor, after: Tensor, scale: int) -> list[Tensor]:
    """The `scale` samples that lie around each element along one axis."""
    offsets = [(i + 0.5) / scale - 0.5 for i in range(scale)]
    return [x * (1 + d) - before * d if d < 0 else x * (1 - d) + after * d for d in offsets]


def pixel_unshuffle(x: Tensor, scale: int) -> Tensor:
    """Fold scale x scale neighbourhoods into channels (order c, dy, dx); H and W must be divisible."""
    n, c, h, w = x.shape
    x = x.reshape([n, c, h // scale, scale, w // scale, scale])
    return x.transpose([0, 1, 3, 5, 2, 4]).reshape([n, c * scale * scale, h // scale, w // scale])


def safe_power(x: Tensor, exponent: float) -> Tensor:
    """x ** exponent for x >= 0 with gradient 0 at 0.

    For exponents below 1 the true gradient at 0 is infinite; times a zero from the chain rule it would turn a
    whole image's gradient into NaN.
    """
    positive = x > 0
    base = paddle.where(positive, x, paddle.ones_like(x))
    power = paddle.sqrt(base) if exponent == 1 / 2 else base**exponent
    return paddle.where(positive, power, paddle.zeros_like(x))
