"""Layers that more than one network uses. All of them survive export with dynamic sizes."""

from ppsr.generators.blocks.bicubic import bicubic_shrink
from ppsr.generators.blocks.layers import (
    Conv2D,
    LeakyReLU,
    Linear,
    PReLU,
    bilinear_upsample,
    leaky_relu,
    nearest_upsample,
    pixel_unshuffle,
    twice_differentiable,
)

__all__ = [
    "Conv2D",
    "LeakyReLU",
    "Linear",
    "PReLU",
    "bicubic_shrink",
    "bilinear_upsample",
    "leaky_relu",
    "nearest_upsample",
    "pixel_unshuffle",
    "twice_differentiable",
]
