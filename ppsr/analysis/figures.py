"""Figures of the analyses, drawn by matplotlib without a display and without global state."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.signal import fftconvolve
from scipy.spatial import ConvexHull, QhullError

from ppsr.analysis.csm import Ablation, LayerSaliency
from ppsr.analysis.feature_maps import FeatureStatistics
from ppsr.analysis.lam import Lam
from ppsr.files import atomic_path, atomic_write

_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "ppsr", "font.size": 9, "axes.titlesize": 9}
_PANEL = 2.6
_TINY = np.finfo(np.float32).tiny


def file_name(text: str) -> str:
    """A label as part of a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text)


def save_figure(
    figure: Figure, stem: str | Path, report: Mapping[str, Any], arrays: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write `stem`.png, .svg, .json (what made it and what came out) and, where there are arrays, .npz."""
    stem = Path(stem)
    png, svg, json_file, npz = (
        stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg", "json", "npz")
    )
    with mpl.rc_context(_STYLE):
        for path, metadata in ((png, None), (svg, {"Date": None})):  # the same analysis gives the same bytes
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=150, metadata=metadata)
    atomic_write(json_file, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    if not arrays:
        return [png, svg, json_file]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    atomic_write(npz, buffer.getvalue())
    return [png, svg, json_file, npz]


def mosaic(tiles: np.ndarray, *, columns: int, gap: int = 1) -> np.ndarray:
    """Tiles (K, H, W) side by side in rows, NaN between them and where there are none."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan, np.float32)
    for k, tile in enumerate(tiles):
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _draw_tiles(tiles: np.ndarray, title: str, *, columns: int, **options: Any) -> Figure:
    sheet = mosaic(tiles, columns=min(columns, len(tiles)), gap=max(1, tiles.shape[2] // 16))
    width, heading = 8.0, 0.3
    height = width * sheet.shape[0] / sheet.shape[1]
    figure = Figure(figsize=(width, height + heading))
    axes = figure.add_axes((0, 0, 1, height / (height + heading)))
    _show_image(axes, sheet, title, **options)
    axes.set_frame_on(False)
    return figure


def _show_image(axes: Axes, image: np.ndarray, title: str, **options: Any) -> None:
    axes.imshow(image, interpolation="nearest", **options)
    axes.set(title=title, xticks=[], yticks=[])


def draw_saliency(saliency: LayerSaliency) -> Figure:
    """All maps of a layer as one sheet, channel 0 at the top left, coloured as published."""
    strongest = int(saliency.importance.argmax())
    title = f"{saliency.layer.name}: {len(saliency.maps)} channels, strongest {strongest}"
    return _draw_tiles(saliency.maps, title, columns=16, cmap="seismic", vmin=-1, vmax=1)


def draw_ablation(
    name: str,
    importance: np.ndarray,
    single: Ablation,
    cumulative: Mapping[str, Ablation],
    intact: float | None,
) -> Figure:
    """Attribution of each channel, PSNR without each, and PSNR while more and more are removed.

    Args:
        importance: (C,).
        cumulative: order of removal -> results.
        intact: PSNR with all channels; None where it is the truth of the others.
    """
    figure = Figure(figsize=(11, 3), layout="constrained")
    attribution, alone, together = figure.subplots(1, 3)
    channels = np.arange(len(importance))
    attribution.bar(channels, importance, color="firebrick")
    attribution.set(title=f"{name}: attribution", xlabel="channel")
    alone.plot(channels, single.psnr, ".", color="navy")
    agreement = _correlation(importance, -single.psnr)
    alone.set(title=f"one removed, r = {agreement:.2f}", xlabel="channel", ylabel="PSNR / dB")
    whole = [] if intact is None else [intact]
    for value in whole:
        alone.axhline(value, color="gray", linestyle="--", linewidth=1)
    for label, result in cumulative.items():
        together.plot(range(1 - len(whole), len(result.psnr) + 1), [*whole, *result.psnr], label=label)
    together.set(title="removed one after the other", xlabel="channels removed", ylabel="PSNR / dB")
    together.legend()
    return figure


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation; NaN where one of them does not vary."""
    if len(a) < 2 or math.isclose(float(np.ptp(a)), 0) or math.isclose(float(np.ptp(b)), 0):
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


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
            axes.fill(*_outline(group).T, color=colours(k % 10), alpha=0.12, linewidth=0)
        axes.set(title=title, xticks=[], yticks=[])
    handles, texts = axes.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _outline(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull; the points themselves where they span no area."""
    try:
        return points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        return points


def draw_sheet(name: str, maps: np.ndarray, *, channels: int | None = None) -> Figure:
    """Maps (C, H, W) as one sheet, channel 0 at the top left, each stretched to its own range.

    The title gives number and range of all maps of the layer, also where only `channels` are drawn.
    """
    title = f"{name}: {len(maps)} maps, {maps.min():.3f} to {maps.max():.3f}"
    if channels is not None and channels < len(maps):
        maps, title = maps[:channels], f"{title}; the first {channels}"
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    tiles = (maps - low) / np.maximum(high - low, _TINY)
    return _draw_tiles(tiles, title, columns=8, cmap="gray", vmin=0, vmax=1)


def draw_depth(curves: Mapping[str, Sequence[tuple[str, FeatureStatistics]]]) -> Figure:
    """Contrast, energy and effective rank through the depth: the figure of an information bottleneck.

    Args:
        curves: label of the network -> name and statistics of its layers, in order.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    names = [name for name, _ in max(curves.values(), key=len)]
    plots = (
        ("contrast (variance in the image)", "contrast", "log"),
        ("energy (mean square)", "energy", "log"),
        ("effective rank / channels", "rank_share", "linear"),
    )
    for axes, (title, key, scale) in zip(figure.subplots(1, 3), plots, strict=True):
        for label, curve in curves.items():
            axes.plot([getattr(values, key) for _, values in curve], "o-", markersize=3, label=label)
        axes.set(title=title, yscale=scale)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.grid(alpha=0.3)
    axes.legend()
    return figure


def contribution_density(contribution: np.ndarray) -> np.ndarray:
    """Kernel density of a map (H, W) by Scott's rule, largest value 1: the area of contribution.

    The same as `scipy.stats.gaussian_kde` on all pixels with the map as weights, as a convolution.
    """
    weights = contribution.astype(np.float64) / max(float(contribution.sum()), _TINY)
    height, width = weights.shape
    rows, columns = np.mgrid[:height, :width]
    places = np.stack([rows.ravel(), columns.ravel()])
    power = float((weights**2).sum())
    if power in (0.0, 1.0):  # nothing, or a single pixel: no spread to estimate
        return weights / max(float(weights.max()), _TINY)
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
        image = _to_hwc(result.lq)
        scale = result.sr.shape[1] / result.lq.shape[1]
        top, left, side = result.window
        _show_image(axes[0], image, label)
        frame = (left / scale - 0.5, top / scale - 0.5)
        axes[0].add_patch(Rectangle(frame, side / scale, side / scale, fill=False, edgecolor="red"))
        _show_image(axes[1], result.map, "attribution", cmap="seismic", vmin=-1, vmax=1)
        index = f"contribution, DI {result.diffusion_index:.2f}" if result.attributed else "no attribution"
        _show_image(axes[2], image, index)
        density = contribution_density(result.map)
        axes[2].imshow(density, cmap="seismic", vmin=-1, vmax=1, alpha=0.5, interpolation="bicubic")
        _show_image(axes[3], _to_hwc(result.sr[:, top : top + side, left : left + side]), "SR of the window")
    return figure


def _to_hwc(image: np.ndarray) -> np.ndarray:
    """(C, H, W) -> H x W x 3 in [0, 1]."""
    clipped = np.clip(image, 0, 1).transpose(1, 2, 0)
    return np.repeat(clipped, 3, axis=2) if clipped.shape[2] == 1 else clipped
