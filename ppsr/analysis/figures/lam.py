"""The published image of a LAM, one row of panels per network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.signal import fftconvolve

from ppsr.analysis.figures.common import show_image, to_hwc
from ppsr.analysis.lam import Lam

__all__ = ["contribution_density", "draw_lam"]

_PANEL = 2.6


def contribution_density(contribution: np.ndarray) -> np.ndarray:
    """Kernel density of a map (H, W) by Scott's rule, largest value 1: the area of contribution.

    The same as `scipy.stats.gaussian_kde` on all pixels with the map as weights, as a convolution.
    """
    weights = contribution.astype(np.float64) / max(float(contribution.sum()), np.finfo(np.float32).tiny)
    height, width = weights.shape
    rows, columns = np.mgrid[:height, :width]
    places = np.stack([rows.ravel(), columns.ravel()])
    power = float((weights**2).sum())
    if power in (0.0, 1.0):  # nothing, or a single pixel: no spread to estimate
        return weights / max(float(weights.max()), np.finfo(np.float32).tiny)
    spread = np.cov(places, aweights=weights.ravel()) * (1 / power) ** (-2 / 6)
    inverse = np.linalg.pinv(spread)
    down, right = np.mgrid[1 - height : height, 1 - width : width]
    distance = inverse[0, 0] * down**2 + 2 * inverse[0, 1] * down * right + inverse[1, 1] * right**2
    density = np.maximum(fftconvolve(np.exp(-distance / 2), weights, mode="valid"), 0)
    return density / density.max()


def draw_lam(results: Sequence[tuple[str, Lam]]) -> Figure:
    """One row per network: the image with the window, attribution, area of contribution, SR of the window.

    Args:
        results: label and LAM; all of one image and window, for a comparison.
    """
    figure = Figure(figsize=(4 * _PANEL, len(results) * (_PANEL + 0.35)), layout="constrained")
    for axes, (label, result) in zip(figure.subplots(len(results), 4, squeeze=False), results, strict=True):
        image = to_hwc(result.lq)
        scale = result.sr.shape[1] / result.lq.shape[1]
        top, left, side = result.window
        show_image(axes[0], image, label)
        frame = (left / scale - 0.5, top / scale - 0.5)
        axes[0].add_patch(Rectangle(frame, side / scale, side / scale, fill=False, edgecolor="red"))
        show_image(axes[1], result.map, "attribution", cmap="seismic", vmin=-1, vmax=1)
        index = f"contribution, DI {result.diffusion_index:.2f}" if result.attributed else "no attribution"
        show_image(axes[2], image, index)
        density = contribution_density(result.map)
        axes[2].imshow(density, cmap="seismic", vmin=-1, vmax=1, alpha=0.5, interpolation="bicubic")
        show_image(axes[3], to_hwc(result.sr[:, top : top + side, left : left + side]), "SR of the window")
    return figure
