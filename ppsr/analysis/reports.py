"""Whole analyses: from networks and images to figures, arrays and a report to redo them by.

Each returns summary lines, one per network or layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppsr import __version__
from ppsr.analysis import figures
from ppsr.analysis.batches import MEMORY_MIB
from ppsr.analysis.csm import (
    Ablation,
    LayerSaliency,
    ablate,
    channel_saliency,
    cumulative_gains,
    published_psnr,
    single_gains,
)
from ppsr.analysis.ddr import (
    DEGRADATIONS,
    calinski_harabasz,
    check_embedding,
    degraded_patches,
    embed,
    layer_features,
    principal_components,
)
from ppsr.analysis.feature_maps import FeatureStatistics, feature_maps, statistics
from ppsr.analysis.figures import file_name, save_figure
from ppsr.analysis.inputs import AnalyzedNetwork, Image
from ppsr.analysis.lam import LamSettings, lam
from ppsr.degradations.reflash_benchmark import VARIANTS
from ppsr.errors import ConfigError
from ppsr.files import sha256

_PCA_OF_INDEX = 50
Show = Callable[[str, str, int, int], None]  # title, network or layer, finished steps, all steps


def _show_nothing(title: str, item: str, done: int, total: int) -> None:
    pass


def _report(tool: str, networks: Sequence[AnalyzedNetwork], **parts: Any) -> dict[str, Any]:
    origins = [network.origin for network in networks]
    return _finite({"tool": f"ppsr analyze {tool}", "ppsr": __version__, "networks": origins, **parts})


def _finite(value: Any) -> Any:
    """JSON has neither arrays nor NaN nor infinity: the last two become null."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_finite(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value


def report_lam(
    networks: Sequence[AnalyzedNetwork],
    image: Image,
    output: Path,
    settings: LamSettings | None = None,
    *,
    memory_mib: int = MEMORY_MIB,
    show: Show = _show_nothing,
) -> list[str]:
    """LAM of each network on one window: `lam.png` with a row per network."""
    settings = settings or LamSettings()
    arrays: dict[str, np.ndarray] = {"lq": image.lq}
    results, found, lines = [], {}, []
    for network in networks:
        label = network.label
        on_step = partial(show, "LAM", label)
        result = lam(network.net, image.lq, settings, memory_mib=memory_mib, on_step=on_step)
        results.append((label, result))
        found[label] = {
            "diffusion_index": result.diffusion_index,
            "contributing_pixels_95": result.contributing_pixels() if result.attributed else None,
            "objective_first": result.objectives[0],
            "objective_last": result.objectives[-1],
        }
        arrays |= {f"{label}/gradient": result.gradient, f"{label}/sr": result.sr, f"{label}/map": result.map}
        summary = "no attribution; the image is flat, or the window does not depend on it"
        if result.attributed:
            summary = f"diffusion index {result.diffusion_index:.3f}"
        lines.append(f"{label}: {summary}")
    top, left, _ = result.window
    used = {**asdict(settings), "top": top, "left": left}
    report = _report("lam", networks, image=image.origin, settings=used, results=found)
    save_figure(figures.draw_lam(results), output / "lam", report, arrays)
    return lines


def report_csm(
    network: AnalyzedNetwork,
    image: Image,
    output: Path,
    names: Sequence[str] = (),
    *,
    ablation: bool = True,
    memory_mib: int = MEMORY_MIB,
    show: Show = _show_nothing,
) -> list[str]:
    """Channel saliency of layers: per layer `csm_<layer>_maps` and `csm_<layer>_ablation`.

    Args:
        image: without a truth, PSNR is measured against the SR image of the whole network.
        names: layers; by default the deepest.
        ablation: remove channels one at a time, and one after the other by their attribution.
    """
    names = list(dict.fromkeys(names)) or [network.layers.deepest]
    show("saliency", network.label, 0, len(names))
    saliency = channel_saliency(network.net, image.lq, names)
    truth = np.clip(saliency.sr, 0, 1) if image.gt is None else image.gt
    intact = None if image.gt is None else published_psnr(saliency.sr, truth)
    whole = "against the SR image of all channels" if intact is None else f"{intact:.2f} dB"
    lines = []
    for name in names:
        layer = saliency.layers[name]
        stem = f"csm_{file_name(name)}"
        found: dict[str, Any] = {
            "objective": saliency.objective,
            "peak": layer.peak,
            "importance": layer.importance,
        }
        settings = {"layer": name, "ablation": ablation}
        report = partial(_report, "csm", [network], image=image.origin, settings=settings)
        arrays = {"gradient": layer.gradient, "features": layer.features, "importance": layer.importance}
        save_figure(figures.draw_saliency(layer), output / f"{stem}_maps", report(results=found), arrays)
        line = f"{name}: strongest channels {np.argsort(-layer.importance)[:5].tolist()}"
        if ablation:
            single, cumulative = _ablations(network, image.lq, truth, layer, memory_mib, show)
            found |= {
                "truth": "SR of the whole network" if image.gt is None else "HR",
                "psnr_intact": intact,
                "psnr_without": single.psnr,
                "change_without": single.change,
                "psnr_cumulative": {order: result.psnr for order, result in cumulative.items()},
            }
            figure = figures.draw_ablation(name, layer.importance, single, cumulative, intact)
            save_figure(figure, output / f"{stem}_ablation", report(results=found))
            worst = int(single.psnr.argmin())
            line += f"; PSNR {whole}, without channel {worst} {single.psnr[worst]:.2f} dB"
        lines.append(line)
    return lines


def _ablations(
    network: AnalyzedNetwork,
    lq: np.ndarray,
    truth: np.ndarray,
    layer: LayerSaliency,
    memory_mib: int,
    show: Show,
) -> tuple[Ablation, dict[str, Ablation]]:
    name = layer.layer.name

    def run(gains: np.ndarray, title: str) -> Ablation:
        on_step = partial(show, f"{network.label} {name}", title)
        return ablate(network.net, lq, truth, name, gains, memory_mib=memory_mib, on_step=on_step)

    single = run(single_gains(layer.features), "without one channel")
    weakest = np.argsort(layer.importance, kind="stable")
    orders = {"weakest first": weakest, "strongest first": weakest[::-1]}
    return single, {
        title: run(cumulative_gains(layer.features, order), title) for title, order in orders.items()
    }


def report_ddr(
    networks: Sequence[AnalyzedNetwork],
    paths: Sequence[Path],
    output: Path,
    *,
    layer: str | None = None,
    degradations: Sequence[str] = DEGRADATIONS,
    count: int = 100,
    side: int = 32,
    perplexity: float = 30.0,
    seed: int = 0,
    memory_mib: int = MEMORY_MIB,
    show: Show = _show_nothing,
) -> list[str]:
    """Deep degradation representation of each network: `ddr.png` with a panel per network.

    Args:
        networks: for example one with and one without dropout.
        layer: by default the deepest of each network.
        degradations: names of `ppsr.degradations.reflash_benchmark`.

    Raises:
        ConfigError: fewer than two degradations or patches, an unknown layer, or as `degraded_patches` and
            `check_embedding`.
    """
    if len(set(degradations)) < 2 or count < 3:
        raise ConfigError(
            "DDR compares at least two degradations with three patches each; got "
            f"{', '.join(degradations) or 'none'} with {count}"
        )
    check_embedding(perplexity=perplexity, seed=seed)
    first = networks[0]
    patches = degraded_patches(
        paths,
        degradations,
        scale=int(first.net.scale),
        count=count,
        side=side,
        channels=first.layers.in_channels,
        seed=seed,
        on_step=partial(show, "patches", f"{len(paths)} images"),
    )
    shown = [VARIANTS[name] for name in patches.degradations]
    panels: list[tuple[str, np.ndarray]] = []
    found, lines, arrays = {}, [], {"labels": patches.labels}
    for network in networks:
        name, label = layer or network.layers.deepest, network.label
        on_step = partial(show, "features", label)
        features = layer_features(network.net, patches.lq, name, memory_mib=memory_mib, on_step=on_step)
        show("t-SNE", label, len(panels), len(networks))
        points = embed(features, perplexity=perplexity, seed=seed)
        scores = principal_components(features, _PCA_OF_INDEX).scores
        chi_tsne, chi_pca = (calinski_harabasz(rows, patches.labels) for rows in (points, scores))
        found[label] = {
            "layer": name,
            "features": features.shape[1],
            "chi_tsne": chi_tsne,
            "chi_pca": chi_pca,
        }
        arrays |= {f"{label}/points": points, f"{label}/scores": scores}
        panels.append((f"{label}, {name}: CHI {chi_tsne:.1f}", points))
        lines.append(f"{label}: CHI {chi_tsne:.1f} (t-SNE), {chi_pca:.1f} (PCA)")
    settings = {
        "images": [{"path": str(path), "sha256": sha256(path)} for path in paths],
        "layer": layer,
        "degradations": list(degradations),
        "count": count,
        "side": side,
        "perplexity": perplexity,
        "seed": seed,
    }
    report = _report("ddr", networks, settings=settings, results=found)
    save_figure(figures.draw_ddr(panels, patches.labels, shown), output / "ddr", report, arrays)
    return lines


def report_features(
    networks: Sequence[AnalyzedNetwork],
    image: Image,
    output: Path,
    names: Sequence[str] = (),
    *,
    channels: int = 64,
    show: Show = _show_nothing,
) -> list[str]:
    """Feature maps: `features_depth.png` through all layers, and a sheet per layer and network.

    Args:
        names: layers of all networks; by default the main stages of each.
        channels: at most so many maps on a sheet.

    Raises:
        ConfigError: fewer than one channel, or an unknown layer.
    """
    if channels < 1:
        raise ConfigError(f"a sheet shows at least one channel, got {channels}")
    curves: dict[str, list[tuple[str, FeatureStatistics]]] = {}
    lines = []
    for network in networks:
        label = network.label
        show("features", label, 0, 1)
        found = feature_maps(network.net, image.lq, list(names) or network.layers.outline)
        curve = curves[label] = []
        for name, (_, maps) in found.items():
            show(f"sheets {label}", name, len(curve), len(found))
            curve.append((name, statistics(maps)))
            parts = {"settings": {"layer": name, "channels": channels}, "results": asdict(curve[-1][1])}
            report = _report("features", [network], image=image.origin, **parts)
            stem = output / f"features_{file_name(label)}_{file_name(name)}"
            save_figure(figures.draw_sheet(name, maps, channels=channels), stem, report)
        name, least = min(curve, key=lambda entry: entry[1].rank_share)
        lines.append(
            f"{label}: {len(found)} layers; effective rank / channels is lowest in {name}: "
            f"{least.rank_share:.0%}, rank {least.rank:.1f}"
        )
    results = {
        label: [{"layer": name, **asdict(values)} for name, values in curve]
        for label, curve in curves.items()
    }
    settings = {"layers": list(names) or "main stages", "channels": channels}
    report = _report("features", networks, image=image.origin, settings=settings, results=results)
    save_figure(figures.draw_depth(curves), output / "features_depth", report)
    return lines
