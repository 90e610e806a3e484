"""Sheets of feature maps, and the curves of what they hold through the depth of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ppsr.analysis.feature_maps import FeatureStatistics
from ppsr.analysis.figures.common import draw_tiles

__all__ = ["draw_depth", "draw_sheet"]


def draw_sheet(name: str, maps: np.ndarray, *, channels: int | None = None, columns: int = 8) -> Figure:
    """Maps (C, H, W) as one sheet, channel 0 at the top left, each stretched to its own range.

    Args:
        maps: all of the layer; the title gives their number and range.
    """
    title = f"{name}: {len(maps)} maps, {maps.min():.3f} to {maps.max():.3f}"
    if channels is not None and channels < len(maps):
        maps, title = maps[:channels], f"{title}; the first {channels}"
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    tiles = (maps - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return draw_tiles(tiles, title, columns=columns, cmap="gray", vmin=0, vmax=1)


def draw_depth(curves: Mapping[str, Sequence[tuple[str, FeatureStatistics]]]) -> Figure:
    """Contrast, energy and effective rank through the depth: the figure of an information bottleneck.

    Args:
        curves: label of the network -> name and statistics of its layers, in order.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    contrast, energy, rank = figure.subplots(1, 3)
    names = max(([name for name, _ in curve] for curve in curves.values()), key=len)
    for label, curve in curves.items():
        found = [values for _, values in curve]
        contrast.semilogy([values.contrast for values in found], "o-", markersize=3, label=label)
        energy.semilogy([values.energy for values in found], "o-", markersize=3, label=label)
        rank.plot([values.rank_share for values in found], "o-", markersize=3, label=label)
    contrast.set_title("contrast (variance in the image)")
    energy.set_title("energy (mean square)")
    rank.set_title("effective rank / channels")
    for axes in (contrast, energy, rank):
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.grid(alpha=0.3)
    rank.legend()
    return figure
