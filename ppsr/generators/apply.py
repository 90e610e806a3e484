"""Applying any generator to an image: value range, window multiples, outputs, luma, evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.errors import ConfigError, did_you_mean
from ppsr.imaging.luma import on_luma
from ppsr.memory import device_array

__all__ = [
    "apply_generator",
    "capture",
    "evaluating",
    "find_layer",
    "input_channels",
    "pad_to_multiple",
    "super_resolve",
]


@contextmanager
def evaluating(net: nn.Layer) -> Iterator[None]:
    """Evaluation mode inside; afterwards every sublayer has the mode it had.

    `net.train()` would not do: a network may contain averaged networks, which stay in evaluation mode.

    Example:
        >>> with evaluating(net):
        ...     sr = super_resolve(net, lq)
    """
    modes = [(layer, layer.training) for layer in net.sublayers(include_self=True)]
    net.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad bottom and right by reflection up to a multiple; by repetition where the image is smaller than
    that."""
    height, width = x.shape[2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return x
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(x, [0, right, 0, bottom], mode=mode)


def apply_generator(net: nn.Layer, lq: Tensor) -> Tensor:
    """Run a generator on images of any size, with gradients.

    Args:
        net: a generator with the facts `scale`, and optionally `size_multiple` (1), `rgb_range` (1.0) and
            `luma` (False): whether colour images are enlarged by applying it to Y of YCbCr.
        lq: (N, C, H, W) in [0, 1].

    Returns:
        (N, C, scale * H, scale * W), in [0, 1] up to what the network overshoots; not clipped.

    Raises:
        ConfigError: the network states no `scale`, or gives a smaller image than that.
    """
    scale = getattr(net, "scale", None)
    if scale is None:
        raise ConfigError(f"{type(net).__name__} states no scale, how many times it enlarges")
    if getattr(net, "luma", False) and lq.shape[1] == 3:
        return on_luma(lambda y: apply_generator(net, y), lq, scale, device_array)
    rgb_range = float(getattr(net, "rgb_range", 1.0))
    height, width = lq.shape[2:]
    scaled = lq if rgb_range == 1 else lq * rgb_range
    output = net(pad_to_multiple(scaled, int(getattr(net, "size_multiple", 1))))
    sr = output[-1] if isinstance(output, (list, tuple)) else output
    if list(sr.shape[2:]) != [height * scale, width * scale]:
        if 0 < sr.shape[2] < height * scale or 0 < sr.shape[3] < width * scale:
            raise ConfigError(
                f"{type(net).__name__} makes {list(sr.shape[2:])} of {[height, width]}, its scale is {scale}"
            )
        sr = sr[:, :, : height * scale, : width * scale]
    return sr if rgb_range == 1 else sr / rgb_range


@paddle.no_grad()
def super_resolve(net: nn.Layer, lq: Tensor) -> Tensor:
    """`apply_generator` without gradients."""
    return apply_generator(net, lq)


def input_channels(net: nn.Layer) -> int:
    """Channels of the images that a network takes: its `num_channels`, 3 where it states none."""
    return int(getattr(net, "num_channels", 3))


def find_layer(net: nn.Layer, name: str) -> nn.Layer:
    """The sublayer of a dotted name."""
    layers = dict(net.named_sublayers())
    if name not in layers:
        raise ConfigError(f"{type(net).__name__} has no layer '{name}'; {did_you_mean(name, layers)}")
    return layers[name]


class _Outputs(dict[str, Tensor]):
    """Outputs by the name of their layer."""

    def __missing__(self, name: str) -> Tensor:
        raise ConfigError(f"the layer '{name}' has no output: the network calls its parts; take one of them")


@contextmanager
def capture(net: nn.Layer, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of layers while the block runs the network; a layer that is called often keeps its
    last.

    Hooks exist inside the block alone, so that copies of the network carry none.

    Args:
        names: dotted layer names, see `named_sublayers`.

    Yields:
        Name -> output, filled by each forward pass.
    """
    outputs = _Outputs()

    def keep(name: str) -> Any:
        def hook(layer: nn.Layer, inputs: Any, output: Any) -> None:
            outputs[name] = output[-1] if isinstance(output, (list, tuple)) else output

        return hook

    handles = [find_layer(net, name).register_forward_post_hook(keep(name)) for name in names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
