"""Counting multiply-accumulates of a network by running it once."""

from __future__ import annotations

import math
from typing import Any

import paddle
from paddle import nn

from ppsr.generators.blocks.dynamic_conv import DynamicConv2D
from ppsr.generators.blocks.spectral_norm import SpectralNormConv2D

__all__ = ["count_macs"]


def count_macs(net: nn.Layer, *shapes: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions, linear layers and attention products in one forward pass.

    A layer that multiplies matrices itself says so by an attribute `macs`, set in its forward.

    Args:
        net: any network.
        shapes: of its inputs.
    """
    total = 0
    handles = []

    def convolution(layer: Any, _: Any, output: Any) -> None:
        nonlocal total
        weight = layer.weight_orig if isinstance(layer, SpectralNormConv2D) else layer.weight
        per_output = math.prod(weight.shape[2:] if isinstance(layer, DynamicConv2D) else weight.shape[1:])
        total += per_output * math.prod(output.shape)

    def linear(layer: Any, inputs: Any, output: Any) -> None:
        nonlocal total
        total += layer.weight.shape[0] * math.prod(output.shape)

    def own(layer: Any, _: Any, __: Any) -> None:
        nonlocal total
        total += layer.macs

    for layer in net.sublayers(include_self=True):
        if isinstance(layer, (nn.Conv2D, DynamicConv2D, SpectralNormConv2D)):
            handles.append(layer.register_forward_post_hook(convolution))
        elif isinstance(layer, nn.Linear):
            handles.append(layer.register_forward_post_hook(linear))
        if hasattr(layer, "macs"):
            handles.append(layer.register_forward_post_hook(own))
    training = net.training
    net.eval()
    try:
        with paddle.no_grad():
            net(*(paddle.zeros(list(shape)) for shape in shapes))
    finally:
        for handle in handles:
            handle.remove()
    if training:
        net.train()
    return total
