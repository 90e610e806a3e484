"""Images of channel saliency and ablation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ppsr.analysis.csm import Ablation, LayerSaliency
from ppsr.analysis.figures.common import draw_tiles

__all__ = ["draw_ablation", "draw_saliency"]


def draw_saliency(saliency: LayerSaliency, *, columns: int = 16) -> Figure:
    """All maps of a layer as one sheet, channel 0 at the top left, coloured as published."""
    strongest = int(saliency.importance.argmax())
    title = f"{saliency.layer.name}: {len(saliency.maps)} channels, strongest {strongest}"
    return draw_tiles(saliency.maps, title, columns=columns, cmap="seismic", vmin=-1, vmax=1)


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
