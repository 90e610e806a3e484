"""The scatter plots of deep degradation representations."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.spatial import ConvexHull, QhullError

__all__ = ["draw_ddr"]


def draw_ddr(panels: Sequence[tuple[str, np.ndarray]], labels: np.ndarray, names: Sequence[str]) -> Figure:
    """One scatter plot per network, groups in convex outlines.

    Args:
        panels: title and points (N, 2).
        labels: (N,), index of the group.
    """
    figure = Figure(figsize=(4 * len(panels), 4.6), layout="constrained")
    colours = mpl.colormaps["tab10"]
    for axes, (title, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for k, name in enumerate(names):
            group = points[labels == k]
            axes.scatter(*group.T, s=10, color=colours(k % 10), label=name)
            outline = _outline(group)
            axes.fill(*outline.T, color=colours(k % 10), alpha=0.12, linewidth=0)
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    handles, texts = axes.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _outline(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull; the points themselves where they span no area."""
    try:
        return points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        return points
