"""2-D convolution through oneDNN where that is certain to be right, else Paddle's own.

Paddle's CPU convolution in dynamic mode copies patches into a matrix (im2col); the oneDNN library inside the
same wheel is several times faster. Results agree to float32 rounding, not bit by bit; repeated calls agree
bit by bit. `backward()` works everywhere. Second derivatives, and `paddle.grad` for only some of the tensors
that require gradients, exist for Paddle's own convolution alone and raise otherwise: use `disabled()` there.
It is needed for two backward passes through one graph too (`retain_graph=True`): Paddle crashes in the
second one at any PyLayer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from paddle import Tensor
from paddle.nn import functional as F

from ppsr.accelerate import runtime
from ppsr.accelerate.depthwise import depthwise, is_large_depthwise
from ppsr.accelerate.plans import Convolution


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution, `paddle.nn.functional.conv2d` in every respect but speed.

    Args:
        x: (N, C, H, W).
        weight: (O, C / groups, kH, kW).
        bias: (O,).
        stride: one number, or one per axis.
        padding: one number, one per axis, [top, bottom, left, right], or pairs and names as Paddle has them.
        dilation: one number, or one per axis.
        groups: number of groups.

    Returns:
        (N, O, H', W').

    Raises:
        ValueError: what Paddle's convolution raises for shapes that do not fit.
    """
    y = None
    if runtime.runs_eagerly():
        conv = _convolution(x.shape, weight, bias, stride, padding, dilation, groups)
        if conv is not None and is_large_depthwise(conv) and runtime.usable(x, weight, bias):
            y = depthwise(x, weight, bias, conv)
        elif conv is not None:
            y = runtime.compute(conv, conv.y, x, weight, bias)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups) if y is None else y


def conv2d_tokens(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, dilation: int, groups: int
) -> Tensor | None:
    """2-D convolution of tokens (N, H, W, C), whose result is (N, H', W', O); None where Paddle's operators
    have to do it."""
    if not runtime.usable(x, weight, bias):
        return None
    n, h, w, c = x.shape
    conv = _convolution([n, c, h, w], weight, bias, stride, padding, dilation, groups)
    if conv is None or is_large_depthwise(conv):
        return None
    n, c, h, w = conv.y
    return runtime.compute(replace(conv, tokens=True), [n, h, w, c], x, weight, bias)


def _convolution(
    x: Sequence[int],
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: int | str | Sequence,
    dilation: int | Sequence[int],
    groups: int,
) -> Convolution | None:
    """The description of a convolution, or None for anything that is left to Paddle to do or to refuse."""
    shapes = tuple(x), tuple(weight.shape)
    strides, dilations, pads = _pair(stride), _pair(dilation), _four(padding)
    if strides is None or dilations is None or pads is None or len(shapes[0]) != 4 or len(shapes[1]) != 4:
        return None
    conv = Convolution(*shapes, bias is not None, strides, pads, dilations, groups)
    fits = (
        groups > 0
        and shapes[0][1] == shapes[1][1] * groups
        and shapes[1][0] % groups == 0
        and (bias is None or tuple(bias.shape) == shapes[1][:1])
        and min(*strides, *dilations) > 0
        and min(pads) >= 0
        and min(*shapes[0], *shapes[1]) > 0
        and min(conv.y) > 0
    )
    return conv if fits else None


def _pair(value: int | Sequence[int]) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    numbers = tuple(value)
    return numbers if len(numbers) == 2 and all(isinstance(v, int) for v in numbers) else None


def _four(padding: int | str | Sequence) -> tuple[int, int, int, int] | None:
    """Top, bottom, left, right."""
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if isinstance(padding, str):
        return None
    numbers = tuple(padding)
    if not all(isinstance(v, int) for v in numbers):
        return None
    if len(numbers) == 2:
        return numbers[0], numbers[0], numbers[1], numbers[1]
    return numbers if len(numbers) == 4 else None
