"""Feature maps of named layers, and how much they hold from the first layer to the last.

The maps and the curve of intensity are those with which DRCT (Hsu et al., CVPRW 2024, arXiv:2404.00722) shows
an information bottleneck: intensity that collapses in the last groups. The effective rank is that of Roy and
Vetterli, "The effective rank", EUSIPCO 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn

from ppsr.analysis.layers import MapLayer, as_map, frozen, inspect_layers
from ppsr.generators.apply import capture, super_resolve

__all__ = ["FeatureStatistics", "effective_rank", "feature_maps", "statistics"]


@dataclass(frozen=True)
class FeatureStatistics:
    """Statistics of a layer's feature maps.

    Attributes:
        energy: mean square of the values.
        contrast: mean over channels of the variance in the image, the part of the energy that is content.
        rank: effective rank of the channels, 1..C.
        rank_share: rank / channels.
    """

    energy: float
    contrast: float
    rank: float
    rank_share: float
    largest: float
    median: float
    smallest: float


def feature_maps(
    net: nn.Layer, lq: np.ndarray, names: Sequence[str]
) -> dict[str, tuple[MapLayer, np.ndarray]]:
    """Maps (C, H, W) of layers for one image, by name in the order given.

    Args:
        lq: (C, H, W) in [0, 1].

    Raises:
        ConfigError: a layer is unknown or gives no map.
    """
    layers = inspect_layers(net).find(names)
    with frozen(net), capture(net, names) as seen:
        super_resolve(net, paddle.to_tensor(lq[None].astype(np.float32)))
    return {layer.name: (layer, as_map(layer, seen[layer.name].numpy()[0])) for layer in layers}


def effective_rank(maps: np.ndarray) -> float:
    """Exponential of the entropy of the singular values of (C, H * W); 0 where all values are zero."""
    matrix = maps.reshape(len(maps), -1).astype(np.float64)
    powers = np.linalg.eigvalsh(matrix @ matrix.T)
    # the product holds squares: below this, singular values are rounding
    powers = powers[powers > max(powers.max(), 0.0) * len(maps) * np.finfo(np.float64).eps]
    if not len(powers):
        return 0.0
    singular = np.sqrt(powers)
    shares = singular / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def statistics(maps: np.ndarray) -> FeatureStatistics:
    """Statistics of maps (C, H, W)."""
    values = maps.astype(np.float64)
    rank = effective_rank(maps)
    return FeatureStatistics(
        energy=float(np.mean(values**2)),
        contrast=float(values.var(axis=(1, 2)).mean()),
        rank=rank,
        rank_share=rank / len(maps),
        largest=float(values.max()),
        median=float(np.median(values)),
        smallest=float(values.min()),
    )
